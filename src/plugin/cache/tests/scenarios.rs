//! Time passes, upstreams answer and fail, clients ask: what they are told, and how often those below are asked.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::chain::{Chain, Failure, Progress, Reason};
use crate::dns::Transport;
use crate::dns::edns::{ErrorCode, ExtendedError};
use crate::plugin::Plugin;
use crate::plugin::log::{self, Log};
use crate::plugin::scripted::{Said, Scripted};
use crate::server::router::Router;

mod failures;
mod refreshes;
mod stale;

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
use Said::{Address, Code, Denied, Failed, Silence};

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
    if let Some(error) = &answer.reply.error {
        told += &format!(", error {}", error.code as u16);
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
fn a_kept_failure_is_told_with_the_reason_of_the_first() {
    let (cache, _) = cache(config());
    let mut asked = query("www.example.com.", Type::A);
    asked.edns = Some(Edns::default());
    let mut failed = answer(&mut asked, Rcode::SERVFAIL, &[]);
    let reason = Reason::NoHealthyUpstream;
    (failed.by, failed.failure) = (None, Some(Box::new(Failure { by: None, reason })));
    cache.up(&asked, &mut failed);
    let error = hit(&cache, &mut asked).unwrap().error.unwrap();
    let expected = ExtendedError::of(ErrorCode::CachedError, "no healthy proxies");
    assert_eq!(*error, expected);
}

#[test]
fn extended_errors_are_for_clients_that_can_read_them() {
    let (cache, _) = cache(config());
    let mut plain = query("www.example.com.", Type::A);
    let mut got = answer(&mut plain, Rcode::SERVFAIL, &[]);
    cache.up(&plain, &mut got);
    assert_eq!(hit(&cache, &mut plain).unwrap().error, None);
}
