//! The name servers of a file in the format of resolv.conf(5). `search` and `options` are for clients, not for us.

/// Addresses that are looked at. No resolver has that many; what is not used is refused by their number.
const NAME_SERVERS_MAX: usize = 64;

/// The words after `nameserver`, in their order and unchecked.
pub(super) fn name_servers(content: &[u8]) -> Vec<&str> {
    let lines = content.split(|octet| *octet == b'\n');
    // A line that is no text cannot name a server.
    lines
        .filter_map(|line| std::str::from_utf8(line).ok())
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()
        })
        .take(NAME_SERVERS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nameserver_lines_count() {
        for (what, content, expected) in [
            ("one", "nameserver 10.0.0.2\n", vec!["10.0.0.2"]),
            (
                "the file of a node",
                "# made by systemd\nsearch a.test b.test\nnameserver 10.0.0.2\n\nnameserver\t10.0.0.3 # second\noptions ndots:5\n",
                vec!["10.0.0.2", "10.0.0.3"],
            ),
            (
                "no end of line",
                "nameserver fe80::1%eth0",
                vec!["fe80::1%eth0"],
            ),
            (
                "carriage returns",
                "nameserver 10.0.0.2\r\n",
                vec!["10.0.0.2"],
            ),
            (
                "other words",
                "nameservers 10.0.0.2\n;nameserver 10.0.0.3\nnameserver\n",
                vec![],
            ),
            ("indented", "  nameserver 10.0.0.2", vec!["10.0.0.2"]),
            ("nothing", "", vec![]),
        ] {
            assert_eq!(name_servers(content.as_bytes()), expected, "{what}");
        }
        assert_eq!(
            name_servers(b"\xff\xfe\nnameserver 10.0.0.2\n"),
            ["10.0.0.2"],
            "octets that are no text"
        );
    }
}
