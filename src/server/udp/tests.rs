use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;

use super::*;
use crate::server::Config;
use crate::server::tests::{Fixture, PATIENCE, ask, query, query_with, read, two_threads};

/// The address that whoami saw.
fn seen(reply: &[u8]) -> IpAddr {
    match read(reply).additionals[0].data {
        RData::A(ref a) => IpAddr::V4(a.0),
        RData::AAAA(ref aaaa) => IpAddr::V6(aaaa.0),
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_query_is_answered_by_whichever_thread_gets_it() {
    let server = Fixture::start(two_threads());
    for id in 0..32 {
        let client = server.client();
        let reply = ask(&client, &query(id, "WWW.example."));
        assert_eq!(
            (read(&reply).metadata.id, seen(&reply)),
            (id, Ipv4Addr::LOCALHOST.into())
        );
    }
}

#[tokio::test]
async fn every_datagram_of_a_burst_is_answered_to_the_client_that_sent_it() {
    let server = Fixture::start(two_threads());
    let clients: Vec<UdpSocket> = (0..8).map(|_| server.client()).collect();
    for id in 0..100 {
        for (at, client) in (0..).zip(&clients) {
            client.send(&query(id * 8 + at, "www.example.")).unwrap();
        }
    }
    for (at, client) in (0..).zip(&clients) {
        let mut reply = [0; 512];
        let ids: BTreeSet<u16> = (0..100)
            .map(|_| {
                let len = client.recv(&mut reply).unwrap();
                read(&reply[..len]).metadata.id
            })
            .collect();
        assert_eq!(ids, (0..100).map(|id| id * 8 + at).collect(), "client {at}");
    }
}

#[tokio::test]
async fn what_gets_no_reply_does_not_delay_or_mix_up_what_does() {
    let server = Fixture::start(two_threads());
    let client = server.client();
    for packet in [
        &b""[..],
        &b"\0"[..],
        &query_with(1, 0x8000, [1, 0, 0, 0], "a.example.", &[]),
        &query(2, "drop.example."),
    ] {
        client.send(packet).unwrap();
    }
    assert_eq!(read(&ask(&client, &query(3, "a.example."))).metadata.id, 3);
}

#[tokio::test]
async fn a_datagram_over_512_octets_is_cut_and_so_malformed() {
    let server = Fixture::start(two_threads());
    let padding = [
        &b"\0\0\x29\x04\xd0\0\0\0\0\x02\x04\0\x0c\x02\0"[..],
        &[0; 512],
    ]
    .concat();
    let packet = query_with(9, 0, [1, 0, 0, 1], "a.example.", &padding);
    let reply = read(&ask(&server.client(), &packet));
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_truncated_to_what_the_client_takes() {
    let server = Fixture::start(two_threads());
    let reply = ask(&server.client(), &query(9, "big.example."));
    assert!(reply.len() <= 512);
    assert!(read(&reply).metadata.truncation);
}

#[tokio::test]
async fn queries_that_wait_hold_up_nobody_and_are_bounded() {
    let config = Config {
        waiting_max: 10,
        ..two_threads()
    };
    let server = Fixture::start(config);
    let client = server.client();
    for id in 0..10 {
        client.send(&query(id, "wait.example.")).unwrap();
    }
    // One client's datagrams are read in their order by one thread.
    let reply = read(&ask(&client, &query(10, "wait.example.")));
    assert_eq!(
        (reply.metadata.id, reply.metadata.response_code),
        (10, ResponseCode::ServFail)
    );
    assert_eq!(*server.counts.overloads.lock().unwrap(), [Overload::Full]);
    assert_eq!(
        read(&ask(&client, &query(11, "a.example."))).metadata.id,
        11
    );
    server.script.gate.add_permits(10);
    let finished = tokio::task::spawn_blocking(move || {
        let mut reply = [0; 512];
        (0..10)
            .map(|_| {
                let len = client.recv(&mut reply).unwrap();
                read(&reply[..len]).metadata.id
            })
            .collect::<BTreeSet<u16>>()
    });
    assert_eq!(finished.await.unwrap(), (0..10).collect());
}

#[tokio::test]
async fn when_all_places_are_taken_a_flood_makes_room_for_others_and_is_told() {
    let config = Config {
        waiting_max: 10,
        ..two_threads()
    };
    let server = Fixture::start(config);
    let (flood, calm) = (
        server.client(),
        server.client_at(Ipv4Addr::new(127, 0, 0, 2)),
    );
    for id in 0..10 {
        flood.send(&query(id, "wait.example.")).unwrap();
    }
    // Behind the others at the same thread, so that they wait when it is answered.
    ask(&flood, &query(10, "a.example."));
    let mut reply = [0; 512];
    for id in 0..2 {
        calm.send(&query(100 + id, "wait.example.")).unwrap();
        let len = flood.recv(&mut reply).unwrap();
        let told = read(&reply[..len]).metadata;
        assert_eq!(
            (told.id, told.response_code),
            (id, ResponseCode::ServFail),
            "the oldest"
        );
    }
    assert_eq!(
        *server.counts.overloads.lock().unwrap(),
        [Overload::Displaced; 2]
    );
    server.script.gate.add_permits(10);
    let finished = tokio::task::spawn_blocking(move || {
        let ids = |client: UdpSocket, count| -> BTreeSet<u16> {
            let mut reply = [0; 512];
            let received = (0..count).map(|_| {
                let len = client.recv(&mut reply).unwrap();
                let metadata = read(&reply[..len]).metadata;
                assert_eq!(metadata.response_code, ResponseCode::NoError);
                metadata.id
            });
            received.collect()
        };
        (ids(calm, 2), ids(flood, 8))
    });
    let expected = ((100..102).collect(), (2..10).collect());
    assert_eq!(finished.await.unwrap(), expected);
}

#[tokio::test]
async fn a_wildcard_socket_replies_from_the_address_that_was_asked() {
    let v4 = |d| IpAddr::V4(Ipv4Addr::new(127, 0, 0, d));
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (name, bound, asked) in [
        (
            "0.0.0.0 asked by another address",
            Ipv4Addr::UNSPECIFIED.into(),
            v4(2),
        ),
        ("[::] asked over IPv4", Ipv6Addr::UNSPECIFIED.into(), v4(3)),
        ("[::] asked over IPv6", Ipv6Addr::UNSPECIFIED.into(), v6),
        ("[::1]", v6, v6),
    ] {
        let server = Fixture::start_at(SocketAddr::new(bound, 0), two_threads());
        let from: IpAddr = if asked.is_ipv4() { v4(1) } else { v6 };
        let client = UdpSocket::bind((from, 0)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let server_address = SocketAddr::new(asked, server.port());
        for label in ["a", "wait"] {
            server.script.gate.add_permits(1);
            client
                .send_to(&query(1, &format!("{label}.example.")), server_address)
                .unwrap();
            let client = client.try_clone().unwrap();
            let received = tokio::task::spawn_blocking(move || {
                let mut reply = [0; 512];
                let (len, from) = client.recv_from(&mut reply).unwrap();
                (reply[..len].to_vec(), from)
            });
            let (reply, replied_from) = received.await.unwrap();
            assert_eq!(replied_from, server_address, "{name}, {label}");
            if label == "a" {
                assert_eq!(seen(&reply), from, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_socket_that_is_woken_still_gives_what_is_queued_and_then_ends() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    client
        .send_to(b"queued", socket.local_addr().unwrap())
        .unwrap();
    batch::wake(&socket);
    let mut batch = Batch::new(4, false);
    assert_eq!(batch.receive(&socket, true).unwrap(), 1);
    assert_eq!(batch.packet(0), b"queued");
    assert_eq!(batch.peer(0).client(), Some(client.local_addr().unwrap()));
    assert_eq!(batch.receive(&socket, true).unwrap(), 1, "woken");
    assert_eq!(batch.peer(0).client(), None);
    assert!(batch.receive(&socket, false).is_err());
}
