//! What of that which an upstream sends is taken for its answer.

use std::time::Duration;

use super::client;
use super::lie::{Forgery, Lie, WEB};
use super::wire::{self, FORGED};
use super::{Liar, TRANSPORTS, Transport, forward, right, server};
use crate::support::server::Server;

/// A forgery, and whether it can be read: over a connection, which nobody else can write to, what cannot be read is
/// the last that is heard of it.
const FORGERIES: &[(Forgery, bool)] = &[
    (Forgery::Id, true),
    (Forgery::Query, true),
    (Forgery::Opcode, true),
    (Forgery::NoQuestion, true),
    (Forgery::TwoQuestions, true),
    (Forgery::Name, true),
    (Forgery::Type, true),
    (Forgery::Class, true),
    (Forgery::Noise, true),
    (Forgery::Nothing, true),
    (Forgery::CutHeader, true),
    (Forgery::CutRecord, false),
    (Forgery::Counts, false),
    (Forgery::PointsAtItself, false),
    (Forgery::PointsAhead, false),
    (Forgery::PointsInCircles, false),
    (Forgery::DataTooLong, false),
    (Forgery::FromPort, true),
    (Forgery::FromAddress, true),
];

/// A test waits this long for an upstream that will not answer, and an honest one answers within it.
const SHORT: &str = "policy sequential\nread_timeout 400ms\nmax_fails 0";

/// Where the answer to a question is expected from.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Liar,
    Second,
    Nobody,
    Text(&'static str),
}

/// A question to a server, and what becomes of it.
struct Row {
    fact: String,
    lie: Lie,
    properties: &'static str,
    transport: Transport,
    has_second: bool,
    expected: Whose,
}

/// Asks what the rows say, all at a time, each of a liar of its own with or without an honest upstream behind it.
fn assert_rows(rows: &[Row]) {
    let second = Liar::start(2, Lie::Honest);
    let liars: Vec<Liar> = rows.iter().map(|row| Liar::start(1, row.lie)).collect();
    let stanza = |(at, row): (usize, &Row)| {
        let upstreams = [&liars[at], &second];
        let upstreams = &upstreams[..if row.has_second { 2 } else { 1 }];
        forward(&format!("r{at}.test"), upstreams, row.properties)
    };
    let server = server(&rows.iter().enumerate().map(stanza).collect::<String>());
    let address = server.address();
    let faults: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let (liar, second) = (&liars[at], &second);
                scope.spawn(move || {
                    let name = format!("www.r{at}.test.");
                    let expected = match row.expected {
                        Whose::Liar => right(liar, &name),
                        Whose::Second => right(second, &name),
                        Whose::Nobody => "SERVFAIL".to_owned(),
                        Whose::Text(text) => text.to_owned(),
                    };
                    let got = client::ask(address, &name, row.transport);
                    let told = format!("{}, {:?}: {got}, not {expected}", row.fact, row.transport);
                    (got != expected).then_some(told)
                })
            })
            .collect();
        asking
            .into_iter()
            .filter_map(|asked| asked.join().unwrap())
            .collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every forgery over both transports, but those that a connection makes impossible.
fn forgeries() -> impl Iterator<Item = (Forgery, bool, Transport)> {
    let possible = |forgery: Forgery, transport: Transport| {
        transport == Transport::Udp || !matches!(forgery, Forgery::FromPort | Forgery::FromAddress)
    };
    FORGERIES.iter().flat_map(move |&(forgery, readable)| {
        let transports = TRANSPORTS.into_iter();
        transports
            .filter(move |transport| possible(forgery, *transport))
            .map(move |transport| (forgery, readable, transport))
    })
}

#[test]
fn a_forged_answer_alone_is_silence() {
    let mut rows = Vec::new();
    for (forgery, _, transport) in forgeries() {
        for (has_second, expected) in [(true, Whose::Second), (false, Whose::Nobody)] {
            rows.push(Row {
                fact: format!("{forgery:?}, with a second upstream: {has_second}"),
                lie: Lie::Forged(forgery),
                properties: SHORT,
                transport,
                has_second,
                expected,
            });
        }
    }
    assert_rows(&rows);
}

#[test]
fn the_genuine_answer_behind_a_forged_one_is_heard() {
    let row = |(forgery, readable, transport)| Row {
        fact: format!("{forgery:?}"),
        lie: Lie::ForgedThenGenuine(forgery),
        properties: "policy sequential",
        transport,
        has_second: true,
        expected: if readable || transport == Transport::Udp {
            Whose::Liar
        } else {
            Whose::Second
        },
    };
    assert_rows(&forgeries().map(row).collect::<Vec<_>>());
}

#[test]
fn what_follows_the_genuine_answer_answers_nothing_else() {
    let lies: Vec<Liar> = FORGERIES
        .iter()
        .map(|(forgery, _)| Liar::start(1, Lie::GenuineThenForged(*forgery)))
        .collect();
    let stanzas = lies
        .iter()
        .enumerate()
        .map(|(at, liar)| forward(&format!("r{at}.test"), &[liar], ""));
    let server = server(&stanzas.collect::<String>());
    for (at, (forgery, _)) in FORGERIES.iter().enumerate() {
        for transport in TRANSPORTS {
            // Over a connection nobody else speaks, so that this would be an honest second answer.
            if transport == Transport::Tcp
                && matches!(forgery, Forgery::FromPort | Forgery::FromAddress)
            {
                continue;
            }
            for nth in 0..4 {
                let name = format!("n{nth}.r{at}.test.");
                let got = client::ask(server.address(), &name, transport);
                let expected = right(&lies[at], &name);
                assert_eq!(
                    got, expected,
                    "{forgery:?} over {transport:?}, answer {nth}"
                );
            }
        }
    }
}

/// There are 65,535 of them; how many are heard while there is time is the machine's affair, if it is many.
#[test]
fn all_other_ids_do_not_keep_the_genuine_answer_out() {
    let liar = Liar::start(1, Lie::AllOtherIds);
    let properties = "read_timeout 4400ms";
    let server = server(&format!(
        " prometheus 127.0.0.1:0\n{}",
        forward(".", &[&liar], properties)
    ));
    let got = client::ask(server.address(), "www.test.", Transport::Udp);
    assert_eq!(got, right(&liar, "www.test."));
    let metrics = server.metrics();
    let mut counts = metrics.lines().filter_map(|line| {
        let labelled = line.strip_prefix("cairn_proxy_answers_discarded_total{")?;
        labelled.rsplit_once(' ')?.1.parse().ok()
    });
    let discarded: u32 = counts.next().expect("they are counted");
    assert!(discarded > 1000, "{discarded} forged answers were heard");
}

#[test]
fn an_upstream_that_fails_is_one_that_did_not_answer() {
    use Transport::{Tcp, Udp};
    use Whose::{Liar, Nobody, Second, Text};
    let ms = Duration::from_millis;
    let row = |fact: &str, lie, properties, transport, has_second, expected| Row {
        fact: fact.to_owned(),
        lie,
        properties,
        transport,
        has_second,
        expected,
    };
    let both = |fact: &str, lie, expected| {
        TRANSPORTS.map(|transport| row(fact, lie, SHORT, transport, true, expected))
    };
    let alone = |fact: &str, lie| {
        let fact = format!("{fact}, alone");
        TRANSPORTS.map(|transport| row(&fact, lie, SHORT, transport, false, Nobody))
    };
    let mut rows = Vec::new();
    for (fact, lie) in [
        ("silent", Lie::Silent),
        ("refuses the connection", Lie::Refusing),
        ("answers too late", Lie::Late(ms(1500))),
    ] {
        rows.extend(both(fact, lie, Second));
        rows.extend(alone(fact, lie));
    }
    rows.extend(both("answers late, but in time", Lie::Late(ms(40)), Liar));
    for octets in [0, 1, 2, 3, 20] {
        let fact = format!("closes after {octets} octets");
        rows.push(row(&fact, Lie::Closing(octets), SHORT, Tcp, true, Second));
        rows.push(row(&fact, Lie::Closing(octets), SHORT, Tcp, false, Nobody));
    }
    for (fact, lie, properties, transport, expected) in [
        ("promises 65,535 octets", Lie::Promising, SHORT, Tcp, Second),
        (
            "drips for too long",
            Lie::Dripping(ms(100)),
            SHORT,
            Tcp,
            Second,
        ),
        ("drips, but in time", Lie::Dripping(ms(1)), "", Tcp, Liar),
        ("drips datagrams", Lie::Dripping(ms(1)), SHORT, Udp, Second),
        (
            "a cut answer goes to the client",
            Lie::Truncated,
            SHORT,
            Udp,
            Text("NOERROR cut"),
        ),
        ("who comes back over TCP", Lie::Truncated, SHORT, Tcp, Liar),
        ("or it is fetched", Lie::Truncated, "prefer_udp", Udp, Liar),
        (
            "cut over TCP too",
            Lie::AlwaysTruncated,
            "prefer_udp",
            Udp,
            Text("NOERROR cut"),
        ),
        (
            "never asked over UDP",
            Lie::Truncated,
            "force_tcp",
            Udp,
            Liar,
        ),
        (
            "aliases that lead nowhere",
            Lie::AliasLoop,
            "",
            Udp,
            Text("NOERROR"),
        ),
        ("an alias", Lie::Chain(1), "", Udp, Liar),
        ("a hundred aliases", Lie::Chain(100), "", Tcp, Liar),
        ("44 kB", Lie::Huge(200), "", Tcp, Liar),
    ] {
        let has_second = properties == SHORT;
        rows.push(row(fact, lie, properties, transport, has_second, expected));
    }
    assert_rows(&rows);
}

#[test]
fn an_answer_that_is_cut_whatever_it_comes_over_is_fetched_once() {
    let liar = Liar::start(1, Lie::AlwaysTruncated);
    let server = server(&forward(
        ".",
        &[&liar],
        "prefer_udp\nmax_connect_attempts 0",
    ));
    let got = client::ask(server.address(), "cut.test.", Transport::Udp);
    assert_eq!(got, "NOERROR cut");
    let asked = liar.asked();
    let over = asked.iter().map(|asked| asked.transport);
    assert_eq!(over.collect::<Vec<_>>(), [Transport::Udp, Transport::Tcp]);
}

#[test]
fn a_datagram_larger_than_asked_for_is_cut_for_the_client() {
    let liar = Liar::start(1, Lie::Huge(200));
    let server = server(&forward(".", &[&liar], ""));
    for (query, max) in [
        (wire::query(7, "huge.test."), 512),
        (wire::query_with_edns(7, "huge.test."), 1232),
    ] {
        let reply = client::message(server.address(), &query, Transport::Udp).unwrap();
        assert!(reply.metadata.truncation);
        let size = reply.to_vec().unwrap().len();
        assert!(size <= max, "{size} octets where {max} are taken");
    }
}

/// A server with a cluster and a cache in front of one upstream.
fn with_cluster(liar: &Liar) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cluster.yaml"), super::CLUSTER).unwrap();
    let manifests = folder.path().display();
    let kubernetes = format!(" kubernetes cluster.local {{\n manifests {manifests}\n}}\n cache\n");
    let server = server(&(kubernetes + &forward(".", &[liar], "")));
    server.wait_until_ready();
    (server, folder)
}

#[test]
fn records_of_other_names_answer_no_question_for_those() {
    let liar = Liar::start(1, Lie::Stuffed);
    let (server, _folder) = with_cluster(&liar);
    for transport in TRANSPORTS {
        let got = client::ask(server.address(), "stuffed.test.", transport);
        let address = liar.genuine("stuffed.test.").to_string();
        assert!(got.contains(&address), "{got}");
    }
    liar.now(Lie::Honest);
    for name in ["bank.test.", "ns.evil.test.", "test."] {
        let got = client::ask(server.address(), name, Transport::Udp);
        assert_eq!(got, right(&liar, name), "{name}");
    }
    let got = client::ask(server.address(), WEB, Transport::Udp);
    assert_eq!(got, "NOERROR 10.96.0.1", "names of the cluster are its own");
    let missing = "missing.demo.svc.cluster.local.";
    assert_eq!(
        client::ask(server.address(), missing, Transport::Udp),
        "NXDOMAIN"
    );
    let asked = liar.asked();
    let leaked = asked
        .iter()
        .find(|asked| asked.name.ends_with("cluster.local."));
    assert!(leaked.is_none(), "{leaked:?} concerns nobody else");
}

#[test]
fn no_forged_answer_is_kept() {
    for (forgery, _) in FORGERIES {
        let liar = Liar::start(1, Lie::ForgedThenGenuine(*forgery));
        let server = server(&format!(" cache\n{}", forward(".", &[&liar], "")));
        let ask = || client::ask(server.address(), "kept.test.", Transport::Udp);
        let got = [ask(), ask(), ask(), ask()];
        let expected = right(&liar, "kept.test.");
        assert!(
            got.iter().all(|got| *got == expected),
            "{forgery:?}: {got:?}"
        );
        // One query, and one more if this machine was too busy to hear the answer in time.
        let count = liar.count();
        assert!(count <= 2, "{forgery:?}: asked {count} times");
        assert!(!expected.contains(&FORGED.to_string()));
    }
}
