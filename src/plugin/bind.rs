//! `bind ADDRESS|INTERFACE… { except ADDRESS|INTERFACE… }`: the addresses that a server block is served on.

use std::net::IpAddr;

use crate::config::Scope;
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Diagnostic, Directive, Faults, Word, quoted};

/// What the directive says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The addresses, each once, in written order.
    pub addresses: Vec<IpAddr>,
}

/// Reads the directive; several add up, each with its own exceptions.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let interfaces = interfaces();
    read_all(occurrences, &interfaces, faults)
}

/// An interface's name with one of its addresses.
pub(crate) type Interface = (String, IpAddr);

fn read_all(
    occurrences: &[&Directive],
    interfaces: &[Interface],
    faults: &Faults,
) -> Option<Config> {
    let mut config = Config {
        addresses: Vec::new(),
    };
    for directive in occurrences {
        for address in read(&Reader::new(directive, faults), interfaces)? {
            if !config.addresses.contains(&address) {
                config.addresses.push(address);
            }
        }
    }
    Some(config)
}

fn read(reader: &Reader<'_>, interfaces: &[Interface]) -> Option<Vec<IpAddr>> {
    if reader.args().is_empty() {
        return reader.refuse(
            reader.name(),
            "at least one address or interface name is expected",
        );
    }
    let mut addresses = resolve(reader, reader.args(), interfaces)?;
    let mut except: Vec<Word> = Vec::new();
    let rows = [Row::Line(
        "except",
        |except: &mut Vec<Word>, line: &Reader<'_>| {
            except.extend_from_slice(line.at_least(1)?);
            Some(())
        },
    )];
    reader.block(&mut except, &rows)?;
    let except = resolve(reader, &except, interfaces)?;
    addresses.retain(|address| !except.contains(address));
    if addresses.is_empty() {
        return reader.refuse(reader.name(), "no address is left to listen on");
    }
    Some(addresses)
}

fn resolve(reader: &Reader<'_>, words: &[Word], interfaces: &[Interface]) -> Option<Vec<IpAddr>> {
    let found: Option<Vec<Vec<IpAddr>>> = words
        .iter()
        .map(|word| addresses(reader, word, interfaces))
        .collect();
    Some(found?.concat())
}

fn addresses(reader: &Reader<'_>, word: &Word, interfaces: &[Interface]) -> Option<Vec<IpAddr>> {
    if let Ok(address) = word.text.parse() {
        return Some(vec![address]);
    }
    let of_interface = interfaces.iter().filter(|(name, _)| *name == word.text);
    let found: Vec<IpAddr> = of_interface.map(|(_, address)| *address).collect();
    if found.is_empty() {
        let message = format!(
            "not a valid IP address or interface name: {}",
            quoted(&word.text)
        );
        let known = interfaces.iter().map(|(name, _)| name.as_str());
        let fault = Diagnostic::error(message, word.span);
        return reader.report(fault.with_nearest(crate::corefile::nearest(&word.text, known)));
    }
    Some(found)
}

/// The interfaces of this machine. Link-local addresses of IPv6 mean nothing without their interface, which a
/// listener's address does not carry; they are left out.
pub(crate) fn interfaces() -> Vec<Interface> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        let ip = v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))?;
        Some((interface.interface_name, ip))
    });
    addresses
        .filter(|(_, ip)| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::{Memory, parse as parse_corefile};

    #[test]
    fn addresses_and_interfaces_add_up_less_exceptions() {
        let interfaces = [("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "192.0.2.1")];
        let interfaces = interfaces.map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        for (text, expected) in [
            ("bind 10.0.0.1", Ok("10.0.0.1")),
            ("bind lo", Ok("127.0.0.1 ::1")),
            ("bind lo eth0 {\n except ::1\n}", Ok("127.0.0.1 192.0.2.1")),
            (
                "bind lo {\n except lo\n}\nbind eth0",
                Err("no address is left"),
            ),
            ("bind eth0\nbind 192.0.2.1 ::1", Ok("192.0.2.1 ::1")),
            ("bind", Err("at least one address")),
            (
                "bind eth1",
                Err("not a valid IP address or interface name: 'eth1'"),
            ),
            ("bind lo {\n foo\n}", Err("unknown property 'foo'")),
        ] {
            let corefile = parse_corefile(
                &Memory::new(),
                "Corefile".as_ref(),
                format!(". {{\n{text}\n}}").as_bytes(),
            );
            let faults = Faults::new();
            let occurrences: Vec<&Directive> =
                corefile.corefile.blocks[0].occurrences("bind").collect();
            let got = read_all(&occurrences, &interfaces, &faults);
            let got = got.map(|config| {
                config
                    .addresses
                    .iter()
                    .map(IpAddr::to_string)
                    .collect::<Vec<_>>()
                    .join(" ")
            });
            match expected {
                Ok(addresses) => assert_eq!(got.as_deref(), Some(addresses), "{text}"),
                Err(fault) => {
                    let faults = faults.into_sorted();
                    assert!(
                        got.is_none() && faults[0].message.contains(fault),
                        "{text}: {faults:?}"
                    );
                }
            }
        }
    }
}
