//! What a reply amounts to: an answer, the denial of one (RFC 2308), or a failure.

use super::query::opcode;
use super::reply::{Reply, Section};
use super::rr::{Rcode, Type};
use super::{Query, Records};

/// What a reply says about the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// NOERROR with records that answer, or with nothing at all.
    Answer,
    /// NOERROR with aliases that lead to no record of the type asked, and no SOA that would deny one.
    Incomplete,
    /// NOERROR without an answer, but with the name servers to ask.
    Delegation,
    /// The name has no record of this type: NOERROR with a SOA (RFC 2308 section 2.2).
    NoData,
    /// The name does not exist: NXDOMAIN with a SOA (RFC 2308 section 2.1).
    NxDomain,
    /// The target of an alias does not exist: NXDOMAIN with a SOA behind aliases (RFC 6604 section 3).
    AliasNxDomain,
    /// The server could not or would not find out: SERVFAIL or NOTIMP.
    Failure,
    /// A zone transfer or a notification: nothing that is true of a name.
    Meta,
    /// Anything else: refusals, errors, and a denial without a SOA.
    Other,
}

impl Outcome {
    /// What `reply` says to `query`.
    pub fn of(query: &Query, reply: &Reply) -> Outcome {
        let asked = query.question.rtype;
        if query.opcode() != opcode::QUERY || matches!(asked, Type::AXFR | Type::IXFR) {
            return Outcome::Meta;
        }
        let found = Found::of(&reply.records, asked);
        match (reply.rcode, found.soa) {
            (Rcode::NOERROR, _) if found.answer => Outcome::Answer,
            (Rcode::NOERROR, true) => Outcome::NoData,
            (Rcode::NOERROR, false) if found.alias => Outcome::Incomplete,
            (Rcode::NOERROR, false) if found.name_server => Outcome::Delegation,
            (Rcode::NOERROR, false) => Outcome::Answer,
            (Rcode::NXDOMAIN, true) if found.alias || found.answer => Outcome::AliasNxDomain,
            (Rcode::NXDOMAIN, true) => Outcome::NxDomain,
            (Rcode::SERVFAIL | Rcode::NOTIMP, _) => Outcome::Failure,
            _ => Outcome::Other,
        }
    }
}

/// Which kinds of records a reply has.
#[derive(Default)]
struct Found {
    /// In the answer, of the type asked.
    answer: bool,
    /// In the answer, of another type.
    alias: bool,
    /// In the authority section.
    soa: bool,
    name_server: bool,
}

impl Found {
    fn of(records: &Records, asked: Type) -> Found {
        let mut found = Found::default();
        for entry in records.entries() {
            match (entry.section, entry.rtype) {
                (Section::Answer, rtype) if rtype == asked || asked == Type::ANY => {
                    found.answer = true;
                }
                (Section::Answer, _) => found.alias = true,
                (Section::Authority, Type::SOA) => found.soa = true,
                (Section::Authority, Type::NS) => found.name_server = true,
                (Section::Authority | Section::Additional, _) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::reply::Owner;
    use crate::dns::{Class, Question};

    const ANSWER: Section = Section::Answer;
    const AUTHORITY: Section = Section::Authority;

    #[test]
    fn a_reply_amounts_to_what_its_code_and_records_say() {
        type Row<'a> = (&'a str, Type, Rcode, &'a [(Section, Type)], Outcome);
        let rows: [Row<'_>; 14] = [
            (
                "an address",
                Type::A,
                Rcode::NOERROR,
                &[(ANSWER, Type::A)],
                Outcome::Answer,
            ),
            (
                "an alias with its end",
                Type::A,
                Rcode::NOERROR,
                &[(ANSWER, Type::CNAME), (ANSWER, Type::A)],
                Outcome::Answer,
            ),
            (
                "an alias asked for",
                Type::CNAME,
                Rcode::NOERROR,
                &[(ANSWER, Type::CNAME)],
                Outcome::Answer,
            ),
            (
                "any record",
                Type::ANY,
                Rcode::NOERROR,
                &[(ANSWER, Type::MX)],
                Outcome::Answer,
            ),
            (
                "an answer beside its SOA",
                Type::A,
                Rcode::NOERROR,
                &[(ANSWER, Type::A), (AUTHORITY, Type::SOA)],
                Outcome::Answer,
            ),
            (
                "nothing at all",
                Type::A,
                Rcode::NOERROR,
                &[],
                Outcome::Answer,
            ),
            (
                "an alias without end",
                Type::A,
                Rcode::NOERROR,
                &[(ANSWER, Type::CNAME)],
                Outcome::Incomplete,
            ),
            (
                "name servers",
                Type::A,
                Rcode::NOERROR,
                &[(AUTHORITY, Type::NS)],
                Outcome::Delegation,
            ),
            (
                "no such type",
                Type::A,
                Rcode::NOERROR,
                &[(AUTHORITY, Type::SOA)],
                Outcome::NoData,
            ),
            (
                "no such type behind an alias",
                Type::AAAA,
                Rcode::NOERROR,
                &[(ANSWER, Type::CNAME), (AUTHORITY, Type::SOA)],
                Outcome::NoData,
            ),
            (
                "no such name",
                Type::A,
                Rcode::NXDOMAIN,
                &[(AUTHORITY, Type::SOA)],
                Outcome::NxDomain,
            ),
            (
                "no such name behind an alias",
                Type::A,
                Rcode::NXDOMAIN,
                &[(ANSWER, Type::CNAME), (AUTHORITY, Type::SOA)],
                Outcome::AliasNxDomain,
            ),
            (
                "no such name, without proof",
                Type::A,
                Rcode::NXDOMAIN,
                &[],
                Outcome::Other,
            ),
            (
                "a transfer",
                Type::AXFR,
                Rcode::NOERROR,
                &[(ANSWER, Type::SOA)],
                Outcome::Meta,
            ),
        ];
        for (what, asked, rcode, records, expected) in rows {
            let mut query = Query::empty();
            query.question = Question::new("www.example.".parse().unwrap(), asked, Class::IN);
            let mut reply = Reply::new(&mut query, rcode);
            for (section, rtype) in records {
                reply
                    .records
                    .push(*section, Owner::Asked(0), *rtype, 60, &[b""]);
            }
            assert_eq!(Outcome::of(&query, &reply), expected, "{what}");
        }
    }

    #[test]
    fn codes_without_records_are_failures_or_something_else() {
        let mut query = Query::empty();
        for (rcode, expected) in [
            (Rcode::SERVFAIL, Outcome::Failure),
            (Rcode::NOTIMP, Outcome::Failure),
            (Rcode::REFUSED, Outcome::Other),
            (Rcode::FORMERR, Outcome::Other),
            (Rcode::BADVERS, Outcome::Other),
        ] {
            let reply = Reply::new(&mut query, rcode);
            assert_eq!(Outcome::of(&query, &reply), expected, "{rcode}");
        }
        query.flags = u16::from(opcode::NOTIFY) << 11;
        let reply = Reply::new(&mut query, Rcode::NOERROR);
        assert_eq!(Outcome::of(&query, &reply), Outcome::Meta, "a notification");
    }
}
