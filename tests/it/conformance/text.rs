//! Records as the recorded rows write them, which is how dnspython does.

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{
            CAA, SVCB,
            svcb::{IpHint, SvcParamKey, SvcParamValue},
        },
    },
};

/// `owner ttl type rdata`.
pub(super) fn record(record: &Record) -> String {
    let (owner, ttl) = (name(&record.name), record.ttl);
    format!(
        "{owner} {ttl} {} {}",
        record.record_type(),
        rdata(&record.data)
    )
}

/// An absolute name in the case that it had on the wire.
pub(super) fn name(name: &Name) -> String {
    let labels = name.iter().map(|label| escaped(label, br#""().;\@$"#));
    let mut text: String = labels.map(|label| label + ".").collect();
    if text.is_empty() {
        text.push('.');
    }
    text
}

pub(super) fn rcode(rcode: ResponseCode) -> String {
    match rcode {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => u16::from(other).to_string(),
    }
}

/// The flags that are set, in the order of the header.
pub(super) fn flags(message: &Message) -> String {
    let header = &message.metadata;
    let flags = [
        ("AA", header.authoritative),
        ("TC", header.truncation),
        ("RD", header.recursion_desired),
        ("RA", header.recursion_available),
        ("AD", header.authentic_data),
        ("CD", header.checking_disabled),
    ];
    let set = flags.iter().filter(|(_, set)| *set).map(|(flag, _)| *flag);
    ["QR"].into_iter().chain(set).collect::<Vec<_>>().join(" ")
}

fn rdata(data: &RData) -> String {
    match data {
        RData::CNAME(target) => name(&target.0),
        RData::NS(server) => name(&server.0),
        RData::PTR(target) => name(&target.0),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => {
            let target = name(&srv.target);
            format!("{} {} {} {target}", srv.priority, srv.weight, srv.port)
        }
        RData::SOA(soa) => {
            let (mname, rname) = (name(&soa.mname), name(&soa.rname));
            let (serial, minimum) = (soa.serial, soa.minimum);
            let times = format!("{} {} {}", soa.refresh, soa.retry, soa.expire);
            format!("{mname} {rname} {serial} {times} {minimum}")
        }
        RData::TXT(txt) => {
            let strings = txt.txt_data.iter().map(|string| quoted(string));
            strings.collect::<Vec<_>>().join(" ")
        }
        RData::CAA(caa) => authorization(caa),
        RData::HTTPS(https) => service(&https.0),
        RData::SVCB(svcb) => service(svcb),
        other => other.to_string(),
    }
}

fn authorization(caa: &CAA) -> String {
    format!("{} {} {}", caa.flags(), caa.tag, quoted(&caa.value))
}

fn service(svcb: &SVCB) -> String {
    let parameters = svcb.svc_params.iter().map(parameter);
    let head = format!("{} {}", svcb.svc_priority, name(&svcb.target_name));
    [head]
        .into_iter()
        .chain(parameters)
        .collect::<Vec<_>>()
        .join(" ")
}

fn parameter((key, value): &(SvcParamKey, SvcParamValue)) -> String {
    match value {
        SvcParamValue::Alpn(alpn) => format!("{key}=\"{}\"", alpn.0.join(",")),
        SvcParamValue::Ipv4Hint(hint) => format!("{key}=\"{}\"", addresses(hint)),
        SvcParamValue::Ipv6Hint(hint) => format!("{key}=\"{}\"", addresses(hint)),
        SvcParamValue::NoDefaultAlpn => key.to_string(),
        other => format!("{key}=\"{other}\""),
    }
}

fn addresses<T: std::fmt::Display>(hint: &IpHint<T>) -> String {
    let addresses = hint.0.iter().map(T::to_string);
    addresses.collect::<Vec<_>>().join(",")
}

fn quoted(octets: &[u8]) -> String {
    format!("\"{}\"", escaped(octets, br#""\"#).replace("\\032", " "))
}

/// Octets as text; `special` are those with a meaning of their own.
fn escaped(octets: &[u8], special: &[u8]) -> String {
    let octets = octets.iter().map(|octet| match octet {
        octet if special.contains(octet) => format!("\\{}", char::from(*octet)),
        0x21..=0x7e => char::from(*octet).to_string(),
        octet => format!("\\{octet:03}"),
    });
    octets.collect()
}
