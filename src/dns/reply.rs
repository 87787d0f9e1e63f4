//! A reply: what is true about the question, not how it is encoded.
//!
//! The records of a reply are entries that point into one buffer, and both are reused from query to query: a
//! plugin appends copies of prepared data, plugins on the way up change entries (order, TTL, owner), and the
//! encoder writes them out. Owners that are the name asked, or a suffix of it, are kept as an offset into it:
//! they are copied in the case asked, and compressed, for nothing.

use super::edns::Explanation;
use super::name::Name;
use super::query::{Query, flag};
use super::rr::{Class, Rcode, Type};

/// The most records of a reply. The shortest record has 11 octets, so that no message holds more; what is left out here
/// would be left out, with TC, by the encoder.
pub const RECORDS_MAX: usize = 6_000;

/// The sections of a message behind the question, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Records that answer.
    Answer,
    /// The SOA of a negative answer, name servers.
    Authority,
    /// Addresses of names in other records. OPT is not kept here.
    Additional,
}

/// The owner of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The name asked, from this octet on.
    Asked(u8),
    /// A name in wire form in the buffer.
    Buffer {
        /// Offset in the buffer.
        start: u32,
        /// Octets, root included.
        len: u8,
    },
}

/// One record: its fixed fields, and where the rest is.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The section.
    pub section: Section,
    /// The type.
    pub rtype: Type,
    /// The class.
    pub class: Class,
    /// Time to live, in seconds.
    pub ttl: u32,
    /// The owner.
    pub owner: Owner,
    start: u32,
    len: u16,
}

/// How many records there were; see [`Records::mark`].
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    entries: usize,
    octets: usize,
}

/// The records of a reply, in the order of their sections.
#[derive(Debug, Clone, Default)]
pub struct Records {
    entries: Vec<Entry>,
    buffer: Vec<u8>,
}

impl Records {
    /// Appends a record; its section must not be before that of the record appended last.
    pub fn push(&mut self, section: Section, owner: Owner, rtype: Type, ttl: u32, rdata: &[&[u8]]) {
        self.push_class(section, owner, rtype, Class::IN, ttl, rdata);
    }

    /// Appends a record of any class.
    pub fn push_class(
        &mut self,
        section: Section,
        owner: Owner,
        rtype: Type,
        class: Class,
        ttl: u32,
        rdata: &[&[u8]],
    ) {
        debug_assert!(
            self.entries
                .last()
                .is_none_or(|last| last.section <= section),
            "sections are in order"
        );
        if self.entries.len() >= RECORDS_MAX {
            return;
        }
        let start = self.buffer.len();
        for part in rdata {
            self.buffer.extend_from_slice(part);
        }
        let entered = self.enter((section, owner, rtype, class, ttl), start);
        assert!(entered, "callers give data of one record");
    }

    /// Appends a record whose data `write` puts at the end of the buffer; if it fails the record is not there.
    pub(super) fn try_push<E>(
        &mut self,
        head: (Section, Owner, Type, Class, u32),
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let start = self.buffer.len();
        write(&mut self.buffer)?;
        Ok(self.enter(head, start))
    }

    /// Enters the record whose data is what the buffer holds from `start` on, unless that is more than a record can
    /// hold: expanding compressed names may make it so.
    fn enter(&mut self, head: (Section, Owner, Type, Class, u32), start: usize) -> bool {
        let (section, owner, rtype, class, ttl) = head;
        let Ok(len) = u16::try_from(self.buffer.len() - start) else {
            return false;
        };
        self.entries.push(Entry {
            section,
            rtype,
            class,
            ttl,
            owner,
            start: start as u32,
            len,
        });
        true
    }

    /// Puts a name into the buffer, to be the owner of records.
    pub fn owner(&mut self, name: &[&[u8]]) -> Owner {
        let start = self.buffer.len();
        for part in name {
            self.buffer.extend_from_slice(part);
        }
        Owner::Buffer {
            start: start as u32,
            len: (self.buffer.len() - start) as u8,
        }
    }

    /// The owner for `name` in a reply to a question for `asked`: an offset where it is a suffix to the letter.
    pub fn owner_of(&mut self, name: &Name, asked: &Name) -> Owner {
        match asked.offset_of(name) {
            Some(at) if asked.wire()[at..] == *name.wire() => Owner::Asked(at as u8),
            _ => self.owner(&[name.wire()]),
        }
    }

    /// What there is, to come back to with [`Records::back_to`].
    pub fn mark(&self) -> Mark {
        Mark {
            entries: self.entries.len(),
            octets: self.buffer.len(),
        }
    }

    /// Takes back all that was appended since `mark`.
    pub fn back_to(&mut self, mark: Mark) {
        self.entries.truncate(mark.entries);
        self.buffer.truncate(mark.octets);
    }

    /// The records.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The records, to be reordered within a section or changed in TTL.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The records of one section, likewise.
    pub fn section_mut(&mut self, section: Section) -> &mut [Entry] {
        let start = self
            .entries
            .partition_point(|entry| entry.section < section);
        let end = self
            .entries
            .partition_point(|entry| entry.section <= section);
        &mut self.entries[start..end]
    }

    /// The number of records in a section.
    pub fn count(&self, section: Section) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.section == section)
            .count()
    }

    /// The data of a record, names in full.
    pub fn rdata(&self, entry: &Entry) -> &[u8] {
        let start = entry.start as usize;
        &self.buffer[start..start + entry.len as usize]
    }

    /// The owner of a record of a reply to a question for `asked`, in wire form.
    pub fn owner_wire<'a>(&'a self, entry: &Entry, asked: &'a Name) -> &'a [u8] {
        match entry.owner {
            Owner::Asked(at) => &asked.wire()[at as usize..],
            Owner::Buffer { .. } => self.own_name(entry),
        }
    }

    /// The name that a record has as its owner, unless it is of the name asked.
    pub fn own_name(&self, entry: &Entry) -> &[u8] {
        match entry.owner {
            Owner::Asked(_) => &[],
            Owner::Buffer { start, len } => &self.buffer[start as usize..][..usize::from(len)],
        }
    }

    /// Whether two records have the same data and, if it is not the name asked, the same owner.
    pub fn alike(&self, a: &Entry, b: &Entry) -> bool {
        self.rdata(a) == self.rdata(b) && self.own_name(a) == self.own_name(b)
    }

    /// Appends the answers of another reply, which was to a question for `asked`.
    pub fn append_answers(&mut self, other: &Records, asked: &Name) {
        for entry in other
            .entries
            .iter()
            .filter(|entry| entry.section == Section::Answer)
        {
            let owner = self.owner(&[other.owner_wire(entry, asked)]);
            self.push_class(
                Section::Answer,
                owner,
                entry.rtype,
                entry.class,
                entry.ttl,
                &[other.rdata(entry)],
            );
        }
    }

    /// Becomes a copy of `other`, in the memory that is there.
    #[inline]
    pub fn copy_from(&mut self, other: &Records) {
        self.clear();
        self.entries.extend_from_slice(&other.entries);
        self.buffer.extend_from_slice(&other.buffer);
    }

    /// Gives all records the same TTL.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u32) {
        for entry in &mut self.entries {
            entry.ttl = ttl;
        }
    }

    /// Octets of the data and of the names that are not the one asked: about what keeping these records costs.
    pub fn octets(&self) -> usize {
        self.buffer.len() + size_of_val(&*self.entries)
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the records and keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.buffer.clear();
    }
}

/// A reply.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The response code.
    pub rcode: Rcode,
    /// Bits of the header (`query::flag`): AA, TC, RD, RA, AD, CD.
    pub flags: u16,
    /// The records.
    pub records: Records,
    /// Options of an OPT record that the reply itself has, for clients that sent one. Without it the client's
    /// own options are repeated as far as we know them.
    pub options: Option<Vec<u8>>,
    /// Why it is no better: told beside the options, to clients that sent an OPT record, where there is room.
    pub error: Option<Explanation>,
}

impl Reply {
    /// An empty reply with this code; RD and CD are the query's.
    pub fn new(query: &mut Query, rcode: Rcode) -> Reply {
        Reply {
            rcode,
            flags: query.repeated_flags(),
            records: query.take_records(),
            options: None,
            error: None,
        }
    }

    /// An empty reply with AA set.
    pub fn authoritative(query: &mut Query, rcode: Rcode) -> Reply {
        let records = query.take_records();
        Reply::authoritative_with(query, rcode, records)
    }

    /// A reply of these records with AA set.
    #[inline]
    pub fn authoritative_with(query: &Query, rcode: Rcode, records: Records) -> Reply {
        Reply {
            rcode,
            flags: query.repeated_flags() | flag::AA,
            records,
            options: None,
            error: None,
        }
    }

    /// Octets of the message as logs and metrics count it: header, question and records without compression,
    /// without OPT.
    pub fn size(&self, query: &Query) -> usize {
        let asked = &query.question.asked;
        let question = asked.wire().len() + 4;
        let records = self.records.entries().iter();
        let records: usize = records
            .map(|entry| self.records.owner_wire(entry, asked).len() + 10 + entry.len as usize)
            .sum();
        super::query::HEADER_LEN + question + records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_followed_name_keep_their_owners_in_the_reply_they_join() {
        let mut query = Query::empty();
        query.question.asked = "www.example.".parse().unwrap();
        let mut target = Reply::new(&mut query, Rcode::NOERROR);
        target.records.push(
            Section::Answer,
            Owner::Asked(0),
            Type::A,
            300,
            &[&[192, 0, 2, 1]],
        );
        target
            .records
            .push(Section::Authority, Owner::Asked(4), Type::NS, 300, &[b"\0"]);

        let mut joined = Records::default();
        joined.push(
            Section::Answer,
            Owner::Asked(0),
            Type::CNAME,
            5,
            &[query.question.asked.wire()],
        );
        joined.append_answers(&target.records, &query.question.asked);

        let asked: Name = "svc.cluster.local.".parse().unwrap();
        let owners: Vec<&[u8]> = joined
            .entries()
            .iter()
            .map(|entry| joined.owner_wire(entry, &asked))
            .collect();
        assert_eq!(owners, [asked.wire(), query.question.asked.wire()]);
        assert_eq!(joined.count(Section::Authority), 0);
    }

    #[test]
    fn a_copy_has_the_records_of_the_original_and_nothing_of_what_was_there() {
        let asked: Name = "www.example.".parse().unwrap();
        let mut original = Records::default();
        let owner = original.owner(&[b"\x02ns\0"]);
        original.push(
            Section::Answer,
            Owner::Asked(4),
            Type::NS,
            60,
            &[b"\x02ns\0"],
        );
        original.push(Section::Additional, owner, Type::A, 60, &[&[192, 0, 2, 53]]);
        let mut copy = Records::default();
        copy.push(
            Section::Answer,
            Owner::Asked(0),
            Type::TXT,
            5,
            &[b"\x04gone"],
        );

        copy.copy_from(&original);
        copy.set_ttl(7);

        let shown = |records: &Records| -> Vec<(Vec<u8>, Type, Vec<u8>)> {
            let entries = records.entries().iter();
            entries
                .map(|entry| {
                    let owner = records.owner_wire(entry, &asked).to_vec();
                    (owner, entry.rtype, records.rdata(entry).to_vec())
                })
                .collect()
        };
        assert_eq!(shown(&copy), shown(&original));
        assert!(copy.entries().iter().all(|entry| entry.ttl == 7));
    }
}
