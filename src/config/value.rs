//! Words of a Corefile that are values: here text becomes a type, with the words that CoreDNS has for what is
//! wrong with it.

use std::time::Duration;

use crate::dns::Name;
use crate::dns::name::NAME_MAX;

/// Why a word is not the value it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(String);

/// A duration as Go writes it: `1h30m`, `1.5s`, `300ms`, with a sign or not. Nanoseconds.
pub fn signed_duration(text: &str) -> Result<i64, ValueError> {
    let invalid = || ValueError(format!("time: invalid duration {text:?}"));
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = match &rest[..digits] {
            "" | "." => return Err(invalid()),
            number => number.parse().map_err(|_| invalid())?,
        };
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let nanoseconds = match &rest[..unit] {
            "" => {
                return Err(ValueError(format!(
                    "time: missing unit in duration {text:?}"
                )));
            }
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            other => {
                return Err(ValueError(format!(
                    "time: unknown unit {other:?} in duration {text:?}"
                )));
            }
        };
        total += number * nanoseconds;
        rest = &rest[unit..];
    }
    if total > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative {
        -(total as i64)
    } else {
        total as i64
    })
}

/// A duration that is not negative; a negative one is `Ok(None)`, because each plugin has its own words for it.
pub fn duration(text: &str) -> Result<Option<Duration>, ValueError> {
    Ok(u64::try_from(signed_duration(text)?)
        .ok()
        .map(Duration::from_nanos))
}

/// A whole number with a sign, as Go's `strconv.Atoi` reads it.
pub fn integer(text: &str) -> Result<i64, ValueError> {
    text.parse()
        .map_err(|_| ValueError(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
}

/// A whole number without a sign, as Go's `strconv.ParseUint` reads it.
pub fn unsigned(text: &str) -> Result<u32, ValueError> {
    text.parse().map_err(|_| {
        ValueError(format!(
            "strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// A zone with the port that may stand behind it, or a network in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZonePort {
    /// One zone, or the reverse zones that make up a network.
    pub zones: Vec<Name>,
    /// The digits behind the last colon, which may be no port.
    pub port: Option<String>,
}

/// Reads `zone[:port]` or `network/length[:port]`, without a scheme. A network whose length is not a whole
/// number of octets (IPv4) or nibbles (IPv6) stands for several zones.
pub fn zone_port(text: &str) -> Result<ZonePort, ValueError> {
    let (mut zone, mut port) = (text, None);
    if let Some((before, after)) = text.rsplit_once(':') {
        if after.is_empty() {
            return Err(ValueError(format!(
                "expecting data after last colon: {text:?}"
            )));
        }
        if after.bytes().all(|octet| octet.is_ascii_digit()) {
            (zone, port) = (before, Some(after.to_owned()));
        }
    }
    let zones = match zone.parse::<ipnet::IpNet>() {
        // A network that begins with nothing would take over all reverse names.
        Ok(_) if zone.starts_with(':') || zone.starts_with('0') && zone.contains('.') => {
            return Err(ValueError(format!("invalid CIDR {zone}")));
        }
        Ok(network) => reverse_zones(network),
        Err(_) => vec![name(zone)?],
    };
    Ok(ZonePort { zones, port })
}

/// A zone or network as an argument of a plugin: a scheme or port on it is not looked at.
pub fn zones(text: &str) -> Result<Vec<Name>, ValueError> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    Ok(zone_port(bare)?.zones)
}

/// A domain name in lower case. Its text may not be longer than a name in wire form, although escapes make it longer:
/// CoreDNS counts so.
pub fn name(text: &str) -> Result<Name, ValueError> {
    if text.len() > NAME_MAX {
        let length = text.len();
        return Err(ValueError(format!(
            "specified zone is too long: {length} > {NAME_MAX}"
        )));
    }
    let name: Result<Name, _> = text.parse();
    match name {
        Ok(name) if !text.is_empty() => Ok(name.lower()),
        _ => Err(ValueError(format!(
            "zone is not a valid domain name: {text}"
        ))),
    }
}

/// The reverse zones whose names are exactly those of the network's addresses.
fn reverse_zones(network: ipnet::IpNet) -> Vec<Name> {
    let step: u8 = if network.addr().is_ipv4() { 8 } else { 4 };
    let length = network.prefix_len().next_multiple_of(step);
    let parts = network
        .trunc()
        .subnets(length)
        .expect("the new length is at least the old and within the address");
    parts
        .map(|part| reverse_zone(part.addr(), length))
        .collect()
}

fn reverse_zone(address: std::net::IpAddr, length: u8) -> Name {
    use std::fmt::Write;
    let mut text = String::new();
    match address {
        std::net::IpAddr::V4(ip) => {
            for octet in ip.octets()[..length as usize / 8].iter().rev() {
                let _ = write!(text, "{octet}.");
            }
            text.push_str("in-addr.arpa.");
        }
        std::net::IpAddr::V6(ip) => {
            let value = u128::from(ip);
            for nibble in (0..length / 4).rev() {
                let _ = write!(text, "{:x}.", value >> (124 - 4 * u32::from(nibble)) & 0xf);
            }
            text.push_str("ip6.arpa.");
        }
    }
    text.parse()
        .expect("digits and dots under a fixed suffix are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("5s", Ok(5_000_000_000)),
            ("1h30m", Ok(5_400_000_000_000)),
            ("1.5s", Ok(1_500_000_000)),
            (".5s", Ok(500_000_000)),
            ("300ms", Ok(300_000_000)),
            ("-1h", Ok(-3_600_000_000_000)),
            ("0", Ok(0)),
            ("5", Err("time: missing unit in duration \"5\"")),
            ("soon", Err("time: invalid duration \"soon\"")),
            ("", Err("time: invalid duration \"\"")),
            ("1d", Err("time: unknown unit \"d\" in duration \"1d\"")),
            ("1s2", Err("time: missing unit in duration \"1s2\"")),
            (
                "99999999999h",
                Err("time: invalid duration \"99999999999h\""),
            ),
        ] {
            assert_eq!(
                signed_duration(text).map_err(|e| e.to_string()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn networks_stand_for_the_reverse_zones_of_their_addresses() {
        for (text, expected) in [
            ("10.0.0.0/24", "0.0.10.in-addr.arpa."),
            (
                "10.0.0.0/22",
                "0.0.10.in-addr.arpa. 1.0.10.in-addr.arpa. 2.0.10.in-addr.arpa. 3.0.10.in-addr.arpa.",
            ),
            ("10.0.0.7/8", "10.in-addr.arpa."),
            ("192.0.2.1/32", "1.2.0.192.in-addr.arpa."),
            ("2001:db8::/32", "8.b.d.0.1.0.0.2.ip6.arpa."),
            (
                "2001:db8::/31",
                "8.b.d.0.1.0.0.2.ip6.arpa. 9.b.d.0.1.0.0.2.ip6.arpa.",
            ),
            ("10.0.0.0/33", "10.0.0.0/33."),
            ("Cluster.LOCAL.", "cluster.local."),
            ("dns://a.test:1053", "a.test."),
        ] {
            let got: Vec<String> = zones(text).unwrap().iter().map(Name::to_string).collect();
            assert_eq!(got.join(" "), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_zone_is_refused() {
        for text in [
            "a..test",
            &"a".repeat(64),
            &"a.".repeat(128),
            "",
            "0.0.0.0/0",
            "::/0",
            "a.test:",
        ] {
            assert!(zones(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digits_behind_the_last_colon_are_the_port() {
        for (text, zone, port) in [
            ("a.test:1053", "a.test.", Some("1053")),
            ("a.test:99999", "a.test.", Some("99999")),
            ("a.test:abc", "a.test:abc.", None),
            ("2001:db8::/32:53", "8.b.d.0.1.0.0.2.ip6.arpa.", Some("53")),
        ] {
            let read = zone_port(text).unwrap();
            assert_eq!(
                (read.zones[0].to_string().as_str(), read.port.as_deref()),
                (zone, port),
                "{text}"
            );
        }
    }
}
