//! What becomes of a reply: the one TTL that all its records get, and whether it is kept.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Config, Kind, Limits};
use crate::chain::{Failure, Reason};
use crate::dns::query::flag;
use crate::dns::{Outcome, Query, Records, Reply, Type};

/// Seconds that records are believed at most, whatever they say.
pub(super) const TTL_MAX: u32 = 3600;
/// Seconds for what has no TTL of its own: an empty reply, a delegation, a refusal.
pub(super) const TTL_DEFAULT: u32 = 5;

/// Seconds for which it is kept that no upstream could be asked: RFC 9520 section 3.2 wants one at least, and more
/// where it goes on.
const NO_ANSWER_TTL_MIN: u32 = 1;
/// The most, so that a name is soon back when its servers are: RFC 9520 allows five minutes.
const NO_ANSWER_TTL_MAX: u32 = 5;

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Seconds, for the client as for the cache: an answer shall not live longer for the first who asks.
    pub(super) ttl: u32,
    /// Where it is kept, if it is.
    pub(super) keep: Option<Kind>,
}

/// What the reply amounts to. Data under signatures that are not valid now is nothing to keep for a client that
/// looks at them.
pub(super) fn outcome(query: &Query, reply: &Reply, clock: impl FnOnce() -> SystemTime) -> Outcome {
    if query.dnssec_ok() && has_stale_signature(&reply.records, clock) {
        return Outcome::Other;
    }
    Outcome::of(query, reply)
}

/// Judges a reply of this outcome.
pub(super) fn judge(config: &Config, outcome: Outcome, query: &Query, reply: &Reply) -> Verdict {
    let ttl = match outcome {
        Outcome::Answer | Outcome::Incomplete => clamp(lowest_ttl(&reply.records), &config.success),
        Outcome::NoData | Outcome::NxDomain | Outcome::AliasNxDomain => {
            clamp(lowest_ttl(&reply.records), &config.denial)
        }
        Outcome::Failure => config.failure_ttl,
        Outcome::Delegation | Outcome::Meta | Outcome::Other => clamp(TTL_DEFAULT, &config.success),
    };
    let (kind, limits) = match outcome {
        Outcome::Answer | Outcome::Delegation => (Kind::Success, &config.success),
        Outcome::NoData | Outcome::NxDomain | Outcome::Failure => (Kind::Denial, &config.denial),
        // The end of the alias may be there for the next who asks.
        Outcome::Incomplete | Outcome::AliasNxDomain | Outcome::Meta | Outcome::Other => {
            return Verdict { ttl, keep: None };
        }
    };
    let is_whole = reply.flags & flag::TC == 0;
    let keep = is_whole && ttl > 0 && !limits.except.contains(&query.question.name);
    Verdict {
        ttl,
        keep: keep.then_some(kind),
    }
}

/// Seconds for which it is kept that those below failed so, after the same was kept for `before` seconds; 0 for not at
/// all. What says something of this machine or of its load says nothing of the name.
pub(super) fn failure_ttl(config: &Config, failure: &Failure, before: Option<u32>) -> u32 {
    let wanted = match &failure.reason {
        Reason::Upstream(unanswered) if unanswered.is_local() => 0,
        Reason::Upstream(_) => before.map_or(NO_ANSWER_TTL_MIN, |before| before.saturating_mul(2)),
        // Nobody waits to be told this again: it need not be kept for longer.
        Reason::NoHealthyUpstream => NO_ANSWER_TTL_MIN,
        Reason::NoNextPlugin
        | Reason::NoAddress(_)
        | Reason::TooManyConcurrent(_)
        | Reason::TooManyAlike(_)
        | Reason::StillAsked
        | Reason::TargetDropped
        | Reason::Looping(_) => 0,
    };
    wanted.min(failure_ttl_max(config))
}

/// The most that [`failure_ttl`] can be.
pub(super) fn failure_ttl_max(config: &Config) -> u32 {
    config.failure_ttl.min(NO_ANSWER_TTL_MAX)
}

/// Where the bounds cross, the upper one counts.
fn clamp(ttl: u32, limits: &Limits) -> u32 {
    ttl.max(limits.ttl_min).min(limits.ttl_max)
}

fn lowest_ttl(records: &Records) -> u32 {
    let lowest = records.entries().iter().map(|entry| entry.ttl).min();
    lowest.map_or(TTL_DEFAULT, |ttl| ttl.min(TTL_MAX))
}

fn has_stale_signature(records: &Records, clock: impl FnOnce() -> SystemTime) -> bool {
    let mut signatures = records
        .entries()
        .iter()
        .filter(|entry| entry.rtype == Type::RRSIG)
        .peekable();
    if signatures.peek().is_none() {
        return false;
    }
    let now = clock().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Times of signatures are serial numbers of 32 bits (RFC 4034 section 3.1.5).
    let now = now.as_secs() as u32;
    signatures.any(|entry| !is_valid_at(records.rdata(entry), now))
}

/// RFC 4034 section 3.1: eight octets, then expiration and inception.
fn is_valid_at(rrsig: &[u8], now: u32) -> bool {
    let time = |at: usize| {
        let octets = rrsig.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*octets))
    };
    let (Some(expiration), Some(inception)) = (time(8), time(12)) else {
        return false;
    };
    expiration.wrapping_sub(now).cast_signed() >= 0
        && now.wrapping_sub(inception).cast_signed() >= 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dns::reply::Owner;
    use crate::dns::{Class, Edns, Question, Rcode, Section, Zones};

    fn config() -> Config {
        let limits = |ttl_max, except: &str| Limits {
            capacity: 1024,
            ttl_min: 5,
            ttl_max,
            except: Zones::new([except.parse().unwrap()]),
        };
        Config {
            success: limits(300, "no-success.example."),
            denial: limits(60, "no-denial.example."),
            failure_ttl: 9,
            ..Config::of_zones(Zones::root())
        }
    }

    fn reply(query: &mut Query, ttls: &[u32]) -> Reply {
        let mut reply = Reply::new(query, Rcode::NOERROR);
        for ttl in ttls {
            reply.records.push(
                Section::Answer,
                Owner::Asked(0),
                Type::A,
                *ttl,
                &[&[192, 0, 2, 1]],
            );
        }
        reply
    }

    fn query(name: &str) -> Query {
        let mut query = Query::empty();
        query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
        query
    }

    #[test]
    fn an_outcome_says_which_bounds_hold_and_where_a_reply_is_kept() {
        let (success, denial) = (Some(Kind::Success), Some(Kind::Denial));
        for (outcome, ttl, keep) in [
            (Outcome::Answer, 100, success),
            (Outcome::Delegation, 5, success),
            (Outcome::NoData, 60, denial),
            (Outcome::NxDomain, 60, denial),
            (Outcome::Failure, 9, denial),
            (Outcome::Incomplete, 100, None),
            (Outcome::AliasNxDomain, 60, None),
            (Outcome::Other, 5, None),
        ] {
            let mut query = query("www.example.");
            let reply = reply(&mut query, &[200, 100]);
            let verdict = judge(&config(), outcome, &query, &reply);
            assert_eq!(verdict, Verdict { ttl, keep }, "{outcome:?}");
        }
    }

    #[test]
    fn the_lowest_ttl_counts_within_the_bounds() {
        for (what, ttls, expected) in [
            ("no record", &[][..], 5),
            ("a TTL of zero", &[0], 5),
            ("within", &[250, 40, 90], 40),
            ("over the bound", &[900], 300),
        ] {
            let mut query = query("www.example.");
            let reply = reply(&mut query, ttls);
            assert_eq!(
                judge(&config(), Outcome::Answer, &query, &reply).ttl,
                expected,
                "{what}"
            );
        }
        let mut query = query("www.example.");
        let reply = reply(&mut query, &[86_400]);
        let mut long = config();
        long.success.ttl_max = 86_400;
        assert_eq!(
            judge(&long, Outcome::Answer, &query, &reply).ttl,
            3600,
            "more than an hour"
        );
        long.success.ttl_max = 3;
        assert_eq!(
            judge(&long, Outcome::Answer, &query, &reply).ttl,
            3,
            "bounds that cross"
        );
    }

    #[test]
    fn some_replies_are_not_kept_whatever_they_say() {
        let mut cut = config();
        cut.failure_ttl = 0;
        cut.success.ttl_min = 0;
        for (what, name, outcome, flags, ttl) in [
            ("cut", "www.example.", Outcome::Answer, flag::TC, 60),
            ("good for no time", "www.example.", Outcome::Answer, 0, 0),
            (
                "a failure, with `servfail 0`",
                "www.example.",
                Outcome::Failure,
                0,
                60,
            ),
            (
                "excepted from success",
                "a.no-success.example.",
                Outcome::Answer,
                0,
                60,
            ),
            (
                "excepted from denial",
                "no-denial.example.",
                Outcome::NxDomain,
                0,
                60,
            ),
        ] {
            let mut query = query(name);
            let mut reply = reply(&mut query, &[ttl]);
            reply.flags |= flags;
            assert_eq!(judge(&cut, outcome, &query, &reply).keep, None, "{what}");
        }
        let mut query = query("a.no-success.example.");
        let reply = reply(&mut query, &[60]);
        let denied = judge(&config(), Outcome::NxDomain, &query, &reply);
        assert_eq!(
            denied.keep,
            Some(Kind::Denial),
            "an exception is for one kind"
        );
    }

    #[test]
    fn expired_signatures_matter_to_those_who_look_at_them() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for (what, dnssec_ok, now, expected) in [
            ("valid", true, 1500, Outcome::Answer),
            ("expired", true, 2001, Outcome::Other),
            ("not valid yet", true, 999, Outcome::Other),
            ("expired, and nobody looks", false, 2001, Outcome::Answer),
        ] {
            let mut query = query("www.example.");
            query.edns = Some(Edns {
                dnssec_ok,
                ..Edns::default()
            });
            let mut reply = reply(&mut query, &[60]);
            let times: [&[u8]; 3] = [&[0; 8], &2000u32.to_be_bytes(), &1000u32.to_be_bytes()];
            reply
                .records
                .push(Section::Answer, Owner::Asked(0), Type::RRSIG, 60, &times);
            assert_eq!(outcome(&query, &reply, || at(now)), expected, "{what}");
        }
    }
}
