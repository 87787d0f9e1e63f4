//! Where the names lie in the data of a record, by type.
//!
//! Two uses: names in a received message may be compressed and must be expanded before the record is moved
//! (RFC 1035 section 4.1.4, RFC 3597 section 4), and names in a long reply may be compressed when sent.

use super::name::{Name, NameError};
use super::rr::Type;

/// A part of a record's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A name that may be compressed when sent (types of RFC 1035).
    Name,
    /// A name that must be sent as it is (RFC 3597 section 4).
    PlainName,
    /// So many octets.
    Octets(u8),
    /// A length octet and that many octets.
    String,
    /// All that is left.
    Rest,
}

/// The parts of the data of a type; an unknown type is opaque.
pub fn layout(rtype: Type) -> &'static [Part] {
    use Part::*;
    match rtype {
        Type::NS
        | Type::MD
        | Type::MF
        | Type::CNAME
        | Type::MB
        | Type::MG
        | Type::MR
        | Type::PTR => &[Name],
        Type::SOA => &[Name, Name, Octets(20)],
        Type::MINFO => &[Name, Name],
        Type::MX => &[Octets(2), Name],
        Type::RP | Type::TALINK => &[PlainName, PlainName],
        Type::AFSDB | Type::RT | Type::KX | Type::LP => &[Octets(2), PlainName],
        Type::PX => &[Octets(2), PlainName, PlainName],
        Type::SRV => &[Octets(6), PlainName],
        Type::NAPTR => &[Octets(4), String, String, String, PlainName],
        Type::DNAME | Type::NSAP_PTR => &[PlainName],
        Type::SIG | Type::RRSIG => &[Octets(18), PlainName, Rest],
        Type::NXT | Type::NSEC => &[PlainName, Rest],
        Type::SVCB | Type::HTTPS => &[Octets(2), PlainName, Rest],
        Type::A => &[Octets(4)],
        Type::AAAA => &[Octets(16)],
        _ => &[Rest],
    }
}

/// Why the data of a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RdataError {
    /// A name in it is broken.
    #[error("{0}")]
    Name(#[from] NameError),
    /// It is longer or shorter than its type allows.
    #[error("record data does not fit its type")]
    Length,
}

/// Appends the data at `start..end` of a message to `out`, with every name in full. Empty data is allowed for
/// every type, as in the records of an update (RFC 2136 section 2.4).
pub fn expand(
    message: &[u8],
    start: usize,
    end: usize,
    rtype: Type,
    out: &mut Vec<u8>,
) -> Result<(), RdataError> {
    // Names may point back into the whole message, but must not run over the end of the record.
    let message = message.get(..end).ok_or(RdataError::Length)?;
    if start == end {
        return Ok(());
    }
    let mut at = start;
    for part in layout(rtype) {
        let behind = match part {
            Part::Name | Part::PlainName => {
                let (name, behind) = Name::read(message, at)?;
                out.extend_from_slice(name.wire());
                at = behind;
                continue;
            }
            Part::Octets(count) => at + *count as usize,
            Part::String => at + 1 + *message.get(at).ok_or(RdataError::Length)? as usize,
            Part::Rest => end,
        };
        out.extend_from_slice(message.get(at..behind).ok_or(RdataError::Length)?);
        at = behind;
    }
    if at == end {
        Ok(())
    } else {
        Err(RdataError::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_expanded_where_the_type_has_them() {
        let message = b"\x07example\x03com\0\x00\x0a\x04mail\xc0\x00";
        let mut out = Vec::new();
        expand(message, 13, message.len(), Type::MX, &mut out).unwrap();
        assert_eq!(out, b"\x00\x0a\x04mail\x07example\x03com\0");
    }

    #[test]
    fn data_that_does_not_fit_its_type_is_refused() {
        for (fault, rtype, data) in [
            ("an address of three octets", Type::A, &b"\x01\x02\x03"[..]),
            (
                "an address of five octets",
                Type::A,
                b"\x01\x02\x03\x04\x05",
            ),
            ("octets behind the name", Type::CNAME, b"\x01a\0junk"),
            ("a name without an end", Type::CNAME, b"\x01a"),
            (
                "a SOA without its numbers",
                Type::SOA,
                b"\x01a\0\x01b\0\0\0\0\x01",
            ),
            ("a string over the end", Type::NAPTR, b"\0\0\0\0\xffabc"),
        ] {
            assert!(
                expand(data, 0, data.len(), rtype, &mut Vec::new()).is_err(),
                "{fault}"
            );
        }
    }

    #[test]
    fn an_unknown_type_is_opaque_and_empty_data_is_allowed() {
        let mut out = Vec::new();
        expand(b"\xc0\x00xyz", 0, 5, Type(65280), &mut out).unwrap();
        assert_eq!(out, b"\xc0\x00xyz");
        expand(b"", 0, 0, Type::SOA, &mut out).unwrap();
    }
}
