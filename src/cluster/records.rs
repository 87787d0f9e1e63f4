//! What an object contributes to the answers, in the form in which it is sent.
//!
//! Names are labels in lower-case wire form, addresses are octets: a look-up compares what stands in the query
//! and an answer copies what stands here. Built from objects when they change, never when a query comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::object::Port;
use crate::dns::name::{LABEL_MAX, Labels, NAME_MAX};

mod endpoints;
mod service;
mod shared;

pub(crate) use endpoints::{EndpointRecord, EndpointSet, IpSet, Mentions, Place, SliceRecords};
pub(crate) use service::{ClusterIps, ServiceKind, ServiceRecords};
pub(crate) use shared::SharedLabels;

pub(super) use endpoints::StoredSlice;
pub(super) use service::StoredService;

/// The labels of a Service and its Namespace, as they stand in a name: the key of all that belongs to it.
pub(crate) type ServiceKey = SharedLabels;

/// The key of a Service, if its names can be labels at all.
pub(crate) fn service_key(namespace: &str, service: &str) -> Option<ServiceKey> {
    service_labels(namespace, service).map(|key| ServiceKey::from(&*key))
}

/// The same, for whoever goes on behind it.
fn service_labels(namespace: &str, service: &str) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(namespace.len() + service.len() + 2);
    push_label(&mut key, service)?;
    push_label(&mut key, namespace)?;
    Some(key)
}

/// One label in lower-case wire form.
pub(crate) fn label(text: &str) -> Option<Box<[u8]>> {
    let mut wire = Vec::with_capacity(text.len() + 1);
    push_label(&mut wire, text)?;
    Some(wire.into())
}

fn push_label(wire: &mut Vec<u8>, text: &str) -> Option<()> {
    if text.is_empty() || text.len() > LABEL_MAX {
        return None;
    }
    wire.push(text.len() as u8);
    wire.extend(text.bytes().map(|octet| octet.to_ascii_lowercase()));
    Some(())
}

/// Whether these octets are the labels of a name, without the root.
pub(super) fn is_labels(wire: &[u8]) -> bool {
    labels_in(wire).is_some()
}

/// How many labels these octets are, if they are the labels of a name, without the root.
pub(super) fn labels_in(mut wire: &[u8]) -> Option<usize> {
    if wire.len() >= NAME_MAX {
        return None;
    }
    let mut labels = 0;
    while let Some((length, rest)) = wire.split_first() {
        if *length == 0 || usize::from(*length) > LABEL_MAX {
            return None;
        }
        wire = rest.get(usize::from(*length)..)?;
        labels += 1;
    }
    Some(labels)
}

/// Whether a port is the one asked for, in lower case; nothing asked matches every port.
pub(crate) fn port_matches(port: &Port, name: &[u8], protocol: &[u8]) -> bool {
    (name.is_empty() || port.name.as_bytes() == name)
        && (protocol.is_empty() || port.protocol.as_str().as_bytes() == protocol)
}

/// A label made of an address: room for 8 groups of 4 digits, 7 dashes, the length octet and a final `0`.
#[derive(Debug)]
pub(crate) struct DashedAddress {
    wire: [u8; 48],
}

impl Default for DashedAddress {
    fn default() -> DashedAddress {
        DashedAddress { wire: [0; 48] }
    }
}

impl DashedAddress {
    /// The address that a label spells as [`DashedAddress::write`] does, and in no other way.
    pub(crate) fn read(label: &[u8]) -> Option<IpAddr> {
        let as_address = |label: &[u8], separator: u8| {
            let mut text = [0; LABEL_MAX];
            let text = text.get_mut(..label.len())?;
            for (to, from) in text.iter_mut().zip(label) {
                *to = if *from == b'-' { separator } else { *from };
            }
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        let v4 = as_address(label, b'.');
        let ip = v4
            .or_else(|| as_address(label, b':'))
            .or_else(|| as_address(label.strip_suffix(b"0")?, b':'))?;
        (&DashedAddress::default().write(ip)[1..] == label).then_some(ip)
    }

    /// `10.1.2.3` is `10-1-2-3`, `fd00::1` is `fd00--1`; a label must not end in a dash, so `fd00::` is
    /// `fd00--0`.
    pub(crate) fn write(&mut self, ip: IpAddr) -> &[u8] {
        let mut len = match ip {
            IpAddr::V4(ip) => self.write_v4(ip),
            IpAddr::V6(ip) => self.write_v6(ip),
        };
        if self.wire[len] == b'-' {
            len += 1;
            self.wire[len] = b'0';
        }
        self.wire[0] = len as u8;
        &self.wire[..=len]
    }

    /// By hand: an answer has a label for each of its endpoints, and `write!` would be most of what it costs.
    fn write_v4(&mut self, ip: Ipv4Addr) -> usize {
        let mut at = 0;
        let mut push = |octet| {
            at += 1;
            self.wire[at] = octet;
        };
        for (index, octet) in ip.octets().into_iter().enumerate() {
            if index > 0 {
                push(b'-');
            }
            if octet >= 100 {
                push(b'0' + octet / 100);
            }
            if octet >= 10 {
                push(b'0' + octet / 10 % 10);
            }
            push(b'0' + octet % 10);
        }
        at
    }

    fn write_v6(&mut self, ip: Ipv6Addr) -> usize {
        use std::io::Write;
        let mut rest = &mut self.wire[1..];
        let room = rest.len();
        write!(rest, "{ip}").expect("an address has at most 45 characters");
        let len = room - rest.len();
        for octet in &mut self.wire[1..=len] {
            if matches!(octet, b'.' | b':') {
                *octet = b'-';
            }
        }
        len
    }
}

/// The first of the labels, if it is the only one.
pub(crate) fn single_label(labels: &[u8]) -> Option<&[u8]> {
    let mut iter = Labels::of(labels);
    let first = iter.next()?;
    iter.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_label_that_does_not_end_in_a_dash() {
        for (ip, expected) in [
            ("10.1.2.3", "10-1-2-3"),
            ("0.10.100.255", "0-10-100-255"),
            ("::ffff:1.2.3.4", "--ffff-1-2-3-4"),
            ("fd00::1", "fd00--1"),
            ("fd00::", "fd00--0"),
            ("::", "--0"),
            ("2001:db8:1:2:3:4:5:6", "2001-db8-1-2-3-4-5-6"),
        ] {
            let mut dashed = DashedAddress::default();
            let wire = dashed.write(ip.parse().unwrap());
            assert_eq!(
                (wire[0] as usize, &wire[1..]),
                (expected.len(), expected.as_bytes()),
                "{ip}"
            );
        }
    }

    #[test]
    fn a_label_spells_an_address_in_one_way_only() {
        for (label, expected) in [
            ("10-1-2-3", Some("10.1.2.3")),
            ("fd00--1", Some("fd00::1")),
            ("fd00--0", Some("fd00::")),
            ("--0", Some("::")),
            ("10-1-2-03", None),
            ("fd00-0--1", None),
            ("FD00--1", None),
            ("web", None),
        ] {
            let expected = expected.map(|ip| ip.parse().unwrap());
            assert_eq!(DashedAddress::read(label.as_bytes()), expected, "{label}");
        }
    }

    #[test]
    fn octets_are_labels_if_each_length_is_one_and_none_is_over() {
        let label = |length: u8| [vec![length], vec![b'a'; usize::from(length)]].concat();
        let name = |last: u8| [label(63).repeat(3), label(last)].concat();
        for (fact, wire, expected) in [
            ("none", vec![], Some(0)),
            ("two", b"\x03svc\x02ns".to_vec(), Some(2)),
            ("the root in between", b"\x03svc\0\x02ns".to_vec(), None),
            ("cut", b"\x03sv".to_vec(), None),
            ("a pointer", b"\xc0\x0c".to_vec(), None),
            ("a label of 64 octets", label(64), None),
            ("the longest name", name(61), Some(4)),
            ("one octet more", name(62), None),
        ] {
            assert_eq!(labels_in(&wire), expected, "{fact}");
        }
    }

    #[test]
    fn names_that_cannot_be_labels_have_no_key() {
        let long = "a".repeat(64);
        assert_eq!(service_key("ns", &long), None);
        assert_eq!(service_key("", "svc"), None);
        assert_eq!(
            service_key("Ns", "Svc").as_deref(),
            Some(&b"\x03svc\x02ns"[..])
        );
    }
}
