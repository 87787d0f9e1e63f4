//! The grammar of names below a cluster zone.
//!
//! ```text
//! (zone) | svc.(zone) | pod.(zone)                    nodes that only have names below them
//! NS.svc.(zone)         NS.pod.(zone)                 a Namespace
//! SVC.NS.svc.(zone)                                   a Service
//! HOST.SVC.NS.svc.(zone)                              one endpoint of it
//! _PORT._PROTOCOL.SVC.NS.svc.(zone)                   one port of it; the underscores may be missing
//! [X.[Y.]]ADDRESS.NS.pod.(zone)                       a Pod by its address; X and Y are not looked at
//! ```
//!
//! Everything is lower-case wire form, as it stands in the query; nothing is copied.

use std::io::Write;
use std::net::IpAddr;

use crate::dns::name::LABEL_MAX;
use crate::dns::{Name, reverse};

/// What a name below the zone stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KubeName<'a> {
    /// The zone itself, `svc` or `pod`.
    Node,
    /// A Namespace, under `svc` or `pod`.
    Namespace {
        /// Label in wire form.
        namespace: &'a [u8],
        /// Under `pod`.
        of_pods: bool,
    },
    /// A Service, or a part of it.
    Service {
        /// Labels of Service and Namespace in wire form.
        key: &'a [u8],
        /// Label in wire form.
        namespace: &'a [u8],
        /// Which part.
        part: Part<'a>,
    },
    /// A Pod by its address.
    Pod {
        /// Labels of address, Namespace and `pod` in wire form.
        labels: &'a [u8],
        /// Label in wire form.
        namespace: &'a [u8],
        /// The label that holds the address, without its length octet.
        address: &'a [u8],
    },
    /// Nothing that could exist.
    Invalid,
}

/// What of a Service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// The endpoint of this name: one label in wire form.
    Endpoint(&'a [u8]),
    /// The ports of this name and protocol; empty matches all.
    Port {
        /// Without underscore.
        port: &'a [u8],
        /// Without underscore.
        protocol: &'a [u8],
    },
}

/// More labels than this to the left of the zone mean nothing: port, protocol, Service, Namespace, `svc`.
const LABELS_MAX: usize = 5;

impl<'a> KubeName<'a> {
    /// Reads the part of a lower-case name to the left of its zone, which starts at octet `zone_at`.
    pub(super) fn parse(name: &'a Name, zone_at: usize) -> KubeName<'a> {
        let left = &name.wire()[..zone_at];
        let mut starts = [0; LABELS_MAX];
        let mut count = 0;
        let mut at = 0;
        while at < left.len() {
            let Some(start) = starts.get_mut(count) else {
                return KubeName::Invalid;
            };
            *start = at;
            count += 1;
            at += 1 + usize::from(left[at]);
        }
        let starts = &starts[..count];
        let label = |index: usize| {
            &left[starts[index]..starts.get(index + 1).copied().unwrap_or(left.len())]
        };
        let Some(kind) = count.checked_sub(1).map(label) else {
            return KubeName::Node;
        };
        let of_pods = match kind {
            b"\x03svc" => false,
            b"\x03pod" => true,
            _ => return KubeName::Invalid,
        };
        match (count, of_pods) {
            (1, _) => KubeName::Node,
            (2, _) => KubeName::Namespace {
                namespace: label(0),
                of_pods,
            },
            (_, true) => KubeName::Pod {
                labels: &left[starts[count - 3]..],
                namespace: label(count - 2),
                address: &label(count - 3)[1..],
            },
            (_, false) => KubeName::Service {
                key: &left[starts[count - 3]..starts[count - 1]],
                namespace: label(count - 2),
                part: match count {
                    3 => Part::Whole,
                    4 => Part::Endpoint(label(0)),
                    _ => Part::Port {
                        port: stripped(label(0)),
                        protocol: stripped(label(1)),
                    },
                },
            },
        }
    }
}

/// What a name most likely is looked up by.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Foreseen<'a> {
    /// The key of a Service, if the name is in lower case.
    Service(&'a [u8]),
    /// An address.
    Address(IpAddr),
}

impl<'a> Foreseen<'a> {
    /// Reads a name that stands at the beginning of `text` in wire form, as it came. The key of a Service is the two labels
    /// before the first `svc` that has so many before it, whatever follows.
    pub(super) fn of(text: &'a [u8]) -> Option<Foreseen<'a>> {
        let (mut before, mut last, mut at) = (None, None, 0);
        loop {
            let length = usize::from(*text.get(at)?);
            if length == 0 {
                return reverse::address_of(&text[..at]).map(Foreseen::Address);
            }
            if length > LABEL_MAX {
                return None;
            }
            let end = at + 1 + length;
            if let Some(start) = before
                && text.get(at + 1..end)? == b"svc"
            {
                return text.get(start..at).map(Foreseen::Service);
            }
            (before, last, at) = (last, Some(at), end);
        }
    }
}

/// Reads any name as one of every zone that it could be in, for the fuzzer.
pub(crate) fn read_any(name: &Name) {
    let name = name.lower();
    let mut zone_at = 0;
    for label in name.labels() {
        match KubeName::parse(&name, zone_at) {
            KubeName::Service { key, namespace, .. } => assert!(key.ends_with(namespace)),
            KubeName::Pod {
                labels, address, ..
            } => {
                assert_eq!(&labels[1..=address.len()], address);
                pod_address(address);
            }
            KubeName::Node | KubeName::Namespace { .. } | KubeName::Invalid => {}
        }
        zone_at += 1 + label.len();
    }
}

/// The text of a label without one leading underscore.
fn stripped(label: &[u8]) -> &[u8] {
    let text = &label[1..];
    text.strip_prefix(b"_").unwrap_or(text)
}

/// The address that the label of a Pod spells, as text for the address parser: dashes are dots if there are
/// three and no two together, else colons.
pub(super) fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let is_v4 = has_form_of_v4(label);
    let mut text = [0; LABEL_MAX];
    let text = &mut text[..label.len()];
    for (to, from) in text.iter_mut().zip(label) {
        *to = if *from == b'-' {
            if is_v4 { b'.' } else { b':' }
        } else {
            *from
        };
    }
    let ip: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    // `::ffff:1.2.3.4` is an IPv4 address, however it is written.
    Some(ip.to_canonical())
}

/// Whether the label, which spells the address, does so as it is written in the API (RFC 5952).
pub(super) fn is_canonical(ip: IpAddr, label: &[u8]) -> bool {
    match ip {
        // There is one way to write four numbers, unless they are the end of an IPv6 address.
        IpAddr::V4(_) => {
            !label.contains(&b':') && (has_form_of_v4(label) || !label.contains(&b'-'))
        }
        IpAddr::V6(ip) => {
            let mut text = [0; LABEL_MAX];
            let mut rest = &mut text[..];
            write!(rest, "{ip}").expect("an address has at most 39 characters");
            let len = LABEL_MAX - rest.len();
            let is_alike = |(a, b): (&u8, &u8)| a == b || *a == b':' && *b == b'-';
            len == label.len() && text.iter().zip(label).all(is_alike)
        }
    }
}

fn has_form_of_v4(label: &[u8]) -> bool {
    let dashes = label.iter().filter(|octet| **octet == b'-').count();
    dashes == 3 && !label.windows(2).any(|pair| pair == b"--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_the_grammar_is_read() {
        let (key, namespace) = (&b"\x03web\x04demo"[..], &b"\x04demo"[..]);
        let service = |part| KubeName::Service {
            key,
            namespace,
            part,
        };
        for (name, expected) in [
            ("", KubeName::Node),
            ("svc.", KubeName::Node),
            ("pod.", KubeName::Node),
            ("foo.", KubeName::Invalid),
            ("web.demo.", KubeName::Invalid),
            (
                "demo.svc.",
                KubeName::Namespace {
                    namespace,
                    of_pods: false,
                },
            ),
            (
                "demo.pod.",
                KubeName::Namespace {
                    namespace,
                    of_pods: true,
                },
            ),
            ("web.demo.svc.", service(Part::Whole)),
            ("h.web.demo.svc.", service(Part::Endpoint(b"\x01h"))),
            (
                "_http._tcp.web.demo.svc.",
                service(Part::Port {
                    port: b"http",
                    protocol: b"tcp",
                }),
            ),
            (
                "http.tcp.web.demo.svc.",
                service(Part::Port {
                    port: b"http",
                    protocol: b"tcp",
                }),
            ),
            (
                "_._tcp.web.demo.svc.",
                service(Part::Port {
                    port: b"",
                    protocol: b"tcp",
                }),
            ),
            ("a.b.c.web.demo.svc.", KubeName::Invalid),
            (
                "1-2-3-4.demo.pod.",
                KubeName::Pod {
                    labels: b"\x071-2-3-4\x04demo\x03pod",
                    namespace,
                    address: b"1-2-3-4",
                },
            ),
            (
                "x.y.1-2-3-4.demo.pod.",
                KubeName::Pod {
                    labels: b"\x071-2-3-4\x04demo\x03pod",
                    namespace,
                    address: b"1-2-3-4",
                },
            ),
            ("x.y.z.1-2-3-4.demo.pod.", KubeName::Invalid),
        ] {
            let zone: Name = "cluster.local.".parse().unwrap();
            let full: Name = format!("{name}cluster.local.").parse().unwrap();
            assert_eq!(
                KubeName::parse(&full, full.offset_of(&zone).unwrap()),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_name_is_looked_up_by_is_foreseen() {
        let service = |key| Some(Foreseen::Service(key));
        let web = service(&b"\x03web\x04demo"[..]);
        for (name, expected) in [
            ("web.demo.svc.cluster.local.", web),
            ("WEB.demo.svc.cluster.local.", service(b"\x03WEB\x04demo")),
            ("web.demo.SVC.cluster.local.", None),
            ("h.web.demo.svc.cluster.local.", service(b"\x03web\x04demo")),
            ("_p._tcp.web.demo.svc.a.b.c.", service(b"\x03web\x04demo")),
            ("svc.svc.svc.cluster.local.", service(b"\x03svc\x03svc")),
            ("web.demo.pod.cluster.local.", None),
            ("demo.svc.cluster.local.", None),
            ("svc.cluster.local.", None),
            (
                "1.0.96.10.in-addr.arpa.",
                Some(Foreseen::Address([10, 96, 0, 1].into())),
            ),
            ("0.96.10.in-addr.arpa.", None),
            ("www.example.com.", None),
            (".", None),
        ] {
            let parsed: Name = name.parse().unwrap();
            let packet = [parsed.wire(), b"\0\x01\0\x01"].concat();
            assert_eq!(Foreseen::of(&packet), expected, "{name}");
        }
        for (what, text) in [
            ("nothing", &b""[..]),
            ("a label that breaks off", b"\x03web\x04de"),
            ("no label behind the last", b"\x03web\x04demo"),
            ("a pointer", b"\x03web\x04demo\xc0\x0c"),
            ("a long label", b"\x40web"),
        ] {
            assert_eq!(Foreseen::of(text), None, "{what}");
        }
    }

    #[test]
    fn a_label_with_a_dot_in_it_is_one_label() {
        let name: Name = r"web\.demo.svc.cluster.local.".parse().unwrap();
        let namespace = &b"\x08web.demo"[..];
        assert_eq!(
            KubeName::parse(&name, 13),
            KubeName::Namespace {
                namespace,
                of_pods: false
            }
        );
    }

    #[test]
    fn an_address_is_written_in_one_way_in_the_api() {
        for (label, expected) in [
            ("10-244-1-10", true),
            (r"10.244.1.10", true),
            ("fd00--1", true),
            ("fd00--", true),
            ("fd00--0", false),
            ("fd00-0--1", false),
            ("FD00--1", false),
            ("--ffff-102-304", false),
            ("0-0-0-0-0-ffff-102-304", false),
            ("--ffff-1.2.3.4", false),
            ("::ffff:1-2-3-4", false),
        ] {
            let ip = pod_address(label.as_bytes()).unwrap();
            assert_eq!(is_canonical(ip, label.as_bytes()), expected, "{label}");
            // What is asked: the text of the address, with dashes.
            let text = ip.to_string().replace(['.', ':'], "-");
            assert_eq!(label.replace(['.', ':'], "-") == text, expected, "{label}");
        }
    }

    #[test]
    fn labels_of_pods_spell_addresses() {
        for (label, expected) in [
            ("10-244-1-10", Some("10.244.1.10")),
            ("1-2--3", Some("1:2::3")),
            ("fd00--1", Some("fd00::1")),
            ("--1", Some("::1")),
            ("--ffff-102-304", Some("1.2.3.4")),
            ("1-2-3", None),
            ("1-2-3-256", None),
            ("1-2-3-04", None),
            ("abc", None),
            ("-1-2-3-4", None),
            ("::1", Some("::1")),
        ] {
            assert_eq!(
                pod_address(label.as_bytes()),
                expected.map(|a| a.parse().unwrap()),
                "{label}"
            );
        }
    }
}
