use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::chain::Chain;
use crate::dns::Transport;
use crate::plugin::Plugin;
use crate::server::tests::{Fixture, PATIENCE, ask, query, query_with, read, two_threads};

#[test]
fn port_0_becomes_one_port_for_all_sockets_and_no_two_listeners_share_it() {
    let listeners: Vec<Listener> = (0..20)
        .map(|_| Listener::bind(localhost(), two_threads()).unwrap())
        .collect();
    let mut ports: Vec<u16> = listeners
        .iter()
        .map(|listener| listener.local_address().port())
        .collect();
    for (listener, port) in listeners.iter().zip(&ports) {
        let tcp = listener.sockets.tcp.local_addr().unwrap().port();
        let udp = listener
            .sockets
            .udp
            .iter()
            .map(|socket| socket.local_addr().unwrap().port());
        assert_eq!(udp.chain([tcp]).collect::<Vec<_>>(), [*port; 3]);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 20);
}

#[test]
fn an_address_that_is_not_ours_or_taken_is_an_error() {
    let taken = std::net::TcpListener::bind(localhost()).unwrap();
    for (name, address, transport, expected) in [
        (
            "not ours",
            "192.0.2.1:0".parse().unwrap(),
            Transport::Udp,
            io::ErrorKind::AddrNotAvailable,
        ),
        (
            "taken for TCP",
            taken.local_addr().unwrap(),
            Transport::Tcp,
            io::ErrorKind::AddrInUse,
        ),
    ] {
        let Err(ListenError::Bind(error)) = Listener::bind(address, two_threads()) else {
            panic!("{name}");
        };
        let told = (error.transport, error.source.kind());
        assert_eq!(told, (transport, expected), "{name}");
        assert_eq!(error.address, address, "{name}");
    }
}

#[tokio::test]
async fn queries_before_serving_are_answered_when_it_begins() {
    let listener = Listener::bind(localhost(), two_threads()).unwrap();
    let client = UdpSocket::bind(localhost()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(listener.local_address()).unwrap();
    client.send(&query(1, "a.example.")).unwrap();
    let empty = Arc::new(Router::default());
    let _serving = listener
        .serve(empty, Arc::new(()), &Handle::current())
        .unwrap();
    let mut reply = [0; 512];
    let len = client.recv(&mut reply).unwrap();
    assert_eq!(
        read(&reply[..len]).metadata.response_code,
        ResponseCode::Refused
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_swapped_under_load_loses_no_query() {
    let server = Fixture::start(two_threads());
    let (stop, rounds) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, rounds) = (server.client(), stop.clone(), rounds.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let reply = read(&ask(&client, &query(1, "a.example.")));
                    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    while rounds.load(Ordering::Relaxed) < 2000
        && !clients.iter().any(|client| client.is_finished())
    {
        let chain = Arc::new(Chain::new(vec![Plugin::Whoami]));
        let zones = [("example.".parse().unwrap(), chain)];
        server
            .serving
            .set_router(Arc::new(Router::new(zones, false)));
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_answers_what_was_taken_and_then_nobody() {
    let server = Fixture::start(two_threads());
    let address = server.serving.local_address();
    let client = server.client();
    client.send(&query(1, "wait.example.")).unwrap();
    assert_eq!(read(&ask(&client, &query(2, "a.example."))).metadata.id, 2);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let framed = |id, name| {
        let packet = query(id, name);
        [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()
    };
    stream.write_all(&framed(3, "wait.example.")).await.unwrap();
    stream.write_all(&framed(4, "none.example.")).await.unwrap();
    let mut reply = [0; 512];
    let len = usize::from(stream.read_u16().await.unwrap());
    stream.read_exact(&mut reply[..len]).await.unwrap();
    assert_eq!(read(&reply[..len]).metadata.id, 4);

    let drained = tokio::spawn(server.serving.drain(PATIENCE));
    server.script.gate.add_permits(2);
    assert_eq!(drained.await.unwrap(), 0);
    let len = client.recv(&mut reply).unwrap();
    assert_eq!(read(&reply[..len]).metadata.id, 1, "over UDP");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(read(&rest[2..]).metadata.id, 3, "over TCP");
    assert!(TcpStream::connect(address).await.is_err());
    assert!(Listener::bind(address, two_threads()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_with_nothing_lost_though_something_always_waits() {
    let server = Fixture::start(two_threads());
    let client = server.client();
    client.send(&query(0, "wait.example.")).unwrap();
    assert_eq!(read(&ask(&client, &query(1, "a.example."))).metadata.id, 1);
    let gate = server.script.clone();
    let drained = tokio::spawn(server.serving.drain(PATIENCE));
    // One more comes before one goes, until nobody listens and none is left.
    while !drained.is_finished() {
        let _ = client.send(&query(2, "wait.example."));
        tokio::time::sleep(Duration::from_millis(5)).await;
        gate.gate.add_permits(1);
    }
    assert_eq!(drained.await.unwrap(), 0);
}

#[tokio::test]
async fn draining_gives_up_what_is_not_done_in_time_says_so_and_how_much_that_is() {
    let server = Fixture::start(two_threads());
    let client = server.client();
    for id in 0..3 {
        client.send(&query(id, "wait.example.")).unwrap();
    }
    assert_eq!(read(&ask(&client, &query(3, "a.example."))).metadata.id, 3);
    let mut stream = TcpStream::connect(server.serving.local_address())
        .await
        .unwrap();
    let packet = query(4, "wait.example.");
    stream.write_u16(packet.len() as u16).await.unwrap();
    stream.write_all(&packet).await.unwrap();
    while server.serving.service.waiting.present() < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.serving.drain(Duration::from_millis(20)).await, 4);
    let mut replies = Vec::new();
    let mut reply = vec![0; 512];
    for _ in 0..3 {
        let len = client.recv(&mut reply).unwrap();
        replies.push(read(&reply[..len]).metadata);
    }
    let len = usize::from(stream.read_u16().await.unwrap());
    stream.read_exact(&mut reply[..len]).await.unwrap();
    replies.push(read(&reply[..len]).metadata);
    let codes: Vec<_> = replies
        .iter()
        .map(|reply| (reply.id, reply.response_code))
        .collect();
    assert_eq!(codes, [0, 1, 2, 4].map(|id| (id, ResponseCode::ServFail)));
}

#[tokio::test]
async fn every_wildcard_takes_its_family_over_tcp_and_the_ipv6_one_takes_both() {
    for (name, bound, asked) in [
        ("0.0.0.0", "0.0.0.0:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("[::] over IPv4", "[::]:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("[::] over IPv6", "[::]:0", IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ] {
        let server = Fixture::start_at(bound.parse().unwrap(), two_threads());
        let mut stream = TcpStream::connect((asked, server.port())).await.unwrap();
        let packet = query(1, "a.example.");
        stream.write_u16(packet.len() as u16).await.unwrap();
        stream.write_all(&packet).await.unwrap();
        let mut reply = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut reply).await.unwrap();
        let seen = read(&reply).additionals[0].data.ip_addr();
        assert_eq!(seen, Some(asked), "{name}: as whoami sees the client");
    }
}

fn localhost() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

#[tokio::test]
async fn a_drain_answers_all_that_a_connection_has_sent() {
    const QUERIES: u16 = 200;
    let fixture = Fixture::start(two_threads());
    let address = (std::net::Ipv4Addr::LOCALHOST, fixture.port());
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut pipeline = Vec::new();
    for id in 0..QUERIES {
        let query = query(id, "wait.example.");
        pipeline.extend((query.len() as u16).to_be_bytes());
        pipeline.extend(query);
    }
    client.write_all(&pipeline).await.unwrap();
    while fixture.serving.service.waiting.present() == 0 {
        tokio::task::yield_now().await;
    }
    let script = fixture.script.clone();
    let drain = tokio::spawn(fixture.serving.drain(Duration::from_secs(20)));
    tokio::task::yield_now().await;
    script.gate.add_permits(QUERIES.into());
    for _ in 0..QUERIES {
        let length = client.read_u16().await.unwrap();
        let mut reply = vec![0; length.into()];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[3] & 15, 0, "no query is refused because others end");
    }
    drop(client);
    assert_eq!(drain.await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_ends_answers_to_the_end_what_is_known_and_says_why_it_does_not_wait() {
    const EDNS: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let server = Fixture::start(two_threads());
    let (client, counts, script) = (
        server.client(),
        server.counts.clone(),
        server.script.clone(),
    );
    client.send(&query(0, "wait.example.")).unwrap();
    assert_eq!(read(&ask(&client, &query(1, "a.example."))).metadata.id, 1);
    let drained = tokio::spawn(server.serving.drain(PATIENCE));
    let refused = tokio::task::spawn_blocking(move || {
        client
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let mut reply = [0; 512];
        // Until it is refused to wait, each waits.
        let mut waiting = 1;
        let refused = loop {
            let packet = query_with(2, 0, [1, 0, 0, 1], "wait.example.", EDNS);
            client.send(&packet).unwrap();
            match client.recv(&mut reply) {
                Ok(len) => break read(&reply[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => waiting += 1,
                Err(error) => panic!("it was never refused to wait: {error}"),
            }
        };
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let known = read(&ask(&client, &query(3, "a.example.")));
        script.gate.add_permits(waiting);
        for _ in 0..waiting {
            let len = client.recv(&mut reply).unwrap();
            let code = read(&reply[..len]).metadata.response_code;
            assert_eq!(
                code,
                ResponseCode::NoError,
                "those before have waited for it"
            );
        }
        (refused, known)
    });
    let (refused, known) = refused.await.unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::ServFail);
    let told = format!("{:?}", refused.edns);
    let not_ready = [[0, 14].as_slice(), b"this server is leaving"].concat();
    assert!(told.contains(&format!("{not_ready:?}")), "{told}");
    assert_eq!(
        (known.metadata.id, known.metadata.response_code),
        (3, ResponseCode::NoError)
    );
    assert_eq!(drained.await.unwrap(), 0);
    assert_eq!(
        counts.overloads.lock().unwrap().len(),
        0,
        "it is no overload"
    );
}

/// The kernel tells a client that it is connected before anybody has accepted it.
#[tokio::test(flavor = "multi_thread")]
async fn connections_in_the_backlog_of_a_listener_that_ends_are_answered() {
    const CLIENTS: usize = 20;
    let server = Fixture::start(two_threads());
    let door = Door {
        service: server.serving.service.clone(),
        timeouts: server.serving.timeouts.subscribe(),
        places: server.serving.places.clone(),
    };
    let listener = tokio::net::TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let packet = query(9, "a.example.");
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_u16(packet.len() as u16).await.unwrap();
        client.write_all(&packet).await.unwrap();
        clients.push(client);
    }
    let (open, closing) = oneshot::channel();
    drop(open);
    door.accept(listener, closing).await;
    for mut client in clients {
        let mut reply = vec![0; usize::from(client.read_u16().await.unwrap())];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(read(&reply).metadata.id, 9);
    }
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nobody else is let in"
    );
}
