//! Messages to octets, replies above all: the only encoder.
//!
//! Most replies take the short way: one pass, in which owners that are (a suffix of) the name asked become a
//! pointer to the question and nothing else is compressed. A reply that is then larger than the client takes,
//! or than a datagram should be, takes the long way: all names are compressed that RFC 1035 allows, and what
//! still does not fit is left out from the end, with TC set (RFC 2181 section 9).

use super::edns::{Edns, Options, option};
use super::name::{Labels, Name};
use super::query::{HEADER_LEN, Query, Question, Reject, Transport, flag};
use super::rdata::{self, Part};
use super::reply::{Entry, Owner, Records, Reply, Section};
use super::rr::{Rcode, Type};

mod outgoing;

pub use outgoing::query;

/// Larger UDP replies are compressed in full, in the hope that they need no fragments (IPv4: an Ethernet frame
/// less headers and some tunnel; IPv6: the minimum MTU less headers).
const UNFRAGMENTED_V4: usize = 1480;
const UNFRAGMENTED_V6: usize = 1220;
/// A pointer's offset has 14 bits (RFC 1035 section 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// The name asked stands right behind the header, in every reply.
const ASKED_AT: u16 = HEADER_LEN as u16;

/// Encodes a reply into `out`, which is cleared first.
pub fn reply(query: &Query, reply: &Reply, out: &mut Vec<u8>) {
    let max = query.reply_max();
    let unfragmented = match (query.transport, query.client.is_ipv4()) {
        (Transport::Tcp, _) => usize::MAX,
        (Transport::Udp, true) => UNFRAGMENTED_V4,
        (Transport::Udp, false) => UNFRAGMENTED_V6,
    };
    header(query, reply, out);
    question(&query.question.asked, &query.question, out);
    for entry in reply.records.entries() {
        short(&reply.records, entry, &query.question.asked, out);
    }
    opt(query, reply, out);
    if out.len() > max.min(unfragmented) {
        compressed(query, reply, max, out);
    }
}

/// Encodes the reply to a packet that no chain answers, if it gets one.
pub fn reject(query: &Query, reject: Reject, out: &mut Vec<u8>) {
    out.clear();
    let Reject::Reply {
        rcode,
        with_question,
        opcode,
        flags,
    } = reject
    else {
        return;
    };
    let word = flag::QR | u16::from(opcode) << 11 | flags | u16::from(rcode.header_bits());
    for part in [query.id, word, u16::from(with_question), 0, 0, 0] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    if with_question {
        question(&query.question.asked, &query.question, out);
    }
}

/// Encodes the answer to a version of EDNS that is not ours: version 0 and nothing else (RFC 6891 section 6.1.3).
pub fn bad_version(query: &mut Query, out: &mut Vec<u8>) {
    let reply = Reply::new(query, Rcode::BADVERS);
    header(query, &reply, out);
    question(&query.question.asked, &query.question, out);
    write_opt(Rcode::BADVERS, &Edns::default(), std::iter::empty(), out);
    query.recycle(reply.records);
}

fn header(query: &Query, reply: &Reply, out: &mut Vec<u8>) {
    out.clear();
    let word = flag::QR
        | u16::from(query.opcode()) << 11
        | reply.flags
        | u16::from(reply.rcode.header_bits());
    let mut counts = [0u16; 3];
    for entry in reply.records.entries() {
        counts[entry.section as usize] += 1;
    }
    counts[2] += u16::from(query.edns.is_some());
    for part in [query.id, word, 1, counts[0], counts[1], counts[2]] {
        out.extend_from_slice(&part.to_be_bytes());
    }
}

fn question(name: &Name, question: &Question, out: &mut Vec<u8>) {
    out.extend_from_slice(name.wire());
    out.extend_from_slice(&question.rtype.0.to_be_bytes());
    out.extend_from_slice(&question.class.0.to_be_bytes());
}

fn short(records: &Records, entry: &Entry, asked: &Name, out: &mut Vec<u8>) {
    match entry.owner {
        Owner::Asked(at) if !asked.is_root() => {
            out.extend_from_slice(&(0xc000 | (ASKED_AT + u16::from(at))).to_be_bytes());
        }
        _ => out.extend_from_slice(records.owner_wire(entry, asked)),
    }
    fixed(entry, out);
    let data = records.rdata(entry);
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

fn fixed(entry: &Entry, out: &mut Vec<u8>) {
    out.extend_from_slice(&entry.rtype.0.to_be_bytes());
    out.extend_from_slice(&entry.class.0.to_be_bytes());
    out.extend_from_slice(&entry.ttl.to_be_bytes());
}

/// The OPT record, for clients that sent one (RFC 6891 section 7): their size and DO come back, and the options
/// of the reply or else theirs. How long a connection is kept is nobody's to say but ours (RFC 7828 section 3.3.2).
fn opt(query: &Query, reply: &Reply, out: &mut Vec<u8>) {
    let Some(edns) = &query.edns else { return };
    let keepalive = query.keepalive.map(u16::to_be_bytes);
    let ours = |(code, data)| match &keepalive {
        Some(keepalive) if code == option::KEEPALIVE => (code, keepalive.as_slice()),
        _ => (code, data),
    };
    match &reply.options {
        Some(options) => write_opt(reply.rcode, edns, Options::of(options).map(ours), out),
        None => write_opt(reply.rcode, edns, edns.repeated().map(ours), out),
    }
}

fn write_opt<'a>(
    rcode: Rcode,
    edns: &Edns,
    options: impl Iterator<Item = (u16, &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.push(0);
    out.extend_from_slice(&Type::OPT.0.to_be_bytes());
    out.extend_from_slice(&edns.payload.to_be_bytes());
    out.extend_from_slice(&[
        (rcode.0 >> 4) as u8,
        0,
        if edns.dnssec_ok { 0x80 } else { 0 },
        0,
    ]);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    for (code, data) in options {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    let length = (out.len() - length_at - 2) as u16;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// The long way: compresses every name that may be, and leaves out what does not fit.
fn compressed(query: &Query, reply: &Reply, max: usize, out: &mut Vec<u8>) {
    let mut tail = Vec::new();
    opt(query, reply, &mut tail);
    let fixed = HEADER_LEN + query.question.asked.wire().len() + 4;
    let options_fit = fixed + tail.len() <= max;
    if let (false, Some(edns)) = (options_fit, &query.edns) {
        tail.clear();
        write_opt(reply.rcode, edns, std::iter::empty(), &mut tail);
    }
    let max = max - tail.len().min(max);
    out.truncate(HEADER_LEN);
    let mut dictionary = Dictionary::default();
    dictionary.write(query.question.asked.wire(), out);
    out.extend_from_slice(&query.question.rtype.0.to_be_bytes());
    out.extend_from_slice(&query.question.class.0.to_be_bytes());
    let mut counts = [0u16; 3];
    for entry in reply.records.entries() {
        let before = out.len();
        record(
            &reply.records,
            entry,
            &query.question.asked,
            &mut dictionary,
            out,
        );
        if out.len() > max {
            out.truncate(before);
            out[2] |= (flag::TC >> 8) as u8;
            break;
        }
        counts[entry.section as usize] += 1;
    }
    if !options_fit {
        out[2] |= (flag::TC >> 8) as u8;
    }
    counts[Section::Additional as usize] += u16::from(query.edns.is_some());
    for (at, count) in [6, 8, 10].into_iter().zip(counts) {
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(&tail);
}

fn record(
    records: &Records,
    entry: &Entry,
    asked: &Name,
    dictionary: &mut Dictionary,
    out: &mut Vec<u8>,
) {
    dictionary.write(records.owner_wire(entry, asked), out);
    fixed(entry, out);
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    let mut data = records.rdata(entry);
    for part in rdata::layout(entry.rtype) {
        let len = match part {
            Part::Name | Part::PlainName => wire_name_len(data),
            Part::Octets(count) => usize::from(*count),
            Part::String => 1 + usize::from(data.first().copied().unwrap_or(0)),
            Part::Rest => data.len(),
        };
        let (this, rest) = data.split_at(len.min(data.len()));
        if *part == Part::Name && !this.is_empty() {
            dictionary.write(this, out);
        } else if *part == Part::PlainName {
            dictionary.write_plain(this, out);
        } else {
            out.extend_from_slice(this);
        }
        data = rest;
    }
    out.extend_from_slice(data);
    let length = (out.len() - length_at - 2) as u16;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

fn wire_name_len(data: &[u8]) -> usize {
    let labels: usize = Labels::of(data)
        .take_while(|label| !label.is_empty())
        .map(|label| label.len() + 1)
        .sum();
    labels + 1
}

/// Where names were written, to be pointed at.
#[derive(Default)]
struct Dictionary {
    /// Suffixes and their offsets. Case counts, so that every name comes back in the case in which it was given.
    /// Replies on the long way are rare and may allocate.
    suffixes: std::collections::HashMap<Vec<u8>, u16, foldhash::fast::RandomState>,
}

impl Dictionary {
    /// Writes a name in wire form, as labels and then a pointer to the longest suffix written before.
    fn write(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let mut rest = name;
        while let Some((&len, _)) = rest.split_first().filter(|(len, _)| **len != 0) {
            if let Some(at) = self.suffixes.get(rest) {
                out.extend_from_slice(&(0xc000 | at).to_be_bytes());
                return;
            }
            self.remember(rest, out.len());
            let (label, behind) = rest.split_at(1 + len as usize);
            out.extend_from_slice(label);
            rest = behind;
        }
        out.push(0);
    }

    /// Writes a name as it is, to be pointed at by others.
    fn write_plain(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while name.get(at).is_some_and(|len| *len != 0) {
            if !self.suffixes.contains_key(&name[at..]) {
                self.remember(&name[at..], out.len() + at);
            }
            at += 1 + usize::from(name[at]);
        }
        out.extend_from_slice(name);
    }

    fn remember(&mut self, suffix: &[u8], at: usize) {
        if at <= POINTER_MAX {
            self.suffixes.insert(suffix.to_vec(), at as u16);
        }
    }
}

#[cfg(test)]
mod tests;
