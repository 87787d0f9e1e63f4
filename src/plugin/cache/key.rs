//! What an answer is kept under: everything of a query that it depends on, compared in full.

use crate::dns::Query;
use crate::dns::name::NAME_MAX;
use crate::dns::query::flag;

/// Octets behind the name: type, class, and the bits DO and CD.
const TAIL: usize = 5;

/// The name in lower case, the type, the class, DO and CD, as octets on the stack.
pub(super) struct Key {
    octets: [u8; NAME_MAX + TAIL],
    len: usize,
}

impl Key {
    #[inline]
    pub(super) fn of(query: &Query) -> Key {
        let question = &query.question;
        let [type1, type2] = question.rtype.0.to_be_bytes();
        let [class1, class2] = question.class.0.to_be_bytes();
        let checks = query.flags & flag::CD == 0;
        let bits = u8::from(query.dnssec_ok()) | u8::from(!checks) << 1;
        let name = question.name.wire();
        let mut key = Key {
            octets: [0; NAME_MAX + TAIL],
            len: name.len() + TAIL,
        };
        key.octets[..name.len()].copy_from_slice(name);
        key.octets[name.len()..key.len].copy_from_slice(&[type1, type2, class1, class2, bits]);
        key
    }

    #[inline]
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Class, Edns, Question, Type};

    #[test]
    fn queries_share_a_key_exactly_if_they_share_their_answer() {
        let base = || {
            let mut query = Query::empty();
            query.question = Question::new("www.Example.".parse().unwrap(), Type::A, Class::IN);
            query
        };
        type Change = fn(&mut Query);
        let rows: [(&str, Change, bool); 9] = [
            (
                "in another case",
                |q| q.question = Question::new("WWW.example.".parse().unwrap(), Type::A, Class::IN),
                true,
            ),
            ("with another id", |q| q.id = 7, true),
            ("without recursion", |q| q.flags = 0, true),
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
        ];
        for (what, change, same) in rows {
            let mut other = base();
            other.flags = flag::RD;
            change(&mut other);
            assert_eq!(
                Key::of(&base()).octets() == Key::of(&other).octets(),
                same,
                "{what}"
            );
        }
    }
}
