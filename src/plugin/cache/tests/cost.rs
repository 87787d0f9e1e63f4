//! What the cache costs.

use super::*;

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
