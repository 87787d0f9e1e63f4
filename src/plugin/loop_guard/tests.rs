use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::sleep;

use super::probing::own;
use super::*;
use crate::dns::{Class, Question, Rcode, Reply, Transport, encode};
use crate::plugin::case;

/// What a guard told: the loops that it found, and `None` for each that is gone.
type Told = Arc<Mutex<Vec<Option<Loop>>>>;

/// Octets of a probe.
const PACKET_MAX: usize = 512;

/// A guard of this zone; names under `elsewhere.` go another way than the probe.
fn guard(zone: &str) -> (LoopGuard, Told) {
    let told = Told::default();
    let config = Config {
        zone: zone.parse().unwrap(),
        is_fatal: false,
    };
    let tell = {
        let told = told.clone();
        move |news: News<'_>| {
            told.lock().unwrap().push(match news {
                News::Found(found) => Some(found.clone()),
                News::Gone => None,
            });
        }
    };
    let elsewhere: Name = "elsewhere.".parse().unwrap();
    let goes_with = move |_: &Name, name: &Name| !name.is_within(&elsewhere);
    let address = ":1053".to_owned();
    let guard = LoopGuard::new(config, address, Box::new(goes_with), Box::new(tell));
    (guard, told)
}

fn query(name: Name, rtype: Type) -> Query {
    let mut query = Query::empty();
    query.client = "127.0.0.1:55953".parse().unwrap();
    query.question = Question::new(name, rtype, Class::IN);
    query
}

fn is_refused(step: &Step) -> bool {
    matches!(
        step,
        Step::Fail(Failure {
            reason: Reason::Looping(_),
            ..
        })
    )
}

#[test]
fn the_third_probe_that_comes_in_is_a_loop_told_once_and_goes_no_further() {
    let (guard, told) = guard("example.org.");
    let probe = query(guard.round().probe.unwrap(), Type::HINFO);
    for (time, expected) in [(1, 0), (2, 0), (3, 1), (4, 1)] {
        let step = guard.down(&probe);
        assert_eq!(told.lock().unwrap().len(), expected, "time {time}");
        assert_eq!(is_refused(&step), expected == 1, "time {time}");
    }
}

#[test]
fn while_there_is_a_loop_what_goes_the_way_of_the_probe_is_refused_and_nothing_else() {
    let (guard, _) = guard(".");
    let name = |text: &str| query(text.parse().unwrap(), Type::A);
    let probe = query(guard.round().probe.unwrap(), Type::HINFO);
    for (looping, asked, expected) in [
        (false, "www.example.com.", false),
        (true, "www.example.com.", true),
        (true, "www.elsewhere.", false),
    ] {
        while looping && guard.state() != State::Looping {
            guard.down(&probe);
        }
        let refused = is_refused(&guard.down(&name(asked)));
        assert_eq!(refused, expected, "{asked} {looping}");
    }
}

/// Where the queries go that a server forwards.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Nowhere.
    Lost,
    /// Back to the server, which is told what it says itself.
    Back,
    /// To one who answers with this code.
    Answered(Rcode),
}

/// A server that forwards what the guard lets through. Says how many probes it was sent.
async fn serve(socket: &UdpSocket, guard: &LoopGuard, way: &Mutex<Way>, probes: &Mutex<u32>) {
    let mut packet = [0; PACKET_MAX];
    loop {
        let (length, client) = socket.recv_from(&mut packet).await.unwrap();
        *probes.lock().unwrap() += 1;
        let mut query = Query::empty();
        query.parse(&packet[..length], Transport::Udp).unwrap();
        query.client = client;
        let way = *way.lock().unwrap();
        let mut is_let_through = !is_refused(&guard.down(&query));
        while is_let_through && way == Way::Back {
            is_let_through = !is_refused(&guard.down(&query));
        }
        let rcode = match way {
            _ if !is_let_through => Rcode::SERVFAIL,
            Way::Answered(rcode) => rcode,
            Way::Lost | Way::Back => continue,
        };
        let reply = Reply::new(&mut query, rcode);
        let mut out = Vec::new();
        encode::reply(&query, &reply, &mut out);
        socket.send_to(&out, client).await.unwrap();
    }
}

/// The clock stands still but for what waits on it, so that hours of probes take no time.
#[tokio::test(start_paused = true)]
async fn what_becomes_of_probes_decides_whether_names_are_forwarded() {
    use State::*;
    use Way::*;
    const HOUR: Duration = Duration::from_secs(3600);
    for (name, ways, expected) in [
        (
            "answered",
            &[(Answered(Rcode::NXDOMAIN), Aside)][..],
            &[][..],
        ),
        ("nobody there", &[(Lost, Watching)], &[]),
        (
            "an upstream that is away",
            &[(Answered(Rcode::SERVFAIL), Watching)],
            &[],
        ),
        (
            "away, then there",
            &[(Lost, Watching), (Answered(Rcode::NOERROR), Aside)],
            &[],
        ),
        (
            "away, then back here",
            &[(Answered(Rcode::SERVFAIL), Watching), (Back, Looping)],
            &[true],
        ),
        (
            "mended",
            &[(Back, Looping), (Answered(Rcode::NXDOMAIN), Aside)],
            &[true, false],
        ),
        (
            "so busy that nothing is forwarded",
            &[(Answered(Rcode::REFUSED), Watching), (Back, Looping)],
            &[true],
        ),
        (
            "gone, and a loop again",
            &[(Back, Looping), (Lost, Watching), (Back, Looping)],
            &[true, false, true],
        ),
    ] {
        let (guard, told) = guard(".");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = socket.local_addr().unwrap();
        let (way, probes) = (Mutex::new(Lost), Mutex::new(0));
        let acts = async {
            for (next, state) in ways {
                *way.lock().unwrap() = *next;
                *probes.lock().unwrap() = 0;
                // Within a minute, and then for good.
                for after in [Duration::from_secs(60), HOUR] {
                    sleep(after).await;
                    assert_eq!(guard.state(), *state, "{name} after {after:?}");
                }
                let count = *probes.lock().unwrap();
                assert!(count <= 600, "{name}: {count} probes in an hour");
            }
        };
        tokio::select! {
            () = async { guard.probe(server).await; std::future::pending().await } => {}
            () = serve(&socket, &guard, &way, &probes) => {}
            () = acts => {}
        }
        let told: Vec<bool> = told.lock().unwrap().iter().map(Option::is_some).collect();
        assert_eq!(told, expected, "{name}");
    }
}

#[test]
fn other_queries_are_not_counted() {
    let (guard, told) = guard(".");
    let probe = guard.round().probe.unwrap();
    for _ in 0..5 {
        guard.down(&query(probe, Type::A));
        guard.down(&query(Name::root(), Type::HINFO));
    }
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn a_loop_is_told_in_coredns_s_words() {
    let told = Loop {
        from: "127.0.0.1:55953".parse().unwrap(),
        to: ":1053".to_owned(),
        zone: Name::root(),
        probe: "4547991504243258144.3688648895315093531.".parse().unwrap(),
    };
    let expected = "Loop (127.0.0.1:55953 -> :1053) detected for zone \".\", see \
        https://coredns.io/plugins/loop#troubleshooting. \
        Query: \"HINFO 4547991504243258144.3688648895315093531.\"";
    assert_eq!(told.to_string(), expected);
}

#[test]
fn a_zone_without_room_for_a_probe_is_not_guarded() {
    let zone = vec!["a".repeat(49); 5].join(".");
    let (guard, told) = guard(&zone);
    assert_eq!(guard.state(), State::Aside);
    for _ in 0..5 {
        guard.down(&query(zone.parse().unwrap(), Type::HINFO));
    }
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn it_takes_one_word_and_stands_once() {
    let zone = "example.org.".parse().unwrap();
    let config = |is_fatal| Config { zone, is_fatal };
    let wrong = |word: &str| {
        Err(format!(
            "Wrong argument count or unexpected line ending after '{word}'"
        ))
    };
    for (text, expected) in [
        ("loop", Ok(config(false))),
        ("loop fatal", Ok(config(true))),
        ("loop x", wrong("x")),
        ("loop fatal x", wrong("x")),
        (
            "loop\nloop",
            Err("this plugin can only be used once per Server Block".to_owned()),
        ),
    ] {
        assert_eq!(case::read("loop", text, parse), expected, "{text}");
    }
}

/// What answers something else is not taken for the answer.
#[tokio::test]
async fn the_probe_is_sent_to_this_host_and_its_reply_awaited() {
    let (guard, _) = guard("example.org.");
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    let answering = async {
        let mut packet = [0; PACKET_MAX];
        let (length, client) = socket.recv_from(&mut packet).await.unwrap();
        let mut query = Query::empty();
        query.parse(&packet[..length], Transport::Udp).unwrap();
        let reply = Reply::new(&mut query, Rcode::NXDOMAIN);
        let mut out = Vec::new();
        encode::reply(&query, &reply, &mut out);
        let mut other = out.clone();
        other[0] ^= 1;
        other[3] = 0;
        socket.send_to(&other, client).await.unwrap();
        socket.send_to(&out, client).await.unwrap();
    };
    let (asked, ()) = tokio::join!(guard.ask(server), answering);
    assert_eq!(asked.unwrap(), Rcode::NXDOMAIN);
    for (asked, expected) in [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "::1"),
        ("10.0.0.1", "10.0.0.1"),
    ] {
        let own = own(asked.parse::<IpAddr>().unwrap()).to_string();
        assert_eq!(own, expected, "{asked}");
    }
}
