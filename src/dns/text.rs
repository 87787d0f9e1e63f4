//! Records for people to read, in master file format (RFC 1035 section 5.1).
//!
//! Whatever an upstream sent, what comes out is printable: names and strings are escaped, and data of a type that is
//! not known here is written in hexadecimal (RFC 3597 section 5).

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::edns::{Options, option};
use super::name::Name;
use super::query::flag;
use super::rdata::{Part, layout};
use super::rr::Type;

/// Octets of data that are written in hexadecimal, or of a string; what is beyond is left out.
const OPAQUE_MAX: usize = 256;

/// The bits of a header that are set, as `dig` writes them.
pub fn flags(flags: u16) -> String {
    let known = [
        (flag::AA, "aa"),
        (flag::TC, "tc"),
        (flag::RD, "rd"),
        (flag::RA, "ra"),
        (flag::AD, "ad"),
        (flag::CD, "cd"),
    ];
    let set = known.iter().filter(|(bit, _)| flags & bit != 0);
    let set: Vec<&str> = set.map(|(_, text)| *text).collect();
    set.join(" ")
}

/// The data of a record, whose names are in full. Data that does not fit its type is written as that of an unknown one.
pub fn rdata(rtype: Type, data: &[u8]) -> String {
    parts(rtype, data).unwrap_or_else(|| opaque(data))
}

/// The extended errors (RFC 8914) among the options of an OPT record: code and text.
pub fn extended_errors(options: &[u8]) -> Vec<(u16, String)> {
    let errors = Options::of(options).filter(|(code, _)| *code == option::EXTENDED_ERROR);
    errors
        .filter_map(|(_, data)| {
            let (code, text) = data.split_first_chunk::<2>()?;
            Some((u16::from_be_bytes(*code), escaped(text)))
        })
        .collect()
}

fn parts(rtype: Type, data: &[u8]) -> Option<String> {
    if rtype == Type::TXT || rtype == Type::SPF {
        return strings(data);
    }
    let (mut words, mut rest) = (Vec::new(), data);
    for part in layout(rtype) {
        match part {
            Part::Name | Part::PlainName => {
                let (name, read) = Name::read(rest, 0).ok()?;
                words.push(name.to_string());
                rest = &rest[read..];
            }
            Part::Octets(count) => {
                let (octets, after) = rest.split_at_checked(usize::from(*count))?;
                words.extend(numbers(rtype, octets)?);
                rest = after;
            }
            Part::String | Part::Rest => return None,
        }
    }
    rest.is_empty().then(|| words.join(" "))
}

/// The fixed part of the types that are written in words.
fn numbers(rtype: Type, octets: &[u8]) -> Option<Vec<String>> {
    let words = match rtype {
        Type::A => vec![Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()],
        Type::AAAA => vec![Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()],
        Type::SOA => {
            let (numbers, _) = octets.as_chunks::<4>();
            let numbers = numbers.iter().map(|number| u32::from_be_bytes(*number));
            numbers.map(|number| number.to_string()).collect()
        }
        Type::MX | Type::SRV | Type::AFSDB | Type::RT | Type::KX => {
            let (numbers, _) = octets.as_chunks::<2>();
            let numbers = numbers.iter().map(|number| u16::from_be_bytes(*number));
            numbers.map(|number| number.to_string()).collect()
        }
        _ => return None,
    };
    Some(words)
}

fn strings(mut data: &[u8]) -> Option<String> {
    let mut words = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        words.push(format!("\"{}\"", escaped(text)));
        data = rest;
    }
    Some(words.join(" "))
}

fn escaped(text: &[u8]) -> String {
    let mut out = String::new();
    for octet in text.iter().take(OPAQUE_MAX) {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*octet));
            }
            b' '..=b'~' => out.push(char::from(*octet)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "\\{octet:03}")),
        }
    }
    out
}

fn opaque(data: &[u8]) -> String {
    let mut out = format!("\\# {} ", data.len());
    for octet in data.iter().take(OPAQUE_MAX) {
        let _ = write!(out, "{octet:02x}");
    }
    if data.len() > OPAQUE_MAX {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_written_as_in_a_master_file() {
        let soa = [
            &b"\x02ns\0\x04host\0"[..],
            &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5],
        ]
        .concat();
        for (rtype, data, expected) in [
            (Type::A, &[192, 0, 2, 1][..], "192.0.2.1"),
            (
                Type::AAAA,
                &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                "fd00::1",
            ),
            (Type::CNAME, b"\x03w w\x07example\0", r"w\ w.example."),
            (Type::SRV, b"\0\0\0\x32\0\x50\x03web\0", "0 50 80 web."),
            (Type::MX, b"\0\x0a\x04mail\0", "10 mail."),
            (Type::SOA, &soa, "ns. host. 1 2 3 4 5"),
            (Type::TXT, b"\x051.1.0\x03a\"\x1b", r#""1.1.0" "a\"\027""#),
            (Type(65280), b"\x01\xff", r"\# 2 01ff"),
            (Type::A, b"\x01\xff", r"\# 2 01ff"),
            (Type::TXT, b"\x05a", r"\# 2 0561"),
            (Type::CNAME, b"\x03web\0more", r"\# 9 03776562006d6f7265"),
        ] {
            assert_eq!(rdata(rtype, data), expected, "{rtype}");
        }
    }

    #[test]
    fn flags_and_extended_errors_are_words() {
        assert_eq!(flags(flag::QR | flag::AA | flag::RD), "aa rd");
        let options = b"\0\x0a\0\x01c\0\x0f\0\x06\0\x16no\x1b\n";
        assert_eq!(extended_errors(options), [(22, r"no\027\010".to_owned())]);
    }
}
