//! Messages to octets, replies above all: the only encoder.
//!
//! Most replies take the short way: one pass, in which owners that are (a suffix of) the name asked become a
//! pointer to the question and nothing else is compressed. A reply that is then larger than the client takes,
//! or than a datagram should be, takes the long way: all names are compressed that RFC 1035 allows, and what
//! still does not fit is left out from the end, with TC set (RFC 2181 section 9).

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::edns::{Edns, ExtendedError, Options, option};
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
/// Octets between the owner of a record and its data.
const FIXED_LEN: usize = 10;
/// Octets of an OPT record before its options.
const OPT_HEAD_LEN: usize = 11;
/// Suffixes of names for which memory is kept from one reply to the next.
const SUFFIXES_KEPT: usize = 1024;
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
    let before = out.len();
    opt(query, reply, out);
    if let Some(error) = told_error(query, reply) {
        add_error(error, before, out);
    }
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
    put_header([query.id, word, u16::from(with_question), 0, 0, 0], out);
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
    put_header([query.id, word, 1, counts[0], counts[1], counts[2]], out);
}

/// Writes the six words of a header at once: what is appended piece by piece asks each time whether there is room.
fn put_header(words: [u16; HEADER_LEN / 2], out: &mut Vec<u8>) {
    let mut header = [0; HEADER_LEN];
    for (to, word) in header.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_be_bytes();
    }
    out.extend_from_slice(&header);
}

fn question(name: &Name, question: &Question, out: &mut Vec<u8>) {
    out.extend_from_slice(name.wire());
    let [type1, type2] = question.rtype.0.to_be_bytes();
    let [class1, class2] = question.class.0.to_be_bytes();
    out.extend_from_slice(&[type1, type2, class1, class2]);
}

fn short(records: &Records, entry: &Entry, asked: &Name, out: &mut Vec<u8>) {
    let data = records.rdata(entry);
    let fixed = fixed(entry, data.len() as u16);
    match entry.owner {
        Owner::Asked(at) if !asked.is_root() => {
            let mut head = [0; 2 + FIXED_LEN];
            head[..2].copy_from_slice(&(0xc000 | (ASKED_AT + u16::from(at))).to_be_bytes());
            head[2..].copy_from_slice(&fixed);
            out.extend_from_slice(&head);
        }
        _ => {
            out.extend_from_slice(records.owner_wire(entry, asked));
            out.extend_from_slice(&fixed);
        }
    }
    out.extend_from_slice(data);
}

/// What stands between the owner of a record and its data.
fn fixed(entry: &Entry, len: u16) -> [u8; FIXED_LEN] {
    let [type1, type2] = entry.rtype.0.to_be_bytes();
    let [class1, class2] = entry.class.0.to_be_bytes();
    let [ttl1, ttl2, ttl3, ttl4] = entry.ttl.to_be_bytes();
    let [len1, len2] = len.to_be_bytes();
    [
        type1, type2, class1, class2, ttl1, ttl2, ttl3, ttl4, len1, len2,
    ]
}

/// The OPT record, for clients that sent one (RFC 6891 section 7): their size and DO come back, and the options
/// of the reply or else theirs. How long a connection is kept is nobody's to say but ours, and may be said to all of
/// them (RFC 7828 section 3.3.2).
fn opt(query: &Query, reply: &Reply, out: &mut Vec<u8>) {
    let Some(edns) = &query.edns else { return };
    let keepalive = query.keepalive.map(u16::to_be_bytes);
    let ours = |(code, data)| match &keepalive {
        Some(keepalive) if code == option::KEEPALIVE => (code, keepalive.as_slice()),
        _ => (code, data),
    };
    match &reply.options {
        Some(options) => {
            let end = end_of_connection(query, Options::of(options));
            let options = Options::of(options).map(ours);
            write_opt(reply.rcode, edns, options.chain(end), out);
        }
        None => {
            let end = end_of_connection(query, edns.repeated());
            let options = edns.repeated().map(ours);
            write_opt(reply.rcode, edns, options.chain(end), out);
        }
    }
}

/// What asks the client to end its connection (RFC 7828 section 3.4), unless `options` will.
fn end_of_connection<'a>(
    query: &Query,
    mut options: impl Iterator<Item = (u16, &'a [u8])>,
) -> Option<(u16, &'static [u8])> {
    let is_to_end = query.keepalive == Some(0);
    let is_unsaid = is_to_end && !options.any(|(code, _)| code == option::KEEPALIVE);
    is_unsaid.then_some((option::KEEPALIVE, &[0, 0]))
}

/// The extended error of a reply, if its client can read it.
fn told_error<'a>(query: &Query, reply: &'a Reply) -> Option<&'a ExtendedError> {
    reply.error.as_deref().filter(|_| query.edns.is_some())
}

/// Appends an extended error to the OPT record that starts at `at` and ends the message.
fn add_error(error: &ExtendedError, at: usize, out: &mut Vec<u8>) {
    error.write(out);
    let length = (out.len() - at - OPT_HEAD_LEN) as u16;
    out[at + OPT_HEAD_LEN - 2..at + OPT_HEAD_LEN].copy_from_slice(&length.to_be_bytes());
}

fn write_opt<'a>(
    rcode: Rcode,
    edns: &Edns,
    options: impl Iterator<Item = (u16, &'a [u8])>,
    out: &mut Vec<u8>,
) {
    let [type1, type2] = Type::OPT.0.to_be_bytes();
    let [payload1, payload2] = edns.payload.to_be_bytes();
    let upper_rcode = (rcode.0 >> 4) as u8;
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
    out.extend_from_slice(&[
        0,
        type1,
        type2,
        payload1,
        payload2,
        upper_rcode,
        0,
        dnssec_ok,
        0,
        0,
        0,
    ]);
    let length_at = out.len() - 2;
    for (code, data) in options {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
    let length = (out.len() - length_at - 2) as u16;
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// The long way: compresses every name that may be, and leaves out what does not fit; an extended error first (RFC 8914
/// section 3), but without TC for that: words are not worth a second query.
fn compressed(query: &Query, reply: &Reply, max: usize, out: &mut Vec<u8>) {
    out.truncate(HEADER_LEN);
    opt(query, reply, out);
    let fixed = query.question.asked.wire().len() + 4;
    let options_fit = fixed + out.len() <= max;
    let put_opt = |out: &mut Vec<u8>| match (&query.edns, options_fit) {
        (Some(edns), false) => write_opt(reply.rcode, edns, std::iter::empty(), out),
        _ => opt(query, reply, out),
    };
    // How long it is must be known before, so it is written twice.
    out.truncate(HEADER_LEN);
    put_opt(out);
    let max = max - (out.len() - HEADER_LEN).min(max);
    out.truncate(HEADER_LEN);
    let mut dictionary = Dictionary::take();
    dictionary.write(query.question.asked.wire(), out);
    out.extend_from_slice(&query.question.rtype.0.to_be_bytes());
    out.extend_from_slice(&query.question.class.0.to_be_bytes());
    let mut counts = [0u16; 3];
    for entry in reply.records.entries() {
        let before = out.len();
        let asked = &query.question.asked;
        record(&reply.records, entry, asked, &mut dictionary, out);
        if out.len() > max {
            out.truncate(before);
            out[2] |= (flag::TC >> 8) as u8;
            break;
        }
        counts[entry.section as usize] += 1;
    }
    dictionary.give_back();
    if !options_fit {
        out[2] |= (flag::TC >> 8) as u8;
    }
    counts[Section::Additional as usize] += u16::from(query.edns.is_some());
    for (at, count) in [6, 8, 10].into_iter().zip(counts) {
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    put_opt(out);
}

fn record(
    records: &Records,
    entry: &Entry,
    asked: &Name,
    dictionary: &mut Dictionary,
    out: &mut Vec<u8>,
) {
    dictionary.write(records.owner_wire(entry, asked), out);
    out.extend_from_slice(&fixed(entry, 0));
    let length_at = out.len() - 2;
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
    hasher: RandomState,
    /// By the hash of a suffix; what stands there is compared in full. Case counts, so that every name comes back in
    /// the case in which it was given.
    offsets: HashMap<u64, u16, RandomState>,
}

thread_local! {
    /// The memory of the reply before.
    static DICTIONARY: Cell<Dictionary> = Cell::default();
}

impl Dictionary {
    /// An empty one.
    fn take() -> Dictionary {
        DICTIONARY.take()
    }

    /// Keeps its memory for the next reply, if that is not much.
    fn give_back(mut self) {
        if self.offsets.capacity() <= SUFFIXES_KEPT {
            self.offsets.clear();
            DICTIONARY.set(self);
        }
    }

    /// Writes a name in wire form, as labels and then a pointer to the longest suffix written before.
    fn write(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let mut rest = name;
        while let Some((&len, _)) = rest.split_first().filter(|(len, _)| **len != 0) {
            let hash = self.hasher.hash_one(rest);
            if let Some(at) = self.find(hash, rest, out) {
                out.extend_from_slice(&(0xc000 | at).to_be_bytes());
                return;
            }
            self.remember(hash, out.len());
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
            let hash = self.hasher.hash_one(&name[at..]);
            if self.find(hash, &name[at..], out).is_none() {
                self.remember(hash, out.len() + at);
            }
            at += 1 + usize::from(name[at]);
        }
        out.extend_from_slice(name);
    }

    fn find(&self, hash: u64, suffix: &[u8], out: &[u8]) -> Option<u16> {
        let at = self.offsets.get(&hash).copied();
        at.filter(|at| stands_at(out, usize::from(*at), suffix))
    }

    fn remember(&mut self, hash: u64, at: usize) {
        if at <= POINTER_MAX {
            self.offsets.entry(hash).or_insert(at as u16);
        }
    }
}

/// Whether this name in wire form is the one written at `at`. Pointers lead back, so that there is an end.
fn stands_at(message: &[u8], mut at: usize, name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        match (message.get(at), rest.split_first()) {
            (Some(0), Some((0, _))) => return true,
            (Some(high @ 0xc0..), Some(_)) => {
                let Some(low) = message.get(at + 1) else {
                    return false;
                };
                at = usize::from(high & 0x3f) << 8 | usize::from(*low);
            }
            (Some(len), Some((other, _))) if len == other => {
                let label = 1 + usize::from(*len);
                let (Some(here), Some(there)) = (message.get(at..at + label), rest.get(..label))
                else {
                    return false;
                };
                if here != there {
                    return false;
                }
                (at, rest) = (at + label, &rest[label..]);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests;
