//! What must hold for any octets: the properties that the fuzz targets under `fuzz/` search to break, and that
//! a plain test replays on their corpora. Each function panics where its property does not hold.

use crate::cluster::manifests::read_any as read_any_manifest;
use crate::corefile::{Location, Memory, load};
use crate::dns::message::{Received, decode};
use crate::dns::reply::Owner;
use crate::dns::{Name, Query, Rcode, Reply, Section, Transport, Type, encode};
use crate::plugin::kubernetes::read_any_name;

/// A packet is silence, a rejection that repeats its id, or a query; a reply to it is read back with its
/// question and within the client's size. As a response, what can be decoded can be encoded and decoded again.
pub fn packet(octets: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        as_query(octets, transport);
    }
    as_response(octets);
}

fn as_query(octets: &[u8], transport: Transport) {
    let mut query = Query::empty();
    let mut out = Vec::new();
    if let Err(reject) = query.parse(octets, transport) {
        encode::reject(&query, reject, &mut out);
        assert!(
            out.is_empty() || out[..2] == octets[..2],
            "a rejection repeats the id"
        );
        return;
    }
    let mut reply = Reply::authoritative(&mut query, Rcode::NOERROR);
    for last in 0..40 {
        reply.records.push(
            Section::Answer,
            Owner::Asked(0),
            Type::A,
            5,
            &[&[192, 0, 2, last]],
        );
    }
    encode::reply(&query, &reply, &mut out);
    assert!(
        out.len() <= query.reply_max(),
        "{} octets for {}",
        out.len(),
        query.reply_max()
    );
    let head = Received::parse(&out).expect("our own reply is a response");
    assert!(
        head.answers(&query.question),
        "the reply repeats the question"
    );
    decode(&out, &head, &mut query).expect("our own reply is well-formed");
}

fn as_response(octets: &[u8]) {
    let Ok(head) = Received::parse(octets) else {
        return;
    };
    let Some(question) = head.question else {
        return;
    };
    let mut query = Query::empty();
    query.question = question;
    query.transport = Transport::Tcp;
    let Ok(reply) = decode(octets, &head, &mut query) else {
        return;
    };
    let mut out = Vec::new();
    encode::reply(&query, &reply, &mut out);
    let again = Received::parse(&out).expect("our own message is a response");
    let records = decode(&out, &again, &mut query)
        .expect("our own message is well-formed")
        .records;
    let truncated = again.is_truncated();
    assert!(
        truncated || records.entries().len() == reply.records.entries().len(),
        "no record is lost"
    );
}

/// A name below the cluster zone is read to parts that are parts of it.
pub fn kube_name(octets: &[u8]) {
    if let Ok((name, _)) = Name::read(octets, 0) {
        read_any_name(&name);
    }
}

/// Any octets as a manifest are read to the end; what cannot be read is a fault, and what can has a name.
pub fn manifest(octets: &[u8]) {
    for settled in [false, true] {
        read_any_manifest(octets, settled);
    }
}

/// Any octets as a Corefile that may import itself are read to the end, and every fault can be shown.
pub fn corefile(octets: &[u8]) {
    let world = Memory::new()
        .set("A", "a{$A}b")
        .set("PORT", "53")
        .file("Corefile", octets)
        .file("custom/x.override", octets);
    let parsed = load(&world, &Location::Default);
    for fault in &parsed.diagnostics {
        assert!(!fault.render(&parsed.sources).is_empty());
        assert!(!fault.one_line(&parsed.sources).contains('\n'));
    }
    parsed.corefile.canonical();
}
