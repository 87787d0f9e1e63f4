//! Addresses and their names under `in-addr.arpa` and `ip6.arpa` (RFC 1035 section 3.5, RFC 3596 section 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;

/// The address that this name, already in lower case, is the reverse of. Partial names and names with labels
/// too many give nothing.
pub fn address(name: &Name) -> Option<IpAddr> {
    address_of(name.labels_wire())
}

/// Likewise for the labels of a name without the root, in wire form.
pub(crate) fn address_of(labels: &[u8]) -> Option<IpAddr> {
    if let Some(octets) = labels.strip_suffix(b"\x07in-addr\x04arpa") {
        return v4(octets).map(IpAddr::V4);
    }
    labels
        .strip_suffix(b"\x03ip6\x04arpa")
        .and_then(v6)
        .map(IpAddr::V6)
}

/// Whether the name lies in one of the two trees.
pub fn is_reverse(name: &Name) -> bool {
    let labels = name.labels_wire();
    labels.ends_with(b"\x07in-addr\x04arpa") || labels.ends_with(b"\x03ip6\x04arpa")
}

fn v4(labels: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut rest) = ([0; 4], labels);
    for octet in octets.iter_mut().rev() {
        let (length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        (*octet, rest) = (self::octet(label)?, after);
    }
    rest.is_empty().then_some(Ipv4Addr::from(octets))
}

/// The octet that a label spells. `010` is no way to write one (RFC 6943 section 3.1.1).
fn octet(label: &[u8]) -> Option<u8> {
    let digits = match *label {
        [units] => [b'0', b'0', units],
        [tens @ b'1'..=b'9', units] => [b'0', tens, units],
        [hundreds @ b'1'..=b'2', tens, units] => [hundreds, tens, units],
        _ => return None,
    };
    let [hundreds, tens, units] = digits.map(|digit| u16::from(digit.wrapping_sub(b'0')));
    let value = 100 * hundreds + 10 * tens + units;
    u8::try_from(value).ok().filter(|_| tens < 10 && units < 10)
}

fn v6(labels: &[u8]) -> Option<Ipv6Addr> {
    let mut value: u128 = 0;
    let mut count = 0;
    for label in super::name::Labels::of(labels) {
        let &[digit] = label else { return None };
        let nibble = (digit as char).to_digit(16)?;
        if count == 32 {
            return None;
        }
        value |= u128::from(nibble) << (4 * count);
        count += 1;
    }
    (count == 32).then_some(Ipv6Addr::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_reverse_names_give_their_address_and_no_others_do() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        for (name, expected) in [
            ("1.0.96.10.in-addr.arpa", Some("10.96.0.1")),
            ("255.255.255.255.in-addr.arpa", Some("255.255.255.255")),
            (v6, Some("2001:db8::1")),
            ("0.96.10.in-addr.arpa", None),
            ("1.1.0.96.10.in-addr.arpa", None),
            ("1.0.96.010.in-addr.arpa", None),
            ("1.0.96.256.in-addr.arpa", None),
            ("1.0.96.+1.in-addr.arpa", None),
            ("1.0.96.a.in-addr.arpa", None),
            ("1.0.96.1a.in-addr.arpa", None),
            ("1.0.96.1a0.in-addr.arpa", None),
            ("1.0.96.300.in-addr.arpa", None),
            ("1.0.96.0000.in-addr.arpa", None),
            ("0.0.0.0.in-addr.arpa", Some("0.0.0.0")),
            ("in-addr.arpa", None),
            (&v6[2..], None),
            (&format!("0.{v6}"), None),
            (&v6.replace("8.b", "8.g"), None),
            ("1.0.96.10.in-addr.arpa.cluster.local", None),
        ] {
            let parsed: Name = name.parse().unwrap();
            assert_eq!(
                address(&parsed),
                expected.map(|a| a.parse().unwrap()),
                "{name}"
            );
        }
    }
}
