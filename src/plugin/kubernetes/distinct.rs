//! Records of a reply, each told once, however often the cluster says so: an endpoint may be in two slices at once, and
//! one hostname may have addresses of both families.
//!
//! Nearly every reply has few records, and they are looked through; so that many take no time that grows with their
//! square, they are hashed, which is the only memory that this takes.

use std::collections::HashSet;

use crate::dns::Records;
use crate::dns::reply::Entry;

/// Records that are looked through. Comparing with this many costs less than hashing one.
const FEW: usize = 32;

/// Keeps records apart from those that were appended since it was made. All are of one section and type.
pub(super) struct Distinct {
    from: usize,
    many: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
}

impl Distinct {
    pub(super) fn new(records: &Records) -> Distinct {
        Distinct {
            from: records.entries().len(),
            many: HashSet::default(),
        }
    }

    /// Has `append` append a record, and takes it back if it was there.
    pub(super) fn push(&mut self, records: &mut Records, append: impl FnOnce(&mut Records)) {
        let mark = records.mark();
        let before = records.entries().len();
        append(records);
        if records.entries().len() > before && self.is_repeated(records) {
            records.back_to(mark);
        }
    }

    fn is_repeated(&mut self, records: &Records) -> bool {
        let Some((last, before)) = records.entries()[self.from..].split_last() else {
            return false;
        };
        if before.len() < FEW {
            return before.iter().any(|entry| records.alike(entry, last));
        }
        // Those before are unlike each other, so as many are hashed as there are hashes.
        let unhashed = self.many.len();
        let entries = before[unhashed..].iter();
        self.many.extend(entries.map(|entry| said(records, entry)));
        !self.many.insert(said(records, last))
    }
}

/// The octets by which records of one section and type are told apart.
fn said(records: &Records, entry: &Entry) -> Box<[u8]> {
    [records.own_name(entry), records.rdata(entry)]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::reply::Owner;
    use crate::dns::{Section, Type};

    /// Appends an address of `name`, or of the name asked if there is none.
    fn append(records: &mut Records, name: &[u8], address: u32) {
        let owner = match name {
            [] => Owner::Asked(0),
            name => records.owner(&[name]),
        };
        let data = address.to_be_bytes();
        records.push(Section::Additional, owner, Type::A, 5, &[&data]);
    }

    #[test]
    fn a_record_is_told_once_whatever_their_number() {
        for (what, addresses) in [
            ("few", 3),
            ("as many as are looked through", 32),
            ("many", 500),
        ] {
            let mut records = Records::default();
            append(&mut records, b"", 1);
            let mut distinct = Distinct::new(&records);
            for _ in 0..2 {
                for address in 1..=addresses {
                    distinct.push(&mut records, |records| append(records, b"", address));
                    distinct.push(&mut records, |records| append(records, b"\x01h\0", address));
                }
            }
            let told = records.entries().len();
            assert_eq!(
                told,
                1 + 2 * addresses as usize,
                "{what}: all of them, once"
            );
            distinct.push(&mut records, |records| append(records, b"\x01i\0", 1));
            assert_eq!(records.entries().len(), told + 1, "{what}: another name");
        }
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_behind() {
        let mut records = Records::default();
        let mut distinct = Distinct::new(&records);
        distinct.push(&mut records, |records| append(records, b"\x01h\0", 1));
        let octets = records.octets();
        distinct.push(&mut records, |records| append(records, b"\x01h\0", 1));
        distinct.push(&mut records, |_| {});
        assert_eq!(records.octets(), octets);
    }
}
