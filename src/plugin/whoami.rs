//! `whoami`: tells the client its address, port and transport. Useful to see that a server answers at all.

use std::net::IpAddr;

use crate::chain::Step;
use crate::config::Scope;
use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};
use crate::dns::reply::Owner;
use crate::dns::{Query, Rcode, Reply, Section, Transport, Type};

/// No answer; the address of the client, and its port as an SRV record, in the additional section.
pub(crate) fn down(query: &mut Query) -> Step {
    let (client, transport) = (query.client, query.transport);
    let mut reply = Reply::authoritative(query, Rcode::NOERROR);
    let records = &mut reply.records;
    match client.ip() {
        IpAddr::V4(ip) => records.push(
            Section::Additional,
            Owner::Asked(0),
            Type::A,
            0,
            &[&ip.octets()],
        ),
        IpAddr::V6(ip) => records.push(
            Section::Additional,
            Owner::Asked(0),
            Type::AAAA,
            0,
            &[&ip.octets()],
        ),
    }
    let label: &[u8] = match transport {
        Transport::Udp => b"\x04_udp",
        Transport::Tcp => b"\x04_tcp",
    };
    let asked = query.question.asked;
    // A name that has no room for the label is named without it.
    let label = if asked.wire().len() + label.len() > crate::dns::name::NAME_MAX {
        &[]
    } else {
        label
    };
    let owner = records.owner(&[label, asked.wire()]);
    let data: [&[u8]; 3] = [&[0, 0, 0, 0], &client.port().to_be_bytes(), b"\0"];
    records.push(Section::Additional, owner, Type::SRV, 0, &data);
    Step::Reply(reply)
}

/// Nothing can be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config;

/// Reads the directive, which may be repeated and takes no block. Its arguments are not looked at.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let sound: Option<Vec<()>> = occurrences
        .iter()
        .map(|directive| Reader::new(directive, faults).no_block())
        .collect();
    sound.map(|_| Config)
}
