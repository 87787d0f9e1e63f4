//! What is asked behind the back of a client.

use super::*;

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
