//! What a client is told when upstreams fail, how often they are asked for it, and that nobody gets what another asked.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use cairn_dns::corefile::Memory;
use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::client::{self, PATIENCE};
use super::lie::Lie;
use super::{Liar, TRANSPORTS, Transport, forward, right, server, wire};
use crate::support::server::Server;

const CODES: [(u16, &str); 4] = [
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
];

/// The extended error and its text (RFC 8914 section 2).
const EXTENDED_ERROR: u16 = 15;

#[test]
fn a_storm_of_codes_is_passed_on_and_ends_with_the_storm() {
    let liar = Liar::start(1, Lie::Honest);
    let server = server(&forward(".", &[&liar], "policy sequential"));
    for (code, word) in CODES {
        for (lie, expected) in [(Lie::Code(code), Some(word)), (Lie::Honest, None)] {
            liar.now(lie);
            for transport in TRANSPORTS {
                for nth in 0..10 {
                    let name = format!("n{nth}.{word}.{transport:?}.test.");
                    let got = client::ask(server.address(), &name, transport);
                    let expected = expected.map_or_else(|| right(&liar, &name), str::to_owned);
                    assert_eq!(got, expected, "{word} over {transport:?}");
                }
            }
        }
    }
}

#[test]
fn failover_asks_another_upstream() {
    let storm = Liar::start(1, Lie::Honest);
    let second = Liar::start(2, Lie::Honest);
    let properties = "policy sequential\nfailover FORMERR SERVFAIL NOTIMP REFUSED";
    let server = server(&forward(".", &[&storm, &second], properties));
    for (code, word) in CODES {
        for transport in TRANSPORTS {
            let name = format!("{word}.{transport:?}.test.");
            storm.now(Lie::Code(code));
            second.now(Lie::Honest);
            let got = client::ask(server.address(), &name, transport);
            assert_eq!(got, right(&second, &name), "{word} over {transport:?}");
            second.now(Lie::Code(code));
            let got = client::ask(server.address(), &name, transport);
            assert_eq!(got, word, "from both over {transport:?}");
        }
    }
}

#[test]
fn a_storm_from_all_upstreams_is_not_answered_with_a_storm() {
    let liars = [1, 2, 3].map(|octet| Liar::start(octet, Lie::Code(2)));
    let properties = "failover SERVFAIL\nmax_connect_attempts 0";
    let server = server(&forward(".", &liars.each_ref(), properties));
    for nth in 0..20 {
        let name = format!("n{nth}.test.");
        assert_eq!(
            client::ask(server.address(), &name, Transport::Udp),
            "SERVFAIL"
        );
    }
    let asked: usize = liars.iter().map(Liar::count).sum();
    assert!(asked <= 20 * 5, "{asked} queries for 20 of clients");
}

#[test]
fn a_server_that_forwards_to_itself_says_so_to_the_client_and_goes_on() {
    let liar = Liar::start(1, Lie::Honest);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::support::program::free_port()));
    let corefile = format!(
        ".:{} {{\n bind 127.0.0.1\n cache\n forward loop.test {address} {{\n{}\n}}\n{}\n}}\n",
        address.port(),
        "read_timeout 300ms\nmax_connect_attempts 2",
        forward(".", &[&liar], "")
    );
    let _server = Server::start(&Memory::new().file("Corefile", corefile));
    std::thread::scope(|scope| {
        let loops = (0..20).map(|nth| {
            let name = format!("n{nth}.loop.test.");
            scope.spawn(move || client::ask(address, &name, Transport::Udp))
        });
        let loops: Vec<_> = loops.collect();
        for nth in 0..100 {
            let name = format!("n{nth}.test.");
            let got = client::ask(address, &name, Transport::Udp);
            assert_eq!(got, right(&liar, &name));
        }
        for looped in loops {
            assert_eq!(looped.join().unwrap(), "SERVFAIL");
        }
    });
}

/// Asks for one name from so many clients, each in a case of its own, and returns what they got, in lower case.
fn crowd(server: SocketAddr, name: &str, count: usize) -> Vec<String> {
    let queries: Vec<(UdpSocket, Vec<u8>)> = (0..count)
        .map(|nth| {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(server).unwrap();
            let letter = |(at, letter): (usize, char)| {
                if at < 16 && nth >> at & 1 == 1 {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            };
            let name: String = name.chars().enumerate().map(letter).collect();
            (socket, wire::query(nth as u16, &name))
        })
        .collect();
    for (socket, query) in &queries {
        socket.send(query).unwrap();
    }
    let reply = |(socket, query): &(UdpSocket, Vec<u8>)| {
        let mut reply = vec![0; 4096];
        let Ok(length) = socket.recv(&mut reply) else {
            return "no reply".to_owned();
        };
        assert_eq!(reply[..2], query[..2], "its id");
        assert_eq!(
            reply[12..query.len()],
            query[12..],
            "its question, in its case"
        );
        client::text(&Message::from_vec(&reply[..length]).unwrap())
    };
    queries.iter().map(reply).collect()
}

/// How often an upstream that takes 200 ms is asked what 500 clients ask at a time.
pub(super) fn asked_by_a_crowd() -> usize {
    let liar = Liar::start(1, Lie::Late(Duration::from_millis(200)));
    let server = server(&forward(".", &[&liar], ""));
    crowd(server.address(), CROWDED, CROWD);
    liar.count()
}

pub(super) const CROWD: usize = 500;
const CROWDED: &str = "abcdefghijklmnop.test.";

#[test]
fn all_who_ask_the_same_at_a_time_are_answered_in_their_own_case() {
    let liar = Liar::start(1, Lie::Late(Duration::from_millis(200)));
    let server = server(&forward(".", &[&liar], ""));
    let got = crowd(server.address(), CROWDED, CROWD);
    let expected = right(&liar, CROWDED);
    assert!(got.iter().all(|got| *got == expected), "{got:?}");
}

#[test]
fn what_many_ask_at_a_time_is_asked_once() {
    for (fact, lie, transport, attempts) in [
        ("late", Lie::Late(Duration::from_millis(200)), "", 1),
        (
            "late, over TCP",
            Lie::Late(Duration::from_millis(200)),
            "force_tcp",
            1,
        ),
        (
            "silent",
            Lie::Silent,
            "read_timeout 200ms\nmax_connect_attempts 2",
            2,
        ),
    ] {
        let liar = Liar::start(1, lie);
        let server = server(&forward(".", &[&liar], transport));
        let got = crowd(server.address(), CROWDED, CROWD);
        let expected = match lie {
            Lie::Silent => "SERVFAIL".to_owned(),
            _ => right(&liar, CROWDED),
        };
        assert!(got.iter().all(|got| *got == expected), "{fact}: {got:?}");
        // A hedge for each attempt, and one more for clients that come late on a busy machine.
        let (asked, max) = (liar.count(), 2 * attempts + 1);
        assert!(asked <= max, "{fact}: {asked} queries for {CROWD} clients");
    }
}

#[test]
fn a_client_that_leaves_takes_no_answer_from_those_who_ask_the_same() {
    let liar = Liar::start(1, Lie::Late(Duration::from_millis(200)));
    let server = server(&forward(".", &[&liar], ""));
    let address = server.address();
    for round in 0..3 {
        let name = format!("left-{round}.test.");
        let mut leaving = TcpStream::connect(address).unwrap();
        let query = wire::query(1, &name);
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        leaving.write_all(&framed).unwrap();
        let heard = || {
            liar.asked()
                .iter()
                .any(|asked| asked.name.eq_ignore_ascii_case(&name))
        };
        while !heard() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let staying = std::thread::scope(|scope| {
            let staying = scope.spawn(|| client::ask(address, &name, Transport::Tcp));
            drop(leaving);
            staying.join().unwrap()
        });
        assert_eq!(staying, right(&liar, &name), "round {round}");
    }
}

#[test]
fn answers_that_come_in_another_order_are_not_crossed() {
    let liar = Liar::start(1, Lie::Jittering);
    let second = Liar::start(2, Lie::Jittering);
    let zones = [
        ("one", &[&liar][..], ""),
        ("two", &[&liar, &second], ""),
        ("tcp", &[&liar, &second], "force_tcp"),
    ];
    let stanza = |(zone, liars, properties): (_, &[&Liar], _)| forward(zone, liars, properties);
    let server = server(&zones.map(stanza).concat());
    for (zone, liars, _) in zones {
        let names: Vec<String> = (0..500).map(|nth| format!("n{nth}.{zone}.")).collect();
        for outcome in client::steadily(server.address(), &names, 2000) {
            let mut liars = liars.iter();
            let is_right = liars.any(|liar| outcome.reply == right(liar, &outcome.name));
            assert!(is_right, "{outcome:?}");
        }
    }
    // All on one connection of the client's, where ids alone tell which is which.
    let names: Vec<String> = (0..100).map(|nth| format!("p{nth}.one.")).collect();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for (id, name) in names.iter().enumerate() {
        let query = wire::query(id as u16, name);
        let framed = [&(query.len() as u16).to_be_bytes()[..], &query].concat();
        stream.write_all(&framed).unwrap();
    }
    for _ in &names {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut reply = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut reply).unwrap();
        let reply = Message::from_vec(&reply).unwrap();
        let name = &names[usize::from(reply.metadata.id)];
        assert_eq!(reply.queries[0].name().to_ascii(), *name);
        assert_eq!(client::text(&reply), right(&liar, name), "{name}");
    }
}

#[test]
fn a_failure_says_which_upstream_and_why() {
    for (fact, lie, codes) in [
        ("silent", Lie::Silent, [22, 23]),
        ("refusing", Lie::Refusing, [22, 23]),
    ] {
        let liar = Liar::start(1, lie);
        let server = server(&forward(
            ".",
            &[&liar],
            "read_timeout 100ms\nmax_connect_attempts 2",
        ));
        for transport in TRANSPORTS {
            let query = wire::query_with_edns(9, "failed.test.");
            let reply = client::message(server.address(), &query, transport).unwrap();
            assert_eq!(client::text(&reply), "SERVFAIL", "{fact}");
            let edns = reply.edns.as_ref().unwrap();
            let Some(EdnsOption::Unknown(_, error)) = edns.option(EdnsCode::from(EXTENDED_ERROR))
            else {
                panic!("{fact} over {transport:?}: no extended error in {edns:?}");
            };
            let (code, text) = error.split_first_chunk::<2>().unwrap();
            let code = u16::from_be_bytes(*code);
            assert!(codes.contains(&code), "{fact} over {transport:?}: {code}");
            let text = String::from_utf8_lossy(text);
            let address = liar.address().to_string();
            assert!(text.contains(&address), "{fact} over {transport:?}: {text}");
        }
        let query = wire::query(9, "failed.test.");
        let reply = client::message(server.address(), &query, Transport::Udp).unwrap();
        assert!(
            reply.edns.is_none(),
            "{fact}: who does not speak EDNS hears none"
        );
    }
}
