//! Time passes, upstreams answer and fail, clients ask: what they are told, and how often those below are asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::chain::{Chain, Progress, Reason};
use crate::dns::Transport;
use crate::dns::edns::option;
use crate::plugin::Plugin;
use crate::plugin::log::{self, Log};
use crate::plugin::scripted::{Said, Scripted};
use crate::server::router::Router;

/// What happens, in its order.
#[derive(Debug)]
enum Event {
    /// Those below will say this, after so many milliseconds, to whoever asks next.
    Below(u64, Said),
    /// Seconds pass.
    Later(u64),
    /// A client asks, and is told this.
    Asked(&'static str),
    /// A client asks for what is known without recursion, and is told this.
    Snooped(&'static str),
    /// Those below have been asked so often in all.
    Times(usize),
}

use Event::{Asked, Below, Later, Snooped, Times};

/// A cache over a plugin that says what the test wants.
struct World {
    chain: Arc<Chain>,
    router: Arc<Router>,
    below: Arc<Scripted>,
    counted: Arc<Counted>,
    /// Replies that a plugin above has seen.
    seen_above: Arc<AtomicUsize>,
}

impl World {
    fn new(stanza: &str) -> World {
        let config = case::read("cache", stanza, parse).unwrap();
        let (mut cache, counted) = cache(Config {
            zones: Zones::root(),
            ..config
        });
        Arc::get_mut(&mut cache).unwrap().refreshes =
            Arc::new(Refreshes::on(tokio::runtime::Handle::current()));
        let below = Arc::new(Scripted::new());
        let seen_above = Arc::new(AtomicUsize::new(0));
        let seen = seen_above.clone();
        let log = Log::new(
            case::read("log", "log .", log::parse).unwrap(),
            Arc::new(move |_: &mut dyn FnMut(&mut Vec<u8>)| {
                seen.fetch_add(1, Ordering::Relaxed);
            }),
        );
        let plugins = vec![
            Plugin::Log(Arc::new(log)),
            Plugin::Cache(cache),
            Plugin::Scripted(below.clone()),
        ];
        World {
            chain: Arc::new(Chain::new(plugins)),
            router: Arc::new(Router::new([], false)),
            below,
            counted,
            seen_above,
        }
    }

    /// What a client asks now.
    fn query(&self) -> Query {
        let mut query = query("told.example.com.", Type::A);
        query.received = now();
        query.edns = Some(Edns::default());
        query.transport = Transport::Udp;
        query
    }

    /// The code or the last octet of the address, the TTL, the extended error, and how long it took.
    async fn ask(&self, mut query: Query) -> String {
        let start = tokio::time::Instant::now();
        let answer = match self.chain.run(&self.router, &mut query) {
            Progress::Answered(answer) => Some(answer),
            Progress::Dropped => None,
            Progress::Waiting(waiting) => waiting.finish(&mut query).await,
        };
        let mut told = told(&answer.unwrap());
        if !start.elapsed().is_zero() {
            told += &format!(" after {} ms", start.elapsed().as_millis());
        }
        told
    }

    async fn play(&self, events: &[Event]) -> Result<(), String> {
        for (index, event) in events.iter().enumerate() {
            run_background().await;
            match event {
                Below(after, said) => self.below.tell(Duration::from_millis(*after), said.clone()),
                Later(seconds) => tokio::time::sleep(Duration::from_secs(*seconds)).await,
                Asked(expected) | Snooped(expected) => {
                    let mut query = self.query();
                    if let Snooped(_) = event {
                        query.flags &= !flag::RD;
                    }
                    let told = self.ask(query).await;
                    if told != *expected {
                        return Err(format!("event {index}: told {told:?}, not {expected:?}"));
                    }
                }
                Times(expected) => {
                    let asked = self.below.asked.lock().unwrap().len();
                    if asked != *expected {
                        return Err(format!(
                            "event {index}: asked {asked} times, not {expected}"
                        ));
                    }
                }
            }
        }
        let asked = events
            .iter()
            .filter(|event| matches!(event, Asked(_) | Snooped(_)));
        let (asked, seen) = (asked.count(), self.seen_above.swap(0, Ordering::Relaxed));
        if seen != asked {
            return Err(format!("{seen} replies came up for {asked} queries"));
        }
        Ok(())
    }
}

/// What runs in the background goes as far as it can.
async fn run_background() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

fn told(answer: &Answer) -> String {
    let records = &answer.reply.records;
    let first = records.entries().first();
    let mut told = match first {
        Some(entry) if entry.rtype == Type::A => format!("#{}", records.rdata(entry)[3]),
        _ => answer.reply.rcode.to_string(),
    };
    if let Some(entry) = first {
        told += &format!(" for {} s", entry.ttl);
    }
    let options = answer.reply.options.as_deref().unwrap_or_default();
    for (code, data) in crate::dns::edns::Options::of(options) {
        assert_eq!(code, option::EXTENDED_ERROR);
        told += &format!(", error {}", data[1]);
    }
    told
}

async fn play_all(rows: &[(&str, &str, &[Event])]) {
    let mut wrong = Vec::new();
    for (fact, stanza, events) in rows {
        if let Err(difference) = World::new(stanza).play(events).await {
            wrong.push(format!("{fact}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn timed_out() -> Said {
    use crate::chain::{Cause, Operation, Unanswered};
    Said::Failed(Reason::Upstream(Box::new(Unanswered {
        operation: Operation::Read,
        transport: Transport::Udp,
        from: None,
        to: "192.0.2.53:53".parse().unwrap(),
        cause: Cause::Timeout,
    })))
}

fn out_of_sockets() -> Said {
    use crate::chain::{Cause, Operation, Unanswered};
    Said::Failed(Reason::Upstream(Box::new(Unanswered {
        operation: Operation::Dial,
        transport: Transport::Udp,
        from: None,
        to: "192.0.2.53:53".parse().unwrap(),
        cause: Cause::System(libc::EMFILE),
    })))
}

use Said::{Address, Code, Denied, Failed, Silence};

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_at_once_and_refreshed_behind() {
    play_all(&[
        (
            "the next who asks has the new one",
            "cache {\n serve_stale\n}",
            &[
                Below(10, Address(1)),
                Asked("#1 for 30 s after 10 ms"),
                Later(29),
                Asked("#1 for 1 s"),
                Later(1),
                Below(10, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Asked("#2 for 30 s"),
                Times(2),
            ],
        ),
        (
            "one refresh at a time, however many ask",
            "cache {\n serve_stale 1h immediate 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(5000, Address(2)),
                Asked("#1 for 30 s, error 3"),
                Asked("#1 for 30 s, error 3"),
                Later(4),
                Asked("#1 for 30 s, error 3"),
                Times(2),
                Later(2),
                Asked("#2 for 29 s"),
            ],
        ),
        (
            "for as long as it may be given",
            "cache {\n serve_stale 1m\n servfail 0\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(89),
                Below(0, timed_out()),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
            ],
        ),
        (
            "a failure is not repeated before the recheck",
            "cache {\n serve_stale 1h immediate 0s 30s\n servfail 0\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Asked("#2 for 30 s"),
            ],
        ),
        (
            "nor, without one, before a failure would be forgotten",
            "cache {\n serve_stale\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3"),
                Later(4),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Times(3),
            ],
        ),
        (
            "a denial takes its place, and may be stale itself",
            "cache {\n serve_stale\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Asked("NXDOMAIN for 30 s"),
                Later(31),
                Below(0, timed_out()),
                Asked("NXDOMAIN for 0 s, error 19"),
            ],
        ),
        (
            "unless positive answers are preferred",
            "cache {\n serve_stale\n serve_stale_policy prefer_positive\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Asked("#2 for 30 s"),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_below_are_asked_before_a_stale_answer_is_given() {
    play_all(&[
        (
            "who answer in time",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(1799, Address(2)),
                Asked("#2 for 30 s after 1799 ms"),
            ],
        ),
        (
            "who are late, and whose answer is kept all the same",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(4000, Address(2)),
                Asked("#1 for 0 s, error 3 after 1800 ms"),
                Asked("#1 for 0 s, error 3"),
                Later(3),
                Asked("#2 for 30 s"),
                Times(2),
            ],
        ),
        (
            "who never answer, and for whom not everybody waits",
            "cache {\n serve_stale 1h verify 500ms 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Silence),
                Asked("#1 for 30 s, error 3 after 500 ms"),
                Later(4),
                Asked("#1 for 30 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Silence),
                Asked("#1 for 30 s, error 3 after 500 ms"),
                Times(3),
            ],
        ),
        (
            "who fail",
            "cache {\n serve_stale 1h verify 1s 0s 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(10, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3 after 10 ms"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Below(10, timed_out()),
                Asked("#1 for 0 s, error 3 after 10 ms"),
                Times(3),
            ],
        ),
        (
            "who refuse, or are too many",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::REFUSED)),
                Asked("#1 for 0 s, error 3"),
                Below(0, Failed(Reason::TooManyConcurrent(7))),
                Asked("#1 for 0 s, error 3"),
                Times(3),
            ],
        ),
        (
            "who deny it",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("NXDOMAIN for 30 s"),
            ],
        ),
        (
            "who deny it, where positive answers are preferred",
            "cache {\n serve_stale 1h verify\n serve_stale_policy prefer_positive\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Asked("#1 for 0 s, error 3"),
                Times(2),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn that_nobody_could_be_asked_is_kept_for_seconds() {
    play_all(&[
        (
            "for longer while it goes on, up to five",
            "cache",
            &[
                Below(4500, timed_out()),
                Asked("SERVFAIL, error 22 after 4500 ms"),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(4),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(4),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "from the shortest again, after a while",
            "cache",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(12),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "not where failures are not kept",
            "cache {\n servfail 0\n}",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "not where denials are not",
            "cache {\n disable denial example.com\n}",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "for a second where all are known to be down",
            "cache",
            &[
                Below(0, Failed(Reason::NoHealthyUpstream)),
                Asked("SERVFAIL, error 22"),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Failed(Reason::NoHealthyUpstream)),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "not where the fault is ours, or there are too many",
            "cache",
            &[
                Below(0, out_of_sockets()),
                Asked("SERVFAIL, error 0"),
                Below(0, Failed(Reason::TooManyConcurrent(7))),
                Asked("REFUSED, error 0"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "an upstream that says so itself is believed for as long as `servfail`",
            "cache {\n servfail 20s\n}",
            &[
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("SERVFAIL"),
                Later(19),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_popular_answer_is_refreshed_before_its_time_is_over() {
    play_all(&[
        (
            "in its last tenth",
            "cache {\n prefetch 2\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Asked("#1 for 30 s"),
                Asked("#1 for 30 s"),
                Later(26),
                Asked("#1 for 4 s"),
                Times(1),
                Later(1),
                Below(10, Address(2)),
                Asked("#1 for 3 s"),
                Asked("#1 for 3 s"),
                Later(1),
                Asked("#2 for 30 s"),
                Times(2),
            ],
        ),
        (
            "and again, as popular as it was",
            "cache {\n prefetch 3 1m 50%\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Asked("#1 for 30 s"),
                Asked("#1 for 30 s"),
                Later(15),
                Below(0, Address(2)),
                Asked("#1 for 15 s"),
                Later(15),
                Below(0, Address(3)),
                Asked("#2 for 15 s"),
                Asked("#3 for 30 s"),
            ],
        ),
        (
            "not if it was asked for too seldom",
            "cache {\n prefetch 2 10s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Asked("#1 for 30 s"),
                Later(29),
                Asked("#1 for 1 s"),
                Times(1),
            ],
        ),
        (
            "once, if that fails, and it is given to its end",
            "cache {\n prefetch 1\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(27),
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("#1 for 3 s"),
                Asked("#1 for 3 s"),
                Later(2),
                Asked("#1 for 1 s"),
                Times(2),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stale_and_what_is_refreshed_is_counted() {
    let world = World::new("cache {\n serve_stale\n prefetch 1 1m 50%\n}");
    let play = [
        Below(0, Address(1)),
        Asked("#1 for 30 s"),
        Later(20),
        Below(0, Address(2)),
        Asked("#1 for 10 s"),
        Later(31),
        Below(0, timed_out()),
        Asked("#2 for 0 s, error 3"),
    ];
    world.play(&play).await.unwrap();
    let counted = world.counted.take();
    let prefetched = ["requested", "hit Success", "refreshed"];
    let stale = ["requested", "hit Success", "served stale", "refreshed"];
    let expected = [&["requested", "missed"][..], &prefetched, &stale].concat();
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_room_to_wait_a_stale_answer_is_given_at_once() {
    let world = World::new("cache {\n serve_stale 1h verify\n}");
    let play = [Below(0, Address(1)), Asked("#1 for 30 s"), Later(31)];
    world.play(&play).await.unwrap();
    for (name, expected) in [
        ("told.example.com.", Some("#1 for 0 s")),
        ("told.example.net.", None),
    ] {
        let mut query = query(name, Type::A);
        query.received = now();
        let Progress::Waiting(waiting) = world.chain.run(&world.router, &mut query) else {
            panic!("{name}: those below are to be asked")
        };
        let answer = waiting.instead(&mut query);
        assert_eq!(answer.as_ref().map(told).as_deref(), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_refreshes_are_made_than_may_be_under_way() {
    let world = World::new("cache {\n serve_stale\n}");
    let Plugin::Cache(cache) = &world.chain.plugins()[1] else {
        panic!("it is the second")
    };
    let taken: Vec<_> = (0..)
        .map(|number| Arc::new(entry::tests::entry_of("n", number)))
        .map_while(|entry| cache.refreshes.begin(entry).ok())
        .collect();
    let play = [
        Below(0, Address(1)),
        Asked("#1 for 30 s"),
        Later(31),
        Asked("#1 for 0 s, error 3"),
        Times(1),
    ];
    world.play(&play).await.unwrap();
    assert!(
        world
            .counted
            .take()
            .contains(&"refresh left out".to_owned())
    );
    drop(taken);
    let play = [
        Below(0, Address(2)),
        Asked("#1 for 0 s, error 3"),
        Asked("#2 for 30 s"),
    ];
    world.play(&play).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refresh_is_asked_for_nobody_and_serves_all() {
    let world = World::new("cache {\n serve_stale\n}");
    let play = [
        Below(0, Address(1)),
        Asked("#1 for 30 s"),
        Later(31),
        Below(0, Address(2)),
    ];
    world.play(&play).await.unwrap();
    let mut query = query("told.example.com.", Type::A);
    query.received = now();
    query.client = "10.0.0.7:4321".parse().unwrap();
    query.edns = Some(Edns {
        options: b"\0\x0a\0\x08cookie!!".to_vec(),
        ..Edns::default()
    });
    assert!(matches!(
        world.chain.run(&world.router, &mut query),
        Progress::Answered(_)
    ));
    run_background().await;
    let asked = world.below.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.question, query.question);
    assert!(asked.client.ip().is_unspecified(), "{}", asked.client);
    let edns = Edns {
        payload: 1232,
        ..Edns::default()
    };
    assert_eq!(asked.edns, Some(edns), "a cookie and a size are one's own");
    assert_eq!(asked.transport, Transport::Tcp, "so that nothing is cut");
    assert!(asked.is_background);
    assert!(asked.asks_authentic);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_without_recursion_is_kept_apart() {
    let nothing = || Code(Rcode::NOERROR);
    play_all(&[(
        "and refreshed apart",
        "cache {\n serve_stale\n}",
        &[
            Below(0, Address(1)),
            Asked("#1 for 30 s"),
            Below(0, nothing()),
            Snooped("NOERROR"),
            Asked("#1 for 30 s"),
            Later(31),
            Below(0, nothing()),
            Snooped("NOERROR, error 3"),
            Below(0, Address(2)),
            Asked("#1 for 0 s, error 3"),
            Snooped("NOERROR"),
            Asked("#2 for 30 s"),
            Times(4),
        ],
    )])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let world = World::new("cache {\n serve_stale 1h verify\n}");
    let play = [
        Below(0, Address(1)),
        Asked("#1 for 30 s"),
        Later(31),
        Below(1000, Address(2)),
    ];
    world.play(&play).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(500), world.ask(world.query())).await;
    assert!(gone.is_err());
    let play = [Below(10, Address(3)), Asked("#3 for 30 s after 10 ms")];
    world.play(&play).await.unwrap();
}

#[test]
fn of_those_who_hit_together_one_refreshes() {
    let prefetching = case::read("cache", "cache {\n prefetch 1\n}", parse).unwrap();
    for (fact, config, age) in [
        ("a stale answer", serving_stale(), 60),
        (
            "a popular one",
            Config {
                prefetch: prefetching.prefetch,
                ..config()
            },
            29,
        ),
    ] {
        let (cache, counted) = cache(config);
        let mut asked = query("www.example.com.", Type::A);
        let mut got = address(&mut asked, 30);
        let stored = Instant::now();
        cache.up_at(&asked, &mut got, || stored);
        asked.received = stored + Duration::from_secs(age);
        let mut hit = || cache.down(&mut asked);
        let refreshes = |step: &Step| matches!(step, Step::ReplyAndRefresh(..));
        let first = hit();
        assert!(refreshes(&first), "{fact}");
        assert!(!refreshes(&hit()), "{fact}: the first has the right");
        drop(first);
        let counts = counted.take();
        let count = counts.iter().filter(|what| *what == "refreshed").count();
        assert_eq!(count, 1, "{fact}");
        assert!(refreshes(&hit()), "{fact}: the first gave it back");
    }
}

#[test]
fn an_always_fresh_answer_ends_a_stale_one() {
    let (stale_cache, _) = cache(serving_stale());
    let mut asked = query("www.example.com.", Type::A);
    let mut got = address(&mut asked, 30);
    let stored = Instant::now();
    stale_cache.up_at(&asked, &mut got, || stored);
    let later = stored + Duration::from_secs(60);
    let mut got = address(&mut asked, 30);
    got.by = PluginId::named("kubernetes");
    stale_cache.up_at(&asked, &mut got, || later);
    assert_eq!(got.by, PluginId::named("kubernetes"));
    assert_eq!(stale_cache.store.entries(), Entries::default());
}

#[test]
fn extended_errors_are_for_clients_that_can_read_them() {
    let (cache, _) = cache(config());
    let mut plain = query("www.example.com.", Type::A);
    let mut got = answer(&mut plain, Rcode::SERVFAIL, &[]);
    cache.up(&plain, &mut got);
    assert_eq!(hit(&cache, &mut plain).unwrap().options, None);
}
