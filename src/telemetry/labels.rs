//! The closed sets of label values: what a query's type, rcode, protocol and plugin are called on `/metrics`.
//!
//! A label that a client or an upstream could fill with any number has a last slot `other`, so that nobody can make the
//! number of series grow.

/// How a query came; `proto` on `/metrics`. DoT, DoH and DoQ count as `tcp`, `tcp` and `udp`, as their sockets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
}

/// The address family of the client; `family` on `/metrics` with the numbers of the IANA address family registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, `1`.
    V4,
    /// IPv6, `2`.
    V6,
}

/// Who wrote a reply: an index into the table of names that [`Metrics`](super::Metrics) was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginId(pub u8);

impl PluginId {
    /// No plugin wrote the reply: the server did, and the label is empty.
    pub const SERVER: Self = Self(u8::MAX);
}

pub(super) const PROTOS: [&str; 2] = ["udp", "tcp"];

pub(super) const FAMILIES: [&str; 2] = ["1", "2"];

/// The types that have a series of their own; the last is for all others.
pub(super) const TYPES: [&str; 20] = [
    "A", "AAAA", "CNAME", "DNSKEY", "DS", "MX", "NSEC3", "NSEC", "NS", "PTR", "RRSIG", "SOA",
    "SRV", "TXT", "HTTPS", "SVCB", "IXFR", "AXFR", "ANY", "other",
];

/// Rcodes of the IANA registry as CoreDNS prints them: 16 is both BADSIG (RFC 8945) and BADVERS (RFC 6891), and those
/// without a name have their number. The last is for all above.
pub(super) const RCODES: [&str; 25] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
    "RCODE12",
    "RCODE13",
    "RCODE14",
    "RCODE15",
    "BADSIG",
    "BADKEY",
    "BADTIME",
    "BADMODE",
    "BADNAME",
    "BADALG",
    "BADTRUNC",
    "BADCOOKIE",
    "other",
];

/// The slot of a query type in [`TYPES`].
#[inline]
pub(super) fn type_slot(qtype: u16) -> usize {
    match qtype {
        1 => 0,
        28 => 1,
        5 => 2,
        48 => 3,
        43 => 4,
        15 => 5,
        50 => 6,
        47 => 7,
        2 => 8,
        12 => 9,
        46 => 10,
        6 => 11,
        33 => 12,
        16 => 13,
        65 => 14,
        64 => 15,
        251 => 16,
        252 => 17,
        255 => 18,
        _ => TYPES.len() - 1,
    }
}

/// The slot of an rcode, extended bits included, in [`RCODES`].
#[inline]
pub(super) fn rcode_slot(rcode: u16) -> usize {
    usize::from(rcode).min(RCODES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_label_of_their_mnemonic() {
        let rows = [
            (1, "A"),
            (2, "NS"),
            (5, "CNAME"),
            (6, "SOA"),
            (12, "PTR"),
            (15, "MX"),
            (16, "TXT"),
            (28, "AAAA"),
            (33, "SRV"),
            (43, "DS"),
            (46, "RRSIG"),
            (47, "NSEC"),
            (48, "DNSKEY"),
            (50, "NSEC3"),
            (64, "SVCB"),
            (65, "HTTPS"),
            (251, "IXFR"),
            (252, "AXFR"),
            (255, "ANY"),
            (0, "other"),
            (13, "other"),
            (65_535, "other"),
        ];
        for (qtype, label) in rows {
            assert_eq!(TYPES[type_slot(qtype)], label, "type {qtype}");
        }
    }

    #[test]
    fn rcodes_have_the_label_of_their_mnemonic() {
        let rows = [
            (0, "NOERROR"),
            (3, "NXDOMAIN"),
            (5, "REFUSED"),
            (11, "DSOTYPENI"),
            (12, "RCODE12"),
            (16, "BADSIG"),
            (23, "BADCOOKIE"),
            (24, "other"),
            (4095, "other"),
        ];
        for (rcode, label) in rows {
            assert_eq!(RCODES[rcode_slot(rcode)], label, "rcode {rcode}");
        }
    }
}
