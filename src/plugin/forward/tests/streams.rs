//! What becomes of streams that lie unused.

use super::*;

/// Streams that lie unused.
const STREAMS: usize = 3;

#[tokio::test]
async fn streams_that_lie_beside_one_that_is_dead_are_not_tried() {
    let streams = Mutex::new(HashSet::new());
    let upstream = FakeUpstream::start(move |seen| {
        let mut streams = streams.lock().unwrap();
        let is_dead = streams.contains(&seen.from);
        if streams.len() < STREAMS {
            streams.insert(seen.from);
        }
        match is_dead {
            true => vec![],
            false => vec![Act::Say(seen.answer(1))],
        }
    })
    .await;
    let forward = forward(&format!(
        "forward . {} {{\nread_timeout 500ms\nmax_connect_attempts 1\nmax_fails 0\n}}",
        upstream.address
    ));
    spend_hedges(&forward);
    let mut asking = tokio::task::JoinSet::new();
    for name in 0..STREAMS {
        let forward = forward.clone();
        let query = query(&format!("name-{name}.example.com"), Transport::Tcp);
        asking.spawn(async move { ask_for(&forward, query).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), good(1));
    }
    let ports: HashSet<SocketAddr> = upstream.seen().iter().map(|seen| seen.from).collect();
    assert_eq!(ports.len(), STREAMS, "a stream for each");
    let lost = ask(&forward, Transport::Tcp).await;
    assert!(lost.is_err(), "on a stream that is dead: {lost:?}");
    assert_eq!(ask(&forward, Transport::Tcp).await, good(1), "on a new one");
}
