//! `loadbalance`: addresses and mail exchangers of an answer in a new random order each time, so that clients that
//! take the first one spread over all.
//!
//! Aliases come first, then what is neither, as they came; SRV records have weights of their own (RFC 2782) and
//! stay where they are.

use std::cell::Cell;

use crate::chain::Answer;
use crate::config::Scope;
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Directive, Faults};
use crate::dns::reply::Entry;
use crate::dns::{Query, Rcode, Section, Type};

/// What the Corefile says: that there is a random order is all there is to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config;

const PROPERTIES: &[Row<Config>] = &[Row::Line("prefer", |_, line| prefer(line))];

/// Reads `loadbalance [round_robin]`; of several, each says the same.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let mut sound = Some(());
    for directive in occurrences {
        let reader = Reader::new(directive, faults);
        sound = policy(&reader)
            .and_then(|()| reader.block(&mut Config, PROPERTIES))
            .and(sound);
    }
    sound.map(|()| Config)
}

fn policy(reader: &Reader<'_>) -> Option<()> {
    let Some((policy, rest)) = reader.args().split_first() else {
        return Some(());
    };
    match (policy.text.as_str(), rest) {
        ("round_robin", []) => Some(()),
        ("round_robin", [extra, ..]) => reader.refuse(extra, "unknown property for round_robin"),
        ("weighted", []) => reader.refuse(policy, "missing weight file argument"),
        ("weighted", [_, extra, ..]) => reader.refuse(extra, "unexpected argument(s)"),
        ("weighted", [_]) => {
            let message = "policy 'weighted' is known but not supported yet";
            reader.refuse(policy, message)
        }
        (other, _) => reader.refuse(policy, format!("unknown policy: {other}")),
    }
}

/// `CIDR...`
fn prefer(line: &Reader<'_>) -> Option<()> {
    let networks: Option<Vec<ipnet::IpNet>> = line
        .args()
        .iter()
        .map(|word| {
            line.value(word, |text| {
                let invalid = |_| format!("invalid CIDR {text:?}: invalid CIDR address: {text}");
                text.parse().map_err(invalid)
            })
        })
        .collect();
    networks.and_then(|_| line.absent())
}

/// Puts the answer into a new order.
#[inline]
pub(crate) fn up(query: &Query, answer: &mut Answer) {
    let reply = &mut answer.reply;
    if reply.rcode != Rcode::NOERROR || matches!(query.question.rtype, Type::AXFR | Type::IXFR) {
        return;
    }
    let records = reply.records.section_mut(Section::Answer);
    if records.len() > 1 {
        reorder(records, &mut below);
    }
}

/// Brings records into the order of their ranks, then shuffles those that may be. Records nearly always come in
/// order; sorting what does not may allocate.
fn reorder(records: &mut [Entry], below: &mut impl FnMut(u32) -> u32) {
    if !records.is_sorted_by_key(rank) {
        records.sort_by_key(rank);
    }
    let addresses = records.partition_point(|entry| rank(entry) < Rank::Address);
    let exchangers = records.partition_point(|entry| rank(entry) < Rank::MailExchanger);
    let (front, back) = records.split_at_mut(exchangers);
    shuffle(&mut front[addresses..], below);
    shuffle(back, below);
}

/// Where a record stands in an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Alias,
    Other,
    Address,
    MailExchanger,
}

fn rank(entry: &Entry) -> Rank {
    match entry.rtype {
        Type::CNAME => Rank::Alias,
        Type::A | Type::AAAA => Rank::Address,
        Type::MX => Rank::MailExchanger,
        _ => Rank::Other,
    }
}

/// Fisher and Yates: every order is as likely as any other.
fn shuffle(records: &mut [Entry], below: &mut impl FnMut(u32) -> u32) {
    for at in (1..records.len()).rev() {
        let other = below(at as u32 + 1) as usize;
        records.swap(at, other);
    }
}

thread_local! {
    /// Seeded when the thread first shuffles; never zero.
    static STATE: Cell<u64> = Cell::new(rand::random::<u64>() | 1);
}

/// A number below `bound`. Nobody gains by guessing an order, so a generator of three shifts is enough
/// (xorshift64*, Marsaglia 2003, Vigna 2016): a thread's own, without a lock.
#[inline]
fn below(bound: u32) -> u32 {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        let high = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * u64::from(bound)) >> 32) as u32
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::dns::Reply;
    use crate::dns::reply::Owner;
    use crate::plugin::case;

    fn answer(rcode: Rcode, section: Section, types: &[Type]) -> (Query, Answer) {
        let mut query = Query::empty();
        let mut reply = Reply::new(&mut query, rcode);
        for (number, rtype) in types.iter().enumerate() {
            let data = [number as u8];
            reply
                .records
                .push(section, Owner::Asked(0), *rtype, 60, &[&data]);
        }
        let answer = Answer {
            reply,
            by: None,
            failure: None,
        };
        (query, answer)
    }

    fn order(answer: &Answer) -> Vec<u8> {
        let records = &answer.reply.records;
        let entries = records.entries().iter();
        entries.map(|entry| records.rdata(entry)[0]).collect()
    }

    #[test]
    fn ranks_are_in_order_and_what_may_not_be_shuffled_is_as_it_came() {
        use Type as T;
        for (what, types, fixed) in [
            (
                "an alias behind its end",
                &[T::A, T::CNAME, T::CNAME][..],
                &[1, 2, 0][..],
            ),
            ("services", &[T::SRV, T::SRV, T::SRV], &[0, 1, 2]),
            ("an answer with its signature", &[T::A, T::RRSIG], &[1, 0]),
            (
                "all there is",
                &[T::MX, T::A, T::TXT, T::CNAME],
                &[3, 2, 1, 0],
            ),
        ] {
            let (query, mut answer) = answer(Rcode::NOERROR, Section::Answer, types);
            up(&query, &mut answer);
            assert_eq!(order(&answer), fixed, "{what}");
        }
    }

    #[test]
    fn every_order_of_addresses_comes_up_as_often() {
        let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
        for _ in 0..6000 {
            let (query, mut answer) = answer(
                Rcode::NOERROR,
                Section::Answer,
                &[Type::A, Type::AAAA, Type::A],
            );
            up(&query, &mut answer);
            *seen.entry(order(&answer)).or_default() += 1;
        }
        // A thousand each; three hundred off would be ten standard deviations.
        let counts: Vec<u32> = seen.values().copied().collect();
        assert_eq!(counts.len(), 6, "{seen:?}");
        assert!(
            counts.iter().all(|count| (700..1300).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn replies_that_are_no_answer_are_left_alone() {
        let types = [Type::MX, Type::TXT, Type::CNAME];
        let as_it_came = [0, 1, 2];
        let (query, mut denied) = answer(Rcode::NXDOMAIN, Section::Answer, &types);
        up(&query, &mut denied);
        assert_eq!(order(&denied), as_it_came, "another code");
        let (query, mut elsewhere) = answer(Rcode::NOERROR, Section::Additional, &types);
        up(&query, &mut elsewhere);
        assert_eq!(order(&elsewhere), as_it_came, "another section");
        let (mut query, mut transfer) = answer(Rcode::NOERROR, Section::Answer, &types);
        query.question.rtype = Type::AXFR;
        up(&query, &mut transfer);
        assert_eq!(order(&transfer), as_it_came, "a transfer");
    }

    #[test]
    fn the_policies_are_read_as_coredns_reads_them() {
        for (text, expected) in [
            ("loadbalance", Ok(Config)),
            ("loadbalance round_robin", Ok(Config)),
            ("loadbalance\nloadbalance round_robin", Ok(Config)),
            (
                "loadbalance round_robin x",
                Err("unknown property for round_robin"),
            ),
            ("loadbalance best", Err("unknown policy: best")),
            ("loadbalance weighted", Err("missing weight file argument")),
            ("loadbalance weighted a b", Err("unexpected argument(s)")),
            (
                "loadbalance weighted a",
                Err("policy 'weighted' is known but not supported yet"),
            ),
            (
                "loadbalance {\n prefer 10.0.0.0/8\n }",
                Err("'prefer' is known but not supported yet"),
            ),
            (
                "loadbalance {\n prefer ten\n }",
                Err("invalid CIDR \"ten\": invalid CIDR address: ten"),
            ),
            ("loadbalance {\n foo\n }", Err("unknown property 'foo'")),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(case::read("loadbalance", text, parse), expected, "{text}");
        }
    }
}
