//! The plugin against upstreams on loopback. Times are those of the Corefile: a short `read_timeout` where an
//! upstream is to be given up, the default where it must not be.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;

use super::*;
use crate::config::Scope;
use crate::corefile::{self, Faults, Memory};
use crate::dns::query::flag;
use crate::dns::{Class, Edns, Name, Question, Transport};

mod background;
mod believed;
mod choice;
mod late;
mod named;
mod secure;
mod streams;
mod upstream;

use upstream::{Act, FakeUpstream, Seen};

/// Writes down what it is told.
#[derive(Default)]
struct Recorder {
    told: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }
}

impl Observer for Recorder {
    fn upstream(&self, _: SocketAddr) -> Arc<dyn UpstreamObserver> {
        Arc::new(Recorder {
            told: self.told.clone(),
        })
    }
    fn healthcheck_broken(&self) {
        self.tell("broken".to_owned());
    }
    fn rejected(&self) {
        self.tell("rejected".to_owned());
    }
    fn joined(&self) {
        self.tell("joined".to_owned());
    }
}

impl UpstreamObserver for Recorder {
    fn answered(&self, rcode: Rcode, _: Duration) {
        self.tell(format!("answered {rcode}"));
    }
    fn connection_reused(&self, over: Over) {
        self.tell(format!("reused {}", over.as_str()));
    }
    fn connection_made(&self, over: Over) {
        self.tell(format!("made {}", over.as_str()));
    }
    fn healthcheck_failed(&self) {
        self.tell("check failed".to_owned());
    }
    fn went_down(&self) {
        self.tell("went down".to_owned());
    }
    fn came_up(&self) {
        self.tell("came up".to_owned());
    }
    fn answer_discarded(&self) {
        self.tell("discarded".to_owned());
    }
    fn hedged(&self) {
        self.tell("hedged".to_owned());
    }
}

fn observed(block: &str) -> (Arc<Forward>, Arc<Mutex<Vec<String>>>) {
    observed_in(&Memory::new(), block)
}

fn observed_in(outside: &Memory, block: &str) -> (Arc<Forward>, Arc<Mutex<Vec<String>>>) {
    let recorder = Arc::new(Recorder::default());
    let told = recorder.told.clone();
    let outbound = Arc::new(Outbound::new(recorder, Handle::current()));
    (generation(outside, block, outbound), told)
}

/// The plugin of one configuration, in a process that may have had others.
fn generation(outside: &Memory, block: &str, outbound: Arc<Outbound>) -> Arc<Forward> {
    let text = format!(". {{\n{block}\n}}\n");
    let parsed = corefile::parse(outside, Path::new("Corefile"), text.as_bytes());
    let scope = Scope {
        zones: &[Name::root()],
        outside,
        snapshots: &crate::plugin::kubernetes::Snapshots::default(),
    };
    let faults = Faults::new();
    let occurrences: Vec<_> = parsed.corefile.blocks[0].occurrences("forward").collect();
    let config = parse(&occurrences, &scope, &faults);
    let config = config.unwrap_or_else(|| panic!("{block}: {:?}", faults.into_sorted()));
    Arc::new(Forward::new(config, outbound))
}

fn forward(block: &str) -> Arc<Forward> {
    observed(block).0
}

/// Leaves nothing for queries on suspicion, so that each of the next nine is sent once.
fn spend_hedges(forward: &Forward) {
    for stanza in &forward.stanzas {
        while stanza.budget.spend() {}
    }
}

fn query(name: &str, transport: Transport) -> Query {
    let mut query = Query::empty();
    query.id = 0x1234;
    query.flags = flag::RD;
    query.transport = transport;
    query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
    query
}

/// What a client is told: the last octets of the addresses, or the reason why not.
async fn ask(forward: &Arc<Forward>, transport: Transport) -> Result<(Rcode, Vec<u8>), String> {
    ask_for(forward, query("WWW.example.com", transport)).await
}

async fn ask_for(forward: &Arc<Forward>, query: Query) -> Result<(Rcode, Vec<u8>), String> {
    let forward = forward.clone();
    // As a task of the runtime, which is where the server asks.
    let asking = tokio::spawn(async move {
        match forward.ask(&query).await {
            Step::Reply(reply) => Ok((reply.rcode, addresses(&reply))),
            Step::Fail(failure) => Err(failure.to_string()),
            step => Err(format!("{step:?}")),
        }
    });
    asking.await.unwrap()
}

fn addresses(reply: &Reply) -> Vec<u8> {
    let answers = reply.records.entries().iter();
    answers
        .filter(|entry| entry.section == Section::Answer)
        .map(|entry| *reply.records.rdata(entry).last().unwrap())
        .collect()
}

fn good(last: u8) -> Result<(Rcode, Vec<u8>), String> {
    Ok((Rcode::NOERROR, vec![last]))
}

#[tokio::test]
async fn only_names_of_the_zone_that_are_not_excepted_are_taken() {
    let forward =
        forward("forward example.com 127.0.0.1 {\nexcept corp.example.com example.com\n}");
    for (name, expected) in [
        ("example.com", "Ask"),
        ("Example.COM", "Ask"),
        ("www.example.com", "Next"),
        ("a.corp.example.com", "Next"),
        ("example.org", "Next"),
        ("notexample.com", "Next"),
    ] {
        let step = forward.down(&mut query(name, Transport::Udp));
        assert_eq!(format!("{step:?}"), expected, "{name}");
    }
}

#[tokio::test]
async fn notifications_and_transfers_are_not_forwarded() {
    let forward = forward("forward . 127.0.0.1");
    for (what, opcode, rtype, expected) in [
        ("NOTIFY", opcode::NOTIFY, Type::SOA, Rcode::NOTIMP),
        ("AXFR", opcode::QUERY, Type::AXFR, Rcode::REFUSED),
        ("IXFR", opcode::QUERY, Type::IXFR, Rcode::REFUSED),
    ] {
        let mut query = query("example.com", Transport::Tcp);
        query.flags |= u16::from(opcode) << 11;
        query.question.rtype = rtype;
        match forward.down(&mut query) {
            Step::Reply(reply) => assert_eq!(reply.rcode, expected, "{what}"),
            step => panic!("{what}: {step:?}"),
        }
    }
}

#[tokio::test]
async fn a_query_goes_out_as_it_came_and_the_reply_comes_back_as_it_was() {
    let with_edns = || {
        let mut query = query("WWW.example.com", Transport::Udp);
        query.flags |= flag::CD | flag::AD;
        query.edns = Some(Edns {
            version: 0,
            payload: 4096,
            dnssec_ok: true,
            options: b"\0\x0a\0\x08cookie!!".to_vec(),
        });
        query
    };
    for (what, query) in [
        ("plain", query("WWW.example.com", Transport::Udp)),
        ("with EDNS", with_edns()),
        ("over TCP", query("WWW.example.com", Transport::Tcp)),
    ] {
        let upstream = FakeUpstream::start(|seen| {
            let mut reply = seen.answer(7);
            reply[2] |= (flag::AA >> 8) as u8;
            reply[3] |= (flag::RA | flag::AD) as u8;
            vec![Act::Say(reply)]
        })
        .await;
        let forward = forward(&format!("forward . {}", upstream.address));
        let Step::Reply(reply) = forward.ask(&query).await else {
            panic!("{what}: no reply");
        };
        let expected = flag::AA | flag::RA | flag::AD | (query.flags & (flag::RD | flag::CD));
        assert_eq!(reply.flags, expected, "{what}");
        assert_eq!(addresses(&reply), [7], "{what}");
        let seen = upstream.seen().remove(0);
        let got = seen.query();
        assert_eq!(seen.transport, query.transport, "{what}");
        assert_eq!(got.flags, query.flags, "{what}");
        assert_eq!(got.edns, query.edns, "{what}");
        assert_eq!(got.question.name, query.question.name, "{what}");
        let keeps_case = got.question.asked.wire() == query.question.asked.wire();
        assert_eq!(keeps_case, seen.transport == Transport::Tcp, "{what}");
    }
}

#[tokio::test]
async fn a_cut_reply_is_passed_on_or_asked_again_over_tcp_as_configured() {
    let cutting = || {
        FakeUpstream::start(|seen| match seen.transport {
            Transport::Udp => {
                let mut reply = seen.answer(66);
                reply[2] |= (flag::TC >> 8) as u8;
                // Inside the record, as some servers do.
                reply.truncate(40);
                vec![Act::Say(reply)]
            }
            Transport::Tcp => vec![Act::Say(seen.answer(1))],
        })
    };
    use Transport::{Tcp, Udp};
    for (property, client, expected, seen) in [
        ("", Udp, Ok((Rcode::NOERROR, vec![])), &[Udp][..]),
        ("", Tcp, good(1), &[Tcp]),
        ("prefer_udp", Udp, good(1), &[Udp, Tcp]),
        ("prefer_udp", Tcp, good(1), &[Udp, Tcp]),
        ("force_tcp", Udp, good(1), &[Tcp]),
        ("force_tcp\nprefer_udp", Udp, good(1), &[Tcp]),
    ] {
        let upstream = cutting().await;
        let forward = forward(&format!(
            "forward . {} {{\n{property}\n}}",
            upstream.address
        ));
        assert_eq!(
            ask(&forward, client).await,
            expected,
            "{property} {client:?}"
        );
        let over: Vec<Transport> = upstream.seen().iter().map(|seen| seen.transport).collect();
        assert_eq!(over, seen, "{property} {client:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_is_used_again_and_one_that_was_closed_counts_for_nothing() {
    let keeping = FakeUpstream::answering(1).await;
    let closing = FakeUpstream::start(|seen| vec![Act::Say(seen.answer(1)), Act::Close]).await;
    for (what, upstream, connections) in [("kept", &keeping, 1), ("closed", &closing, 3)] {
        let (forward, told) = observed(&format!(
            "forward . {} {{\nmax_connect_attempts 1\n}}",
            upstream.address
        ));
        for _ in 0..3 {
            assert_eq!(ask(&forward, Transport::Tcp).await, good(1), "{what}");
        }
        let from: HashSet<SocketAddr> = upstream.seen().iter().map(|seen| seen.from).collect();
        assert_eq!(from.len(), connections, "{what}");
        let told = told.lock().unwrap().clone();
        let made = told.iter().filter(|told| *told == "made tcp").count();
        let reused = told.iter().filter(|told| *told == "reused tcp").count();
        assert_eq!((made, reused), (connections, 2), "{what}: {told:?}");
        assert!(!told.contains(&"check failed".to_owned()), "{what}");
    }
}

#[tokio::test]
async fn more_than_max_concurrent_are_refused_until_one_is_done() {
    let silent = FakeUpstream::silent().await;
    let (forward, told) = observed(&format!(
        "forward . {} {{\nmax_concurrent 1\n}}",
        silent.address
    ));
    let waiting = tokio::spawn({
        let forward = forward.clone();
        async move { forward.ask(&query("example.com", Transport::Udp)).await }
    });
    while silent.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let expected = "concurrent queries exceeded maximum 1";
    assert_eq!(
        ask(&forward, Transport::Udp).await,
        Err(expected.to_owned())
    );
    match forward.down(&mut query("example.com", Transport::Udp)) {
        Step::Fail(failure) => {
            assert_eq!(failure.to_string(), expected);
            assert_eq!(failure.rcode(), Rcode::REFUSED);
        }
        step => panic!("{step:?}"),
    }
    let rejected = told
        .lock()
        .unwrap()
        .iter()
        .filter(|told| *told == "rejected")
        .count();
    assert_eq!(rejected, 2);
    waiting.abort();
    assert!(waiting.await.is_err());
    drop(
        forward.stanzas[0]
            .waiting
            .enter(Ipv4Addr::LOCALHOST.into())
            .expect("the query that was given up left"),
    );
}

#[tokio::test]
async fn at_max_concurrent_the_client_with_far_more_loses_its_oldest_to_another() {
    let silent = FakeUpstream::silent().await;
    let (forward, told) = observed(&format!(
        "forward . {} {{\nmax_concurrent 3\n}}",
        silent.address
    ));
    let ask_from = |last, name: &str| {
        let (forward, mut query) = (forward.clone(), query(name, Transport::Udp));
        query.client = (Ipv4Addr::new(10, 0, 0, last), 1053).into();
        tokio::spawn(async move { forward.ask(&query).await })
    };
    let mut flood = Vec::new();
    for number in 0..3 {
        flood.push(ask_from(1, &format!("n{number}.example.com")));
        while silent.seen().len() <= number {
            tokio::task::yield_now().await;
        }
    }
    let calm = ask_from(2, "calm.example.com");
    match flood.remove(0).await.unwrap() {
        Step::Fail(failure) => assert_eq!(failure.rcode(), Rcode::REFUSED),
        step => panic!("{step:?}"),
    }
    while silent.seen().len() <= 3 {
        tokio::task::yield_now().await;
    }
    flood.push(calm);
    assert!(flood.iter().all(|waiting| !waiting.is_finished()));
    let rejected = |told: &String| *told == "rejected";
    assert_eq!(
        told.lock()
            .unwrap()
            .iter()
            .filter(|told| rejected(told))
            .count(),
        1
    );
    flood.iter().for_each(|waiting| waiting.abort());
}

#[tokio::test]
async fn a_name_goes_with_another_if_the_other_may_come_to_the_same_upstreams() {
    let first = "forward corp.test 127.0.0.1:1";
    let passes_on = format!("{first} {{\n next NXDOMAIN\n}}");
    let all = "forward . 127.0.0.1:2";
    for (fact, block, name, expected) in [
        ("the same stanza", first.to_owned(), "a.corp.test.", true),
        ("no stanza at all", first.to_owned(), "a.test.", false),
        (
            "a later one, which the first keeps for itself",
            format!("{first}\n{all}"),
            "a.test.",
            false,
        ),
        (
            "a later one, which the first may pass on to",
            format!("{passes_on}\n{all}"),
            "a.test.",
            true,
        ),
        (
            "one that the other never comes to",
            format!("forward b.test 127.0.0.1:3\n{first}"),
            "a.b.test.",
            false,
        ),
    ] {
        let forward = forward(&block);
        let (probe, name) = ("1.2.corp.test.".parse().unwrap(), name.parse().unwrap());
        assert_eq!(forward.goes_with(&probe, &name), expected, "{fact}");
    }
}
