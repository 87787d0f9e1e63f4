//! What an answer is kept under: everything of a query that it depends on, compared in full.

use std::hash::{BuildHasher, Hasher};

use crate::dns::query::flag;
use crate::dns::{Class, Name, Query, Type};

/// The type, the class, DO, CD and RD.
type Tail = [u8; 5];

/// The name in lower case, and what else the answer depends on.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    name: &'a [u8],
    tail: Tail,
}

impl Key<'_> {
    #[inline]
    pub(super) fn of(query: &Query) -> Key<'_> {
        let question = &query.question;
        let [type1, type2] = question.rtype.0.to_be_bytes();
        let [class1, class2] = question.class.0.to_be_bytes();
        let is_set = |bit| u8::from(query.flags & bit != 0);
        // Who wants no recursion is told what an upstream happens to know, which is no answer for all others.
        let bits = u8::from(query.dnssec_ok()) | is_set(flag::CD) << 1 | is_set(flag::RD) << 2;
        Key {
            name: question.name.wire(),
            tail: [type1, type2, class1, class2, bits],
        }
    }

    /// As it is stored.
    pub(super) fn octets(&self) -> Box<[u8]> {
        [self.name, &self.tail].concat().into()
    }

    /// Whether it is stored as this.
    #[inline]
    pub(super) fn is(&self, octets: &[u8]) -> bool {
        octets
            .split_last_chunk()
            .is_some_and(|(name, tail)| *tail == self.tail && name == self.name)
    }

    #[inline]
    pub(super) fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        let mut state = hasher.build_hasher();
        let [type1, type2, class1, class2, bits] = self.tail;
        let tail = [type1, type2, class1, class2, bits, 0, 0, 0];
        state.write_u64(u64::from_le_bytes(tail));
        state.write(self.name);
        state.finish()
    }
}

/// What a stored key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyParts {
    pub(super) name: Name,
    pub(super) rtype: Type,
    pub(super) class: Class,
    pub(super) dnssec_ok: bool,
    pub(super) checking_disabled: bool,
    pub(super) recursion_desired: bool,
}

impl KeyParts {
    /// Reads a key as it is stored.
    pub(super) fn of(octets: &[u8]) -> Option<KeyParts> {
        let (name, tail) = octets.split_last_chunk()?;
        let [type1, type2, class1, class2, bits]: Tail = *tail;
        Some(KeyParts {
            name: Name::read(name, 0).ok()?.0,
            rtype: Type(u16::from_be_bytes([type1, type2])),
            class: Class(u16::from_be_bytes([class1, class2])),
            dnssec_ok: bits & 1 != 0,
            checking_disabled: bits & 2 != 0,
            recursion_desired: bits & 4 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Edns, Question};

    #[test]
    fn queries_share_a_key_exactly_if_they_share_their_answer() {
        let base = || {
            let mut query = Query::empty();
            query.question = Question::new("www.Example.".parse().unwrap(), Type::A, Class::IN);
            query.flags = flag::RD;
            query
        };
        let hasher = foldhash::fast::FixedState::with_seed(7);
        type Change = fn(&mut Query);
        let rows: [(&str, Change, bool); 9] = [
            (
                "in another case",
                |q| q.question = Question::new("WWW.example.".parse().unwrap(), Type::A, Class::IN),
                true,
            ),
            ("with another id", |q| q.id = 7, true),
            ("with EDNS", |q| q.edns = Some(Edns::default()), true),
            (
                "for another name",
                |q| q.question.name = "ww.example.".parse().unwrap(),
                false,
            ),
            ("for another type", |q| q.question.rtype = Type::AAAA, false),
            ("in another class", |q| q.question.class = Class::CH, false),
            (
                "with DO",
                |q| {
                    q.edns = Some(Edns {
                        dnssec_ok: true,
                        ..Edns::default()
                    })
                },
                false,
            ),
            ("with CD", |q| q.flags |= flag::CD, false),
            ("without recursion", |q| q.flags = 0, false),
        ];
        for (what, change, same) in rows {
            let mut other = base();
            change(&mut other);
            let stored = Key::of(&base()).octets();
            assert_eq!(Key::of(&other).is(&stored), same, "{what}");
            let hash = |query: &Query| Key::of(query).hash(&hasher);
            assert_eq!(hash(&other) == hash(&base()), same, "{what}: the hash");
        }
    }
}
