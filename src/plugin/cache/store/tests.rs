use super::*;
use crate::dns::reply::Owner;
use crate::dns::{Class, Query, Question, Rcode, Section, Type, Zones};
use crate::plugin::cache::Uncounted;

fn store(success: u64, denial: u64, max_memory: usize) -> Store {
    let mut config = Config::of_zones(Zones::root());
    (config.success.capacity, config.denial.capacity) = (success, denial);
    config.max_memory = max_memory;
    let counters: Arc<dyn Counters> = Arc::new(Uncounted);
    Store::new(&config, &counters)
}

fn query(name: &str) -> Query {
    let mut query = Query::empty();
    query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
    query
}

fn find(store: &Store, name: &str) -> Option<Found> {
    store.find(&Key::of(&query(name)))
}

/// An entry with a record of this many octets.
fn entry(store: &Store, name: &str, kind: Kind, octets: usize, now: Instant) -> Entry {
    let mut reply = Reply::new(&mut Query::empty(), Rcode::NOERROR);
    let data = vec![0; octets];
    (reply.records).push(Section::Answer, Owner::Asked(0), Type::TXT, 30, &[&data]);
    store.entry(&Key::of(&query(name)), kind, &reply, 30, now)
}

fn insert(store: &Store, name: &str, kind: Kind, octets: usize, now: Instant) {
    let entry = entry(store, name, kind, octets, now);
    store.insert(entry, now, Duration::ZERO, |_, _| true);
}

#[test]
fn popular_names_survive_ten_times_the_capacity_of_names_asked_once() {
    const CAPACITY: u64 = 1024;
    const POPULAR: usize = 100;
    let now = Instant::now();
    let store = store(CAPACITY, CAPACITY, 64 << 20);
    let popular = |number| format!("popular{number}.example.");
    for number in 0..POPULAR {
        insert(&store, &popular(number), Kind::Success, 4, now);
    }
    for number in 0..10 * CAPACITY {
        insert(
            &store,
            &format!("n{number}.example."),
            Kind::Success,
            4,
            now,
        );
        // Each is asked for once in the time in which a tenth of the cache comes anew.
        let asked = (number % 100) as usize;
        assert!(
            find(&store, &popular(asked)).is_some(),
            "{} after {number}",
            popular(asked)
        );
    }
    assert_eq!(store.entries().success, CAPACITY);
}

#[test]
fn octets_are_bounded_and_the_half_that_takes_more_gives_way() {
    const MEMORY: usize = 1 << 20;
    let now = Instant::now();
    let store = store(100_000, 100_000, MEMORY);
    for number in 0..100 {
        insert(
            &store,
            &format!("a{number}.example."),
            Kind::Success,
            1000,
            now,
        );
    }
    for number in 0..5000 {
        insert(
            &store,
            &format!("d{number}.example."),
            Kind::Denial,
            1000,
            now,
        );
        assert!(store.entries().octets <= MEMORY as u64, "{number}");
    }
    let entries = store.entries();
    assert_eq!(entries.success, 100, "a flood of denials ends denials");
    assert!(entries.octets > MEMORY as u64 * 9 / 10, "{entries:?}");
    // An answer as large as any may be takes the place of few.
    let large = ENTRY_OCTETS_MAX - 2 * ENTRY_OCTETS_MIN;
    insert(&store, "large.example.", Kind::Denial, large, now);
    assert!(find(&store, "large.example.").is_some());
    assert!(entries.denial - store.entries().denial < 20);
}

#[test]
fn memory_of_what_nobody_can_use_is_given_back() {
    let start = Instant::now();
    let store = store(2000, 2000, 64 << 20);
    for number in 0..1000 {
        insert(
            &store,
            &format!("a{number}.example."),
            Kind::Success,
            4,
            start,
        );
    }
    let entry = find(&store, "a7.example.").unwrap().share();
    let later = start + Duration::from_secs(31);
    for number in 0..600 {
        insert(
            &store,
            &format!("b{number}.example."),
            Kind::Denial,
            4,
            later,
        );
    }
    let entries = store.entries();
    assert_eq!((entries.success, entries.denial), (0, 600));
    assert!(find(&store, "a7.example.").is_none());
    assert_eq!(Arc::strong_count(&entry), 1, "nothing else holds it");
    let octets = |number| {
        find(&store, &format!("b{number}.example."))
            .unwrap()
            .octets()
    };
    let kept = (0..600).map(octets);
    assert_eq!(entries.octets, kept.sum::<usize>() as u64);
}

#[test]
fn a_key_that_changes_its_half_is_counted_in_one() {
    let now = Instant::now();
    let store = store(1024, 1024, 64 << 20);
    for kind in [Kind::Success, Kind::Denial, Kind::Denial, Kind::Success] {
        insert(&store, "www.example.", kind, 4, now);
        let entries = store.entries();
        assert_eq!(entries.success + entries.denial, 1, "{kind:?}");
        assert_eq!(find(&store, "www.example.").unwrap().kind(), kind);
    }
    let found = find(&store, "www.example.").unwrap();
    insert(&store, "www.example.", Kind::Denial, 4, now);
    store.remove(&found);
    assert_eq!(store.entries().denial, 1, "another has taken its place");
    store.remove(&find(&store, "www.example.").unwrap());
    assert_eq!(store.entries(), Entries::default());
}

#[test]
fn bounds_hold_while_many_threads_write_and_read() {
    const CAPACITY: u64 = 1024;
    let now = Instant::now();
    let store = &store(CAPACITY, CAPACITY, 64 << 20);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..5000 {
                    let name = format!("n{}.example.", (number * 7 + thread * 3) % 4000);
                    let kind = if number % 3 == 0 {
                        Kind::Denial
                    } else {
                        Kind::Success
                    };
                    insert(store, &name, kind, 4, now);
                    let found = find(store, &name);
                    assert!(
                        found.is_none_or(|entry| entry.key() == &*Key::of(&query(&name)).octets())
                    );
                    let entries = store.entries();
                    assert!(entries.success <= CAPACITY && entries.denial <= CAPACITY);
                }
            });
        }
    });
    let entries = store.entries();
    let found = (0..4000).filter(|number| find(store, &format!("n{number}.example.")).is_some());
    assert_eq!(found.count() as u64, entries.success + entries.denial);
}
