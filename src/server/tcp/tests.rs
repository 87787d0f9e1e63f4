use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::connection::{WAITING_MAX, frame};
use super::*;
use crate::server::Config;
use crate::server::tests::{Fixture, PATIENCE, query, query_with, read, two_threads};

async fn connect(server: &Fixture) -> TcpStream {
    let address = (Ipv4Addr::LOCALHOST, server.port());
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
    stream.unwrap().unwrap()
}

/// Connects from an address of its own: 127.0.0.`last`.
async fn connect_from(server: &Fixture, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, 0, last);
    socket.bind((from, 0).into()).unwrap();
    let address = (Ipv4Addr::LOCALHOST, server.port()).into();
    let stream = timeout(PATIENCE, socket.connect(address)).await;
    stream.unwrap().unwrap()
}

/// Sends a query for this name and takes the reply.
async fn ask(stream: &mut TcpStream, name: &str) {
    stream.write_all(&framed_query(7, name)).await.unwrap();
    assert_eq!(next_id(stream).await, 7);
}

/// Waits until the server has told that a connection ended, and why, this many times.
async fn closings(server: &Fixture, count: usize) -> Vec<Closing> {
    let told = async {
        loop {
            let told = server.counts.closings.lock().unwrap().clone();
            if told.len() >= count {
                break told;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("told in time")
}

fn framed_query(id: u16, name: &str) -> Vec<u8> {
    let mut output = Vec::new();
    frame(&query(id, name), &mut output);
    output
}

/// The next reply, or `None` at the end of the stream.
async fn next(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let reply = timeout(PATIENCE, async {
        let length = stream.read_u16().await.ok()?;
        let mut reply = vec![0; usize::from(length)];
        stream.read_exact(&mut reply).await.ok()?;
        Some(reply)
    });
    reply.await.expect("a reply or an end in time")
}

async fn next_id(stream: &mut TcpStream) -> u16 {
    read(&next(stream).await.expect("a reply")).metadata.id
}

fn impatient() -> Config {
    let soon = Duration::from_millis(200);
    Config {
        timeouts: Timeouts {
            read: soon,
            write: soon,
            idle: soon,
        },
        ..two_threads()
    }
}

#[tokio::test]
async fn messages_are_answered_however_they_are_cut_into_segments() {
    let server = Fixture::start(two_threads());
    let all: Vec<u8> = (0..40)
        .flat_map(|id| framed_query(id, "www.example."))
        .collect();
    for (name, size) in [
        ("all at once", all.len()),
        ("an octet at a time", 1),
        ("in sevens", 7),
    ] {
        let mut stream = connect(&server).await;
        stream.set_nodelay(true).unwrap();
        for part in all.chunks(size) {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        for id in 0..40 {
            assert_eq!(next_id(&mut stream).await, id, "{name}");
        }
    }
}

#[tokio::test]
async fn what_gets_no_reply_leaves_the_connection_open() {
    let server = Fixture::start(two_threads());
    let mut stream = connect(&server).await;
    let mut output = vec![0, 0];
    frame(b"\x12", &mut output);
    frame(
        &query_with(1, 0x8000, [1, 0, 0, 0], "a.example.", &[]),
        &mut output,
    );
    frame(&query(2, "drop.example."), &mut output);
    frame(&query(3, "a.example."), &mut output);
    stream.write_all(&output).await.unwrap();
    assert_eq!(next_id(&mut stream).await, 3);
}

#[tokio::test]
async fn large_messages_go_through_in_both_directions() {
    let server = Fixture::start(two_threads());
    let mut stream = connect(&server).await;
    let padding = [
        &b"\0\0\x29\x04\xd0\0\0\0\0\xea\x64\0\x0c\xea\x60"[..],
        &[0; 60_000],
    ]
    .concat();
    let mut output = Vec::new();
    frame(
        &query_with(1, 0, [1, 0, 0, 1], "a.example.", &padding),
        &mut output,
    );
    for id in 2..10 {
        frame(&query(id, "big.example."), &mut output);
    }
    let (mut reader, mut writer) = stream.split();
    let write = async { writer.write_all(&output).await.unwrap() };
    let read_all = async {
        let mut lengths = Vec::new();
        for _ in 1..10 {
            let length = reader.read_u16().await.unwrap();
            reader
                .read_exact(&mut vec![0; usize::from(length)])
                .await
                .unwrap();
            lengths.push(length);
        }
        lengths
    };
    let ((), lengths) = timeout(PATIENCE, async { tokio::join!(write, read_all) })
        .await
        .unwrap();
    assert!(lengths.iter().all(|length| *length > 40_000), "{lengths:?}");
}

#[tokio::test]
async fn queries_that_wait_are_overtaken_by_those_that_need_not() {
    let server = Fixture::start(two_threads());
    let mut stream = connect(&server).await;
    let ids = ["wait.example.", "a.example.", "wait.example.", "b.example."];
    let all: Vec<u8> = (1..)
        .zip(ids)
        .flat_map(|(id, name)| framed_query(id, name))
        .collect();
    stream.write_all(&all).await.unwrap();
    assert_eq!(
        [next_id(&mut stream).await, next_id(&mut stream).await],
        [2, 4]
    );
    server.script.gate.add_permits(2);
    let late = BTreeSet::from([next_id(&mut stream).await, next_id(&mut stream).await]);
    assert_eq!(late, BTreeSet::from([1, 3]));
}

#[tokio::test]
async fn a_connection_with_too_many_waiting_is_read_on_when_one_has_its_answer() {
    let server = Fixture::start(two_threads());
    let mut stream = connect(&server).await;
    let count = WAITING_MAX as u16 + 10;
    let waiting: Vec<u8> = (0..count)
        .flat_map(|id| framed_query(id, "wait.example."))
        .collect();
    stream.write_all(&waiting).await.unwrap();
    stream
        .write_all(&framed_query(count, "a.example."))
        .await
        .unwrap();
    let mut ids = BTreeSet::new();
    for _ in 0..=count {
        server.script.gate.add_permits(1);
        ids.insert(next_id(&mut stream).await);
    }
    assert_eq!(ids, (0..=count).collect());
    assert_eq!(server.counts.overloads.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_what_it_asked_for() {
    let server = Fixture::start(two_threads());
    let mut stream = connect(&server).await;
    let asked = [
        framed_query(1, "wait.example."),
        framed_query(2, "a.example."),
    ]
    .concat();
    stream.write_all(&asked).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(next_id(&mut stream).await, 2);
    server.script.gate.add_permits(1);
    assert_eq!(next_id(&mut stream).await, 1);
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn a_client_that_says_nothing_more_is_closed() {
    let server = Fixture::start(impatient());
    for (name, sent, replies) in [
        ("nothing ever", vec![], 0),
        ("half a length", vec![0], 0),
        (
            "half a message",
            framed_query(1, "a.example.")[..20].to_vec(),
            0,
        ),
        ("a message", framed_query(1, "a.example."), 1),
        ("a length and silence", vec![0xff, 0xff], 0),
    ] {
        let mut stream = connect(&server).await;
        stream.write_all(&sent).await.unwrap();
        for _ in 0..replies {
            assert_eq!(next_id(&mut stream).await, 1, "{name}");
        }
        assert_eq!(next(&mut stream).await, None, "{name}");
    }
}

#[tokio::test]
async fn times_that_are_set_hold_for_clients_that_connect_then() {
    let server = Fixture::start(two_threads());
    server.serving.set_timeouts(impatient().timeouts);
    assert_eq!(next(&mut connect(&server).await).await, None);
}

#[tokio::test]
async fn a_message_in_drips_has_its_time_from_its_first_octet() {
    let server = Fixture::start(impatient());
    let mut stream = connect(&server).await;
    let drip = async {
        // Every octet comes in time; the message never does.
        while stream.write_all(&[0xff]).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, drip)
        .await
        .expect("closed while it drips");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let server = Fixture::start(impatient());
    let mut stream = connect(&server).await;
    let asked: Vec<u8> = (0..50)
        .flat_map(|id| framed_query(id, "big.example."))
        .collect();
    let pour = async { while stream.write_all(&asked).await.is_ok() {} };
    timeout(PATIENCE, pour)
        .await
        .expect("closed while it pours");
}

#[tokio::test]
async fn idle_connections_keep_nobody_from_an_answer() {
    let server = Fixture::start(two_threads());
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(connect(&server).await);
    }
    for stream in &mut idle[..100] {
        stream.write_all(&[0]).await.unwrap();
    }
    let mut stream = connect(&server).await;
    stream
        .write_all(&framed_query(1, "a.example."))
        .await
        .unwrap();
    assert_eq!(next_id(&mut stream).await, 1);
}

#[tokio::test]
async fn the_idlest_connection_makes_room_for_a_new_one() {
    let server = Fixture::start(Config {
        connections_max: 3,
        ..two_threads()
    });
    let [mut first, mut second, mut third] = [
        connect_from(&server, 1).await,
        connect_from(&server, 2).await,
        connect_from(&server, 3).await,
    ];
    for stream in [&mut first, &mut second, &mut third] {
        ask(stream, "a.example.").await;
        // So that no two have asked in the same millisecond.
        sleep(Duration::from_millis(5)).await;
    }
    ask(&mut first, "a.example.").await;
    let mut fourth = connect_from(&server, 4).await;
    ask(&mut fourth, "a.example.").await;
    assert_eq!(next(&mut second).await, None, "it asked before the others");
    for stream in [&mut first, &mut third, &mut fourth] {
        ask(stream, "a.example.").await;
    }
    assert_eq!(closings(&server, 1).await, [Closing::Room]);
}

#[tokio::test]
async fn connections_that_wait_for_an_answer_keep_their_places() {
    let server = Fixture::start(Config {
        connections_max: 2,
        ..two_threads()
    });
    let mut first = connect_from(&server, 1).await;
    let mut second = connect_from(&server, 2).await;
    for stream in [&mut first, &mut second] {
        let both = [
            framed_query(1, "wait.example."),
            framed_query(2, "a.example."),
        ];
        stream.write_all(&both.concat()).await.unwrap();
        assert_eq!(next_id(stream).await, 2);
    }
    let mut third = connect_from(&server, 3).await;
    third
        .write_all(&framed_query(3, "a.example."))
        .await
        .unwrap();
    ask(&mut first, "a.example.").await;
    let nothing = third.try_read(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    server.script.gate.add_permits(2);
    for stream in [&mut first, &mut second] {
        assert_eq!(next_id(stream).await, 1);
    }
    assert_eq!(next_id(&mut third).await, 3, "now there is an idle one");
}

#[tokio::test]
async fn a_client_that_has_its_share_is_turned_away_and_others_are_not() {
    let server = Fixture::start(Config {
        connections_max: 8,
        ..two_threads()
    });
    let mut one = connect_from(&server, 1).await;
    let mut two = connect_from(&server, 1).await;
    ask(&mut one, "a.example.").await;
    ask(&mut two, "a.example.").await;
    let mut three = connect_from(&server, 1).await;
    assert_eq!(next(&mut three).await, None);
    ask(&mut connect_from(&server, 2).await, "a.example.").await;
    ask(&mut one, "a.example.").await;
    assert_eq!(closings(&server, 1).await[0], Closing::ClientLimit);
    drop(two);
    closings(&server, 3).await;
    ask(&mut connect_from(&server, 1).await, "a.example.").await;
}

#[tokio::test]
async fn a_client_that_asks_how_long_it_may_be_idle_is_told() {
    const KEEPALIVE: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0";
    const TOLD: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0b\0\x02\x01\x2c";
    let mut config = two_threads();
    config.timeouts.idle = Duration::from_secs(30);
    let server = Fixture::start(config);
    let mut stream = connect(&server).await;
    server.script.gate.add_permits(1);
    for (name, asked) in [("known", "a.example."), ("waited for", "wait.example.")] {
        let mut output = Vec::new();
        frame(
            &query_with(1, 0, [1, 0, 0, 1], asked, KEEPALIVE),
            &mut output,
        );
        stream.write_all(&output).await.unwrap();
        let reply = next(&mut stream).await.unwrap();
        assert!(reply.ends_with(TOLD), "{name}: {reply:02x?}");
    }
    let packet = query_with(1, 0, [1, 0, 0, 1], "a.example.", KEEPALIVE);
    let reply = crate::server::tests::ask(&server.client(), &packet);
    assert!(
        reply.ends_with(KEEPALIVE),
        "over UDP there is nothing to say: {reply:02x?}"
    );
}

#[tokio::test]
async fn connections_hold_no_more_than_a_share_of_what_all_may() {
    let server = Fixture::start(two_threads());
    let half = [&[0xff, 0xff][..], &[0; 60_000]].concat();
    let mut streams = Vec::new();
    // Of 8 MiB that one client may have held.
    for _ in 0..150 {
        let mut stream = connect_from(&server, 1).await;
        stream.write_all(&half).await.unwrap();
        streams.push(stream);
    }
    assert_eq!(closings(&server, 1).await[0], Closing::Memory);
    let mut other = connect_from(&server, 2).await;
    let message = query_with(1, 0x0100, [1, 0, 0, 0], "a.example.", &[0; 60_000]);
    let mut output = Vec::new();
    frame(&message, &mut output);
    other.write_all(&output).await.unwrap();
    assert_eq!(next_id(&mut other).await, 1);
}

#[tokio::test]
async fn why_a_connection_has_ended_is_told() {
    let server = Fixture::start(impatient());
    let half = framed_query(1, "a.example.")[..20].to_vec();
    let pour: Vec<u8> = (0..2000)
        .flat_map(|id| framed_query(id, "big.example."))
        .collect();
    for (why, sent) in [
        (Closing::Idle, vec![]),
        (Closing::SlowQuery, half),
        (Closing::SlowReader, pour),
    ] {
        let before = server.counts.closings.lock().unwrap().len();
        let mut stream = connect(&server).await;
        let _ = stream.write_all(&sent).await;
        assert_eq!(closings(&server, before + 1).await[before], why);
    }
    let before = server.counts.closings.lock().unwrap().len();
    drop(connect(&server).await);
    assert_eq!(closings(&server, before + 1).await[before], Closing::Client);
}

#[tokio::test]
async fn once_the_listener_leaves_clients_are_asked_to_go_and_idle_ones_are_parted_from() {
    const EDNS: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    const GO: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0b\0\x02\0\0";
    let server = Fixture::start(two_threads());
    let (mut idle, mut asking) = (connect(&server).await, connect(&server).await);
    ask(&mut idle, "a.example.").await;
    server.serving.leave();
    for tail in [EDNS, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0b\0\0"] {
        let mut output = Vec::new();
        let packet = query_with(1, 0, [1, 0, 0, 1], "a.example.", tail);
        frame(&packet, &mut output);
        asking.write_all(&output).await.unwrap();
        // What was sent before it was told may be answered before it is told.
        let reply = next(&mut asking).await.unwrap();
        assert!(reply.ends_with(GO), "{reply:02x?}");
    }
    assert_eq!(next(&mut idle).await, None, "an end, and in good order");
    assert_eq!(closings(&server, 1).await[0], Closing::Shutdown);
    // It has said nothing for less than the other, and others may still come.
    ask(&mut connect(&server).await, "a.example.").await;
}
