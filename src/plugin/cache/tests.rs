use std::net::Ipv4Addr;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::dns::reply::Owner;
use crate::dns::{Class, Edns, Name, Question, Rcode, Reply, Section};
use crate::plugin::{PluginId, case};

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
    let rows: [Row<'_>; 9] = [
        (
            "www.example.com A",
            Rcode::NOERROR,
            &[(ANSWER, Type::A, 300)],
            30,
        ),
        (
            "four.example.com A",
            Rcode::NOERROR,
            &[(ANSWER, Type::A, 15)],
            15,
        ),
        (
            "zero.example.com A",
            Rcode::NOERROR,
            &[(ANSWER, Type::A, 0)],
            5,
        ),
        (
            "long.example.com A",
            Rcode::NOERROR,
            &[(ANSWER, Type::A, 86_400)],
            30,
        ),
        (
            "alias2.example.com A",
            Rcode::NOERROR,
            &[
                (ANSWER, Type::CNAME, 240),
                (ANSWER, Type::CNAME, 120),
                (ANSWER, Type::A, 300),
            ],
            30,
        ),
        (
            "ext-headless CNAME",
            Rcode::NOERROR,
            &[(ANSWER, Type::CNAME, 30)],
            30,
        ),
        (
            "six.example.com A",
            Rcode::NOERROR,
            &[(AUTHORITY, Type::SOA, 3600)],
            30,
        ),
        (
            "dangling.example.com A",
            Rcode::NXDOMAIN,
            &[(ANSWER, Type::CNAME, 300), (AUTHORITY, Type::SOA, 3600)],
            30,
        ),
        (
            "example.com NS",
            Rcode::NOERROR,
            &[(ANSWER, Type::NS, 300), (ADDITIONAL, Type::A, 300)],
            30,
        ),
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
fn some_answers_are_never_kept() {
    type Change = fn(&mut Query, &mut Answer);
    let rows: [(&str, Change); 6] = [
        ("of an always fresh plugin", |_, got| {
            got.by = PluginId::named("kubernetes")
        }),
        ("of the server itself", |_, got| got.by = None),
        ("of a refusal", |_, got| got.reply.rcode = Rcode::REFUSED),
        ("cut", |_, got| got.reply.flags |= flag::TC),
        ("of a transfer", |query, _| {
            query.question.rtype = Type::AXFR
        }),
        ("of a notification", |query, _| query.flags = 4 << 11),
    ];
    for (what, change) in rows {
        let (cache, _) = cache(config());
        let mut first = query("www.example.com.", Type::A);
        let mut got = address(&mut first, 300);
        change(&mut first, &mut got);
        cache.up(&first, &mut got);
        assert_eq!(cache.store.entries(), Entries::default(), "{what}");
        assert!(hit(&cache, &mut first).is_none(), "{what}");
    }
}

#[test]
fn an_always_fresh_answer_is_shaped_all_the_same() {
    let mut query = query("web.demo.svc.cluster.local.", Type::A);
    let mut got = address(&mut query, 300);
    got.by = PluginId::named("kubernetes");
    cache(config()).0.up(&query, &mut got);
    assert_eq!(ttls(&got.reply), [30]);
}

#[test]
fn a_denial_comes_before_an_answer_and_an_answer_before_a_failure() {
    let denial = |query: &mut Query| answer(query, Rcode::NXDOMAIN, &[(AUTHORITY, Type::SOA, 60)]);
    let failure = |query: &mut Query| answer(query, Rcode::SERVFAIL, &[]);
    type Make<'a> = &'a dyn Fn(&mut Query) -> Answer;
    let found = |query: &mut Query| address(query, 300);
    let rows: [(&str, &[Make<'_>], Rcode); 5] = [
        ("a failure alone", &[&failure], Rcode::SERVFAIL),
        (
            "a failure after an answer",
            &[&found, &failure],
            Rcode::NOERROR,
        ),
        (
            "a denial after an answer",
            &[&found, &denial],
            Rcode::NXDOMAIN,
        ),
        (
            "an answer after a denial",
            &[&denial, &found],
            Rcode::NOERROR,
        ),
        (
            "a denial after a failure",
            &[&failure, &denial],
            Rcode::NXDOMAIN,
        ),
    ];
    for (what, answers, expected) in rows {
        let (cache, _) = cache(config());
        let mut query = query("www.example.com.", Type::A);
        for make in answers {
            let mut got = make(&mut query);
            cache.up(&query, &mut got);
        }
        assert_eq!(hit(&cache, &mut query).unwrap().rcode, expected, "{what}");
    }
}

#[test]
fn names_outside_the_zones_pass_untouched() {
    let mut narrow = config();
    narrow.zones = Zones::new([name("example.com.")]);
    let (cache, counted) = cache(narrow);
    let mut other = query("www.example.org.", Type::A);
    let mut got = address(&mut other, 300);
    cache.up(&other, &mut got);
    assert_eq!(ttls(&got.reply), [300]);
    assert!(hit(&cache, &mut other).is_none());
    assert_eq!(counted.take(), Vec::<String>::new());
}

#[test]
fn zones_that_are_never_kept_are_not_looked_up_but_shaped() {
    let (mut cache, counted) = cache(config());
    Arc::get_mut(&mut cache).unwrap().uncached = Zones::new([name("cluster.local.")]);
    let mut query = query("web.demo.svc.cluster.local.", Type::A);
    assert!(hit(&cache, &mut query).is_none());
    assert_eq!(counted.take(), Vec::<String>::new());
    let mut got = address(&mut query, 300);
    cache.up(&query, &mut got);
    assert_eq!(ttls(&got.reply), [30]);
}

#[test]
fn an_answer_too_large_to_keep_is_counted_as_dropped() {
    let (cache, counted) = cache(config());
    let mut query = query("big.example.com.", Type::A);
    let mut got = answer(&mut query, Rcode::NOERROR, &[(ANSWER, Type::A, 300); 1000]);
    cache.up(&query, &mut got);
    assert_eq!(counted.take(), ["dropped"]);
    assert_eq!(ttls(&got.reply)[..2], [30, 30]);
}

#[test]
fn an_answer_too_large_to_keep_ends_the_one_whose_place_it_would_take() {
    let large = [(ANSWER, Type::A, 300); 1000];
    for (fact, seconds, rcode, told, kept) in [
        ("a good one", 10, Rcode::NOERROR, 1000, 0),
        ("a stale one", 60, Rcode::NOERROR, 1000, 0),
        ("not for a failure", 60, Rcode::SERVFAIL, 1, 1),
    ] {
        let (cache, _) = cache(serving_stale());
        let mut asked = query("big.example.com.", Type::A);
        let stored = Instant::now();
        let mut got = address(&mut asked, 30);
        cache.up_at(&asked, &mut got, || stored);
        let mut got = answer(&mut asked, rcode, &large);
        cache.up_at(&asked, &mut got, || stored + Duration::from_secs(seconds));
        assert_eq!(got.reply.records.entries().len(), told, "{fact}: told");
        assert_eq!(cache.store.entries().success, kept, "{fact}: kept");
    }
}

#[test]
fn a_full_cache_throws_out_and_counts_it() {
    let mut small = config();
    small.success.capacity = 1024;
    let (cache, counted) = cache(small);
    for number in 0..3000 {
        let mut query = query(&format!("n{number}.example.com."), Type::A);
        assert!(hit(&cache, &mut query).is_none());
        let mut got = address(&mut query, 300);
        cache.up(&query, &mut got);
    }
    assert_eq!(cache.store.entries().success, 1024);
    let evicted = counted
        .take()
        .into_iter()
        .filter(|what| what == "evicted Success");
    assert_eq!(evicted.count(), 3000 - 1024);
}

#[test]
fn two_chains_share_a_store_and_a_store_outlives_its_chains() {
    let (first, _) = cache(config());
    let mut query = query("www.example.com.", Type::A);
    let mut got = address(&mut query, 300);
    first.up(&query, &mut got);
    let (mut second, _) = cache(config());
    Arc::get_mut(&mut second).unwrap().store = first.store.clone();
    drop(first);
    assert!(hit(&second, &mut query).is_some());
}

mod scenarios;

/// Prints what a hit and a miss cost: `cargo test --release cost_of -- --ignored --nocapture`.
#[test]
#[ignore = "prints times, which say something on a quiet machine in a release build only"]
fn cost_of_a_hit_and_of_a_miss() {
    const NAMES: usize = 1000;
    const ROUNDS: usize = 1000;
    let counters: Arc<dyn Counters> = Arc::new(Uncounted);
    let store = Arc::new(Store::new(&config(), &counters));
    let uncached = Zones::new([name("cluster.local.")]);
    let config = Arc::new(config());
    let cache = Cache::new(config, store.clone(), counters, refreshes(), uncached);
    let cache = Arc::new(cache);
    let queries = |zone: &str| -> Vec<Query> {
        let name = |number| format!("n{number}.{zone}");
        (0..NAMES)
            .map(|number| query(&name(number), Type::A))
            .collect()
    };
    let mut known = queries("example.com.");
    for query in &mut known {
        let mut got = address(query, 300);
        cache.up(query, &mut got);
    }
    let mut unknown = queries("example.org.");
    let mut uncached = queries("cluster.local.");
    let time = |what: &str, queries: &mut [Query], run: &dyn Fn(&mut Query) -> bool| -> usize {
        let start = Instant::now();
        let mut hits = 0;
        for _ in 0..ROUNDS {
            for query in &mut *queries {
                hits += usize::from(run(query));
            }
        }
        println!(
            "{what}: {} ns",
            start.elapsed().as_nanos() / (NAMES * ROUNDS) as u128
        );
        hits
    };
    let down = |query: &mut Query| match cache.down(query) {
        Step::Reply(reply) => {
            query.recycle(reply.records);
            true
        }
        _ => false,
    };
    let now = Instant::now();
    let hasher = foldhash::fast::RandomState::default();
    let key = |query: &mut Query| std::hint::black_box(Key::of(query).hash(&hasher)) == 0;
    let look_up = |query: &mut Query| {
        let found = store.find(&Key::of(query));
        found.is_some_and(|entry| entry.standing(now, Duration::ZERO) != Standing::Gone)
    };
    assert_eq!(time("key", &mut known, &key), 0);
    assert_eq!(time("look-up, hit", &mut known, &look_up), NAMES * ROUNDS);
    let mut denied = queries("example.net.");
    for query in &mut denied {
        let mut got = answer(query, Rcode::NXDOMAIN, &[(AUTHORITY, Type::SOA, 60)]);
        cache.up(query, &mut got);
    }
    assert_eq!(
        time("look-up, denial", &mut denied, &look_up),
        NAMES * ROUNDS
    );
    assert_eq!(time("look-up, miss", &mut unknown, &look_up), 0);
    assert_eq!(time("down, hit", &mut known, &down), NAMES * ROUNDS);
    assert_eq!(time("down, miss", &mut unknown, &down), 0);
    assert_eq!(time("down, uncached", &mut uncached, &down), 0);
}
