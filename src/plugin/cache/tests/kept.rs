//! What is kept, in the place of what.

use super::*;

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
