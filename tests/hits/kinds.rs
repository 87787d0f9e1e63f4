//! Kinds of answers that are known, a question of each.

use cairn_dns::dns::{Class, Name, Question, Rcode, Type};

/// A question and what its answer is like.
pub(crate) struct Kind {
    pub(crate) what: &'static str,
    pub(crate) name: &'static str,
    pub(crate) rtype: Type,
    pub(crate) rcode: Rcode,
    /// Records of the answer section.
    pub(crate) answers: u16,
    /// Why there is none, for clients with EDNS; empty where nothing is told.
    pub(crate) told: &'static str,
}

const fn kind(what: &'static str, name: &'static str, rtype: Type, answers: u16) -> Kind {
    Kind {
        what,
        name,
        rtype,
        rcode: Rcode::NOERROR,
        answers,
        told: "",
    }
}

const fn denied(what: &'static str, name: &'static str, rtype: Type, told: &'static str) -> Kind {
    Kind {
        rcode: Rcode::NXDOMAIN,
        told,
        ..kind(what, name, rtype, 0)
    }
}

const NO_SERVICE: &str = "no such Service in this Namespace";

/// Of the cluster that [`super::bench`] makes up, where Pods are not looked at.
pub(crate) const PODS_INSECURE: &[Kind] = &[
    kind("a Service", "web-1.ns1.svc.cluster.local.", Type::A, 1),
    kind(
        "no address of this family",
        "web-1.ns1.svc.cluster.local.",
        Type::AAAA,
        0,
    ),
    kind(
        "in another case",
        "WEB-1.ns1.svc.CLUSTER.local.",
        Type::A,
        1,
    ),
    kind(
        "all ports of a Service",
        "web-1.ns1.svc.cluster.local.",
        Type::SRV,
        2,
    ),
    kind(
        "a port of a Service",
        "_http._tcp.web-1.ns1.svc.cluster.local.",
        Type::SRV,
        1,
    ),
    kind(
        "ports of a headless Service",
        "web-0.ns0.svc.cluster.local.",
        Type::SRV,
        6,
    ),
    kind(
        "the Service of an address",
        "2.9.96.10.in-addr.arpa.",
        Type::PTR,
        1,
    ),
    kind(
        "the endpoint of an address",
        "1.0.128.10.in-addr.arpa.",
        Type::PTR,
        1,
    ),
    kind(
        "a headless Service",
        "web-0.ns0.svc.cluster.local.",
        Type::A,
        3,
    ),
    kind(
        "an endpoint by its hostname",
        "host-0.web-0.ns0.svc.cluster.local.",
        Type::A,
        1,
    ),
    kind(
        "an endpoint by its address",
        "10-128-0-2.web-0.ns0.svc.cluster.local.",
        Type::A,
        1,
    ),
    kind(
        "a port of one endpoint",
        "_http._tcp.web-0.ns0.svc.cluster.local.",
        Type::SRV,
        3,
    ),
    denied(
        "first step of a walk",
        "www.example.com.ns1.svc.cluster.local.",
        Type::A,
        NO_SERVICE,
    ),
    denied(
        "second step of a walk",
        "www.example.com.svc.cluster.local.",
        Type::AAAA,
        "no such Namespace",
    ),
    denied(
        "third step of a walk",
        "www.example.com.cluster.local.",
        Type::A,
        "",
    ),
    kind("a name kept by the cache", "www.example.com.", Type::A, 1),
    denied(
        "no such Service",
        "nothing.ns1.svc.cluster.local.",
        Type::A,
        NO_SERVICE,
    ),
    denied(
        "no such port",
        "_nothing._tcp.web-1.ns1.svc.cluster.local.",
        Type::SRV,
        "the Service has no such port",
    ),
    denied(
        "no such endpoint",
        "nothing.web-0.ns0.svc.cluster.local.",
        Type::A,
        "the Service has no ready endpoint of this name",
    ),
    kind(
        "a Pod's name",
        "10-128-0-1.ns0.pod.cluster.local.",
        Type::A,
        1,
    ),
    kind("the zone's SOA", "cluster.local.", Type::SOA, 1),
];

/// Likewise, where a Pod must be there.
pub(crate) const PODS_VERIFIED: &[Kind] = &[
    kind("a Pod", "10-128-0-1.ns0.pod.cluster.local.", Type::A, 1),
    denied(
        "no Pod",
        "10-128-0-99.ns0.pod.cluster.local.",
        Type::A,
        "no Pod of this Namespace has this address",
    ),
];

impl Kind {
    /// The query; with EDNS as resolvers send it, with a cookie.
    pub(crate) fn packet(&self, with_edns: bool) -> Vec<u8> {
        packet(self.name, self.rtype, with_edns)
    }

    /// Panics unless this is the answer, to a client with EDNS or without.
    pub(crate) fn check(&self, reply: &[u8], with_edns: bool) {
        let (rcode, answers) = (
            Rcode(u16::from(reply[3] & 0xf)),
            u16::from_be_bytes([reply[6], reply[7]]),
        );
        assert_eq!(
            (rcode, answers),
            (self.rcode, self.answers),
            "{}",
            self.what
        );
        // The extended error is the last option of the last record: text behind a code of its own.
        let error = [b"\0\0", self.told.as_bytes()].concat();
        let is_told = reply.ends_with(&error) && !self.told.is_empty();
        let is_due = with_edns && !self.told.is_empty();
        assert_eq!(is_told, is_due, "{}: why", self.what);
    }
}

/// A query as a client of a cluster sends it.
pub(crate) fn packet(name: &str, rtype: Type, with_edns: bool) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    let question = Question::new(name, rtype, Class::IN);
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(with_edns)];
    packet.extend_from_slice(question.asked.wire());
    packet.extend_from_slice(&question.rtype.0.to_be_bytes());
    packet.extend_from_slice(&question.class.0.to_be_bytes());
    if with_edns {
        packet.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08cookie!!");
    }
    packet
}
