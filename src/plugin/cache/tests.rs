use std::net::Ipv4Addr;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::dns::reply::Owner;
use crate::dns::{Class, Edns, Name, Question, Rcode, Reply, Section};
use crate::plugin::{PluginId, case};

mod cost;
mod kept;
mod scenarios;

/// Remembers what was counted.
#[derive(Debug, Default)]
struct Counted(Mutex<Vec<String>>);

impl Counted {
    fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Counters for Counted {
    fn requested(&self) {
        self.push("requested");
    }

    fn hit(&self, kind: Kind) {
        self.push(format!("hit {kind:?}"));
    }

    fn missed(&self) {
        self.push("missed");
    }

    fn evicted(&self, kind: Kind) {
        self.push(format!("evicted {kind:?}"));
    }

    fn dropped(&self) {
        self.push("dropped");
    }

    fn refreshed(&self) {
        self.push("refreshed");
    }

    fn refresh_left_out(&self) {
        self.push("refresh left out");
    }

    fn served_stale(&self) {
        self.push("served stale");
    }
}

/// A cache as the Corefile of the recorded conformance data has it: `cache 30`.
fn config() -> Config {
    let mut config = Config::of_zones(Zones::root());
    (config.success.ttl_max, config.denial.ttl_max) = (30, 30);
    config
}

/// The same with `serve_stale`.
fn serving_stale() -> Config {
    let stanza = "cache {\n serve_stale\n}";
    Config {
        stale: case::read("cache", stanza, parse).unwrap().stale,
        ..config()
    }
}

fn cache(config: Config) -> (Arc<Cache>, Arc<Counted>) {
    let counted = Arc::new(Counted::default());
    let counters: Arc<dyn Counters> = counted.clone();
    let store = Arc::new(Store::new(&config, &counters));
    let config = Arc::new(config);
    let cache = Cache::new(config, store, counters, refreshes(), Zones::default());
    (Arc::new(cache), counted)
}

/// For tests that refresh nothing: a runtime that nobody runs.
fn refreshes() -> Arc<Refreshes> {
    static IDLE: LazyLock<Runtime> =
        LazyLock::new(|| Builder::new_current_thread().build().unwrap());
    Arc::new(Refreshes::on(IDLE.handle().clone()))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn query(asked: &str, rtype: Type) -> Query {
    let mut query = Query::empty();
    query.question = Question::new(name(asked), rtype, Class::IN);
    query.flags = flag::RD;
    query
}

fn forward() -> Option<PluginId> {
    PluginId::named("forward")
}

fn answer(query: &mut Query, rcode: Rcode, records: &[(Section, Type, u32)]) -> Answer {
    let mut reply = Reply::new(query, rcode);
    for (section, rtype, ttl) in records {
        let address = Ipv4Addr::new(192, 0, 2, 1).octets();
        reply
            .records
            .push(*section, Owner::Asked(0), *rtype, *ttl, &[&address]);
    }
    Answer {
        reply,
        by: forward(),
        failure: None,
    }
}

fn address(query: &mut Query, ttl: u32) -> Answer {
    answer(query, Rcode::NOERROR, &[(Section::Answer, Type::A, ttl)])
}

fn hit(cache: &Arc<Cache>, query: &mut Query) -> Option<Reply> {
    match cache.down(query) {
        Step::Reply(reply) => Some(reply),
        Step::Next => None,
        step => panic!("{step:?}"),
    }
}

fn ttls(reply: &Reply) -> Vec<u32> {
    reply
        .records
        .entries()
        .iter()
        .map(|entry| entry.ttl)
        .collect()
}

const ANSWER: Section = Section::Answer;
const AUTHORITY: Section = Section::Authority;
const ADDITIONAL: Section = Section::Additional;

#[test]
fn a_reply_from_below_gets_the_ttl_that_coredns_was_recorded_to_give() {
    type Row<'a> = (&'a str, Rcode, &'a [(Section, Type, u32)], u32);
    let (found, missing) = (Rcode::NOERROR, Rcode::NXDOMAIN);
    let a = |ttl| (ANSWER, Type::A, ttl);
    let cname = |ttl| (ANSWER, Type::CNAME, ttl);
    let soa = |ttl| (AUTHORITY, Type::SOA, ttl);
    let name_server = [(ANSWER, Type::NS, 300), (ADDITIONAL, Type::A, 300)];
    let aliases = [cname(240), cname(120), a(300)];
    let rows: [Row<'_>; 9] = [
        ("www.example.com A", found, &[a(300)], 30),
        ("four.example.com A", found, &[a(15)], 15),
        ("zero.example.com A", found, &[a(0)], 5),
        ("long.example.com A", found, &[a(86_400)], 30),
        ("alias2.example.com A", found, &aliases, 30),
        ("ext-headless CNAME", found, &[cname(30)], 30),
        ("six.example.com A", found, &[soa(3600)], 30),
        (
            "dangling.example.com A",
            missing,
            &[cname(300), soa(3600)],
            30,
        ),
        ("example.com NS", found, &name_server, 30),
    ];
    for (what, rcode, records, expected) in rows {
        let rtype = if what.ends_with("NS") {
            Type::NS
        } else {
            Type::A
        };
        let mut query = query("www.example.com.", rtype);
        let mut got = answer(&mut query, rcode, records);
        let flags = got.reply.flags;
        cache(config()).0.up(&query, &mut got);
        assert_eq!(ttls(&got.reply), vec![expected; records.len()], "{what}");
        assert_eq!(
            got.reply.flags, flags,
            "{what}: flags of a miss are those from below"
        );
    }
}

#[test]
fn a_hit_has_what_is_left_of_the_ttl_and_the_case_of_the_asker() {
    let (cache, counted) = cache(config());
    let mut first = query("www.example.com.", Type::A);
    assert!(hit(&cache, &mut first).is_none());
    assert!(first.asks_authentic, "upstreams are asked for AD");
    let mut got = address(&mut first, 300);
    got.reply.flags |= flag::RA;
    cache.up(&first, &mut got);

    let stored = Instant::now();
    for (seconds, expected) in [(0, Some(30)), (12, Some(18)), (29, Some(1)), (31, None)] {
        let mut again = query("WWW.Example.com.", Type::A);
        again.received = stored + Duration::from_secs(seconds);
        let reply = hit(&cache, &mut again);
        assert_eq!(
            reply.as_ref().map(ttls),
            expected.map(|ttl| vec![ttl]),
            "{seconds} s"
        );
        let Some(reply) = reply else { continue };
        assert_eq!(reply.flags, flag::AA | flag::RD | flag::RA, "{seconds} s");
        let entry = &reply.records.entries()[0];
        let owner = reply.records.owner_wire(entry, &again.question.asked);
        assert_eq!(owner, name("WWW.Example.com.").wire(), "{seconds} s");
    }
    let one = ["requested", "missed"].map(str::to_owned).to_vec();
    let three = ["requested", "hit Success"]
        .repeat(3)
        .into_iter()
        .map(str::to_owned);
    let expected = [one.clone(), three.collect(), one].concat();
    assert_eq!(counted.take(), expected);
}

#[test]
fn keepttl_gives_the_ttl_that_was_stored() {
    let mut keeping = config();
    keeping.keep_ttl = true;
    let (cache, _) = cache(keeping);
    let mut first = query("www.example.com.", Type::A);
    let mut got = address(&mut first, 300);
    cache.up(&first, &mut got);
    let mut again = query("www.example.com.", Type::A);
    again.received = Instant::now() + Duration::from_secs(20);
    assert_eq!(ttls(&hit(&cache, &mut again).unwrap()), [30]);
}

#[test]
fn only_those_who_ask_are_told_that_data_is_authentic() {
    type Ask = fn(&mut Query);
    let rows: [(&str, Ask, bool); 3] = [
        ("plain", |_| {}, false),
        ("with AD", |query| query.flags |= flag::AD, true),
        (
            "with DO",
            |query| {
                query.edns = Some(Edns {
                    dnssec_ok: true,
                    ..Edns::default()
                });
            },
            true,
        ),
    ];
    for (what, ask, told) in rows {
        let (cache, _) = cache(config());
        let mut first = query("www.example.com.", Type::A);
        ask(&mut first);
        let mut got = address(&mut first, 300);
        got.reply.flags |= flag::AD;
        cache.up(&first, &mut got);
        assert_eq!(got.reply.flags & flag::AD != 0, told, "{what}, on a miss");
        let reply = hit(&cache, &mut first).unwrap();
        assert_eq!(reply.flags & flag::AD != 0, told, "{what}, on a hit");
    }
    // What is kept is what was said, not what the first asker was told.
    let (cache, _) = cache(config());
    let mut plain = query("www.example.com.", Type::A);
    let mut got = address(&mut plain, 300);
    got.reply.flags |= flag::AD;
    cache.up(&plain, &mut got);
    plain.flags |= flag::AD;
    assert_ne!(hit(&cache, &mut plain).unwrap().flags & flag::AD, 0);
}

#[test]
fn data_is_shared_by_those_who_trust_the_same_checks() {
    type Ask = fn(&mut Query);
    let with_do: Ask = |query| {
        query.edns = Some(Edns {
            dnssec_ok: true,
            ..Edns::default()
        });
    };
    let plain: Ask = |_| {};
    let with_edns: Ask = |query| query.edns = Some(Edns::default());
    let with_cd: Ask = |query| query.flags |= flag::CD;
    let without_rd: Ask = |query| query.flags &= !flag::RD;
    for (what, first, then, found) in [
        ("signatures for who did not ask", with_do, plain, false),
        ("no signatures for who asked", plain, with_do, false),
        ("unchecked for who relies on checks", with_cd, plain, false),
        ("checked for who checks himself", plain, with_cd, false),
        ("what an upstream knows, for all", without_rd, plain, false),
        ("what it can find, for snoopers", plain, without_rd, false),
        ("EDNS alone", plain, with_edns, true),
    ] {
        let (cache, _) = cache(config());
        let ask = |change: Ask| {
            let mut query = query("www.example.com.", Type::A);
            change(&mut query);
            query
        };
        let mut got = address(&mut ask(first), 300);
        cache.up(&ask(first), &mut got);
        assert_eq!(hit(&cache, &mut ask(then)).is_some(), found, "{what}");
    }
}

#[test]
fn the_options_of_an_upstream_do_not_reach_the_client() {
    let (cache, _) = cache(config());
    let mut query = query("www.example.com.", Type::A);
    let mut got = address(&mut query, 300);
    got.reply.options = Some(b"\0\x03\0\0".to_vec());
    cache.up(&query, &mut got);
    assert_eq!(got.reply.options, None);
    assert_eq!(hit(&cache, &mut query).unwrap().options, None);
}

#[test]
fn an_always_fresh_answer_is_shaped_all_the_same() {
    let mut query = query("web.demo.svc.cluster.local.", Type::A);
    let mut got = address(&mut query, 300);
    got.by = PluginId::named("kubernetes");
    cache(config()).0.up(&query, &mut got);
    assert_eq!(ttls(&got.reply), [30]);
}
