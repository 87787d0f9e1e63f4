//! What becomes of upstreams that are late, lose queries or change the case of names, and of queries that are alike.

use super::*;

/// A query that waits for an upstream that never answers does not end while the test runs.
const PATIENT: &str = "read_timeout 60s\nmax_fails 0";

fn count(told: &Mutex<Vec<String>>, what: &str) -> usize {
    let told = told.lock().unwrap();
    told.iter().filter(|told| *told == what).count()
}

#[tokio::test]
async fn who_is_late_is_not_waited_for_alone() {
    let silent = FakeUpstream::silent().await;
    let other = FakeUpstream::answering(2).await;
    let (forward, told) = observed(&format!(
        "forward . {} {} {{\npolicy round_robin\n{PATIENT}\n}}",
        silent.address, other.address
    ));
    assert_eq!(ask(&forward, Transport::Udp).await, good(2));
    assert_eq!([silent.seen().len(), other.seen().len()], [1, 1]);
    assert_eq!(count(&told, "hedged"), 1);
}

#[tokio::test]
async fn in_sequence_a_slow_upstream_is_asked_again_and_a_silent_one_is_passed_over() {
    // Of a name that it does not know at once it says nothing, but it is there.
    let slow = FakeUpstream::start(|seen| match seen.query().question.rtype {
        Type::NS => vec![Act::Say(seen.reply(Rcode::REFUSED, &[]))],
        _ => vec![
            Act::Wait(Duration::from_millis(200)),
            Act::Say(seen.answer(1)),
        ],
    });
    for (what, first, expected) in [
        ("slow", slow.await, good(1)),
        ("silent", FakeUpstream::silent().await, good(2)),
    ] {
        let second = FakeUpstream::answering(2).await;
        let forward = forward(&format!(
            "forward . {} {} {{\npolicy sequential\nread_timeout 60s\n}}",
            first.address, second.address
        ));
        assert_eq!(ask(&forward, Transport::Udp).await, expected, "{what}");
        assert!(first.seen().len() >= 2, "{what}");
    }
}

#[tokio::test]
async fn a_quick_failure_wins_no_race_and_no_preference() {
    for failover in ["", "failover SERVFAIL"] {
        let slow = FakeUpstream::late(1, Duration::from_millis(150)).await;
        let broken = FakeUpstream::refusing(Rcode::SERVFAIL).await;
        let forward = forward(&format!(
            "forward . {} {} {{\npolicy round_robin\n{PATIENT}\n{failover}\n}}",
            slow.address, broken.address
        ));
        // By then the hedge to the other has failed at once.
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{failover}");
        assert_eq!(broken.seen().len(), 1, "{failover}");
        let cost = |at: usize| {
            let upstreams = &forward.stanzas[0].upstreams.current().upstreams;
            upstreams[at].standing().cost
        };
        assert!(cost(1) > Some(0.4), "{failover}");
    }
}

#[tokio::test]
async fn a_query_that_is_lost_is_sent_again_also_to_the_only_upstream() {
    let upstream = FakeUpstream::start(|seen| match seen.nth {
        0 => vec![],
        _ => vec![Act::Say(seen.answer(1))],
    })
    .await;
    let forward = forward(&format!("forward . {} {{\n{PATIENT}\n}}", upstream.address));
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].from, seen[1].from, "from another port");
    assert_ne!(seen[0].id(), seen[1].id(), "under another id");
}

#[tokio::test]
async fn an_upstream_that_leaves_three_queries_unanswered_is_asked_after_the_others() {
    let silent = FakeUpstream::silent().await;
    let other = FakeUpstream::answering(2).await;
    let forward = forward(&format!(
        "forward . {} {} {{\npolicy round_robin\n{PATIENT}\n}}",
        silent.address, other.address
    ));
    for _ in 0..5 {
        assert_eq!(ask(&forward, Transport::Udp).await, good(2));
    }
    let [is_silent, is_other] =
        [0, 1].map(|at| forward.stanzas[0].upstreams.current().upstreams[at].standing());
    assert!(is_silent.is_unreliable);
    assert!(!is_other.is_unreliable);
    let before = silent.seen().len();
    for _ in 0..64 {
        assert_eq!(ask(&forward, Transport::Udp).await, good(2));
    }
    // But for trials, of which half go to it: more than ten of 64 come once in ten million runs.
    assert!(silent.seen().len() - before <= 10);
}

#[tokio::test]
async fn an_upstream_that_changes_the_case_of_names_is_found_out() {
    let upstream = FakeUpstream::start(|seen| {
        let mut reply = seen.answer(1);
        reply[12..].make_ascii_lowercase();
        vec![Act::Say(reply)]
    })
    .await;
    let forward = forward(&format!("forward . {} {{\n{PATIENT}\n}}", upstream.address));
    for (queries, asked) in [(1, 2), (2, 4), (3, 6), (4, 7), (5, 8)] {
        // Of 2^39 cases the one in which it is answered.
        let name = "a-name.of-very-many-letters.which-are-not-all-small.example.com";
        assert_eq!(
            ask_for(&forward, query(name, Transport::Udp)).await,
            good(1)
        );
        // Beside queries that wait for longer than the upstream's patience another may have gone out.
        let seen = upstream.seen().len();
        assert!(seen >= asked, "{seen} after {queries} queries");
    }
    let case = |seen: &Seen| seen.query().question.asked.wire().to_vec();
    let seen = upstream.seen();
    let [.., before, last] = &seen[..] else {
        panic!("asked for five times");
    };
    assert_eq!(case(before), case(last), "in the client's case");
}

#[tokio::test]
async fn the_genuine_answer_is_taken_behind_one_in_another_case() {
    let upstream = FakeUpstream::start(|seen| {
        let mut forged = seen.answer(66);
        forged[12..].make_ascii_lowercase();
        vec![Act::Say(forged), Act::Say(seen.answer(1))]
    })
    .await;
    let forward = forward(&format!("forward . {} {{\n{PATIENT}\n}}", upstream.address));
    for _ in 0..10 {
        let name = "a-name.of-very-many-letters.which-are-not-all-small.example.com";
        let answer = ask_for(&forward, query(name, Transport::Udp)).await;
        assert_eq!(answer, good(1));
    }
}

#[tokio::test]
async fn the_case_of_a_name_is_drawn_anew_for_each_query() {
    let upstream = FakeUpstream::answering(1).await;
    let forward = forward(&format!("forward . {}", upstream.address));
    for _ in 0..20 {
        assert_eq!(ask(&forward, Transport::Udp).await, good(1));
    }
    let seen = upstream.seen();
    let cases: HashSet<Vec<u8>> = seen
        .iter()
        .map(|seen| seen.query().question.asked.wire().to_vec())
        .collect();
    // Thirteen letters: twenty draws of 8,192.
    assert!(cases.len() >= 18, "{} cases", cases.len());
}

#[tokio::test]
async fn queries_that_are_alike_and_come_at_once_are_asked_once() {
    let upstream = FakeUpstream::answering(1).await;
    let (forward, told) = observed(&format!("forward . {} {{\n{PATIENT}\n}}", upstream.address));
    let asks = (0..100).map(|_| {
        let forward = forward.clone();
        async move {
            match forward.ask(&query("www.example.com", Transport::Udp)).await {
                Step::Reply(reply) => addresses(&reply),
                step => panic!("{step:?}"),
            }
        }
    });
    // In one task: all have asked before the first answer can be read.
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer, [1]);
    }
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(count(&told, "joined"), 99);
}
