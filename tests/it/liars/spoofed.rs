//! Someone who cannot see the traffic guesses: what he would have to guess is spread, and guessing comes to nothing.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::client::{self, Outcome};
use super::liar::Asked;
use super::lie::{Forgery, Lie};
use super::wire::{self, FORGED, Question};
use super::{Liar, Transport, forward, right, server};

/// How long each miss lives: the time that the attacker has for it.
const LIVES: Duration = Duration::from_millis(20);

/// An attack that came to nothing.
pub(super) struct Attacked {
    pub(super) misses: usize,
    pub(super) took: Duration,
}

/// Sends so many guesses while names are asked one after the other, and asserts that none was believed.
///
/// The attacker is as strong as one off the path can be: his datagrams come from the upstream's own address and port,
/// he knows the question and when it is asked, and the range of the ports. Against one query alive at any time a
/// guess of id and port has a chance of 1 in 1.8e9.
pub(super) fn attack(guesses: usize) -> Attacked {
    let liar = Liar::start(1, Lie::Late(LIVES));
    let server = server(&format!(" cache\n{}", forward(".", &[&liar], "")));
    let (socket, address) = (liar.socket(), server.address());
    let (asking, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            guess(&socket, guesses, &asking);
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let name = name(asking.fetch_add(1, Ordering::Relaxed) + 1);
            for time in ["a miss", "a hit"] {
                let got = client::ask(address, &name, Transport::Udp);
                assert_eq!(got, right(&liar, &name), "{name}, {time}");
            }
        }
        attacker.join().unwrap();
    });
    Attacked {
        misses: asking.load(Ordering::Relaxed),
        took: began.elapsed(),
    }
}

fn name(nth: usize) -> String {
    format!("victim-{nth}.test.")
}

fn guess(socket: &UdpSocket, guesses: usize, asking: &AtomicUsize) {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let range: Vec<u16> = range
        .split_whitespace()
        .map(|port| port.parse().unwrap())
        .collect();
    let mut random = SmallRng::seed_from_u64(6);
    let (mut about, mut message) = (usize::MAX, Vec::new());
    for _ in 0..guesses {
        let now = asking.load(Ordering::Relaxed);
        if now != about {
            about = now;
            let question = Question::read(&wire::query(0, &name(now))).unwrap();
            message = question.answer(FORGED).octets();
        }
        message[..2].copy_from_slice(&random.random::<u16>().to_be_bytes());
        let port = random.random_range(range[0]..=range[1]);
        // A closed port says so by ICMP, which is nothing to him.
        let _ = socket.send_to(&message, (Ipv4Addr::LOCALHOST, port));
    }
}

#[test]
fn of_200_000_guesses_none_is_believed_and_none_is_kept() {
    let attacked = attack(200_000);
    assert!(attacked.misses > 1, "it was asked while he guessed");
}

/// What an upstream hears of 2,000 queries for names with 30 letters.
pub(super) fn heard() -> Vec<Asked> {
    let liar = Liar::start(1, Lie::Honest);
    let server = server(&forward(".", &[&liar], ""));
    let name = |nth: usize| format!("abcdefghijklmnopqrstuvwxyzabcd-{nth}.");
    let names: Vec<String> = (0..2000).map(name).collect();
    let outcomes = client::steadily(server.address(), &names, 1000);
    let is_wrong = |outcome: &&Outcome| outcome.reply != right(&liar, &outcome.name);
    let wrong: Vec<&Outcome> = outcomes.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    liar.asked()
}

/// Asserts that of these draws a bit is set in about half: six standard deviations off at most.
fn assert_fair(what: &str, draws: impl Iterator<Item = bool>) {
    let draws: Vec<bool> = draws.collect();
    let set = draws.iter().filter(|is_set| **is_set).count() as f64;
    let (mean, deviation) = (draws.len() as f64 / 2.0, (draws.len() as f64).sqrt() / 2.0);
    assert!(
        (set - mean).abs() < 6.0 * deviation,
        "{what}: set in {set} of {}",
        draws.len()
    );
}

#[test]
fn ids_and_ports_are_drawn_from_all_that_there_are() {
    let asked = heard();
    let ids: HashSet<u16> = asked.iter().map(|asked| asked.id).collect();
    let ports: HashSet<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    // 2,000 draws of 65,536 ids hit 1,970, of 28,232 ports 1,931.
    assert!(ids.len() > 1900, "{} ids", ids.len());
    assert!(ports.len() > 1500, "{} ports", ports.len());
    for bit in 0..16 {
        let what = format!("bit {bit} of the id");
        assert_fair(&what, asked.iter().map(|asked| asked.id >> bit & 1 == 1));
    }
    let pairs = |of: fn(&Asked) -> u16| -> Vec<(u16, u16)> {
        let pairs = asked.windows(2);
        pairs.map(|pair| (of(&pair[0]), of(&pair[1]))).collect()
    };
    for (what, pairs) in [
        ("ids", pairs(|asked| asked.id)),
        ("ports", pairs(|asked| asked.from.port())),
    ] {
        let what = format!("{what} that rise");
        assert_fair(&what, pairs.iter().map(|(before, after)| before < after));
    }
    let all: HashSet<(u16, u16)> = asked
        .iter()
        .map(|asked| (asked.id, asked.from.port()))
        .collect();
    assert_eq!(all.len(), asked.len(), "no pair of id and port comes twice");
}

#[test]
fn the_case_of_the_name_is_drawn_for_every_query() {
    let asked = heard();
    let patterns: HashSet<&str> = asked.iter().map(|asked| &asked.name[..30]).collect();
    assert!(patterns.len() > 1900, "{} patterns", patterns.len());
    for letter in 0..30 {
        let is_upper = |asked: &Asked| asked.name.as_bytes()[letter].is_ascii_uppercase();
        assert_fair(
            &format!("case of letter {letter}"),
            asked.iter().map(is_upper),
        );
    }
}

/// He knows port and id, and so has only the case to guess.
#[test]
fn an_answer_in_another_case_is_not_believed_and_does_not_end_the_wait() {
    let liar = Liar::start(1, Lie::ForgedThenGenuine(Forgery::Case));
    let server = server(&forward(".", &[&liar], ""));
    for nth in 0..50 {
        let got = client::ask(server.address(), &name(nth), Transport::Udp);
        assert_eq!(got, right(&liar, &name(nth)));
    }
}

#[test]
fn one_answer_in_another_case_does_not_disarm_the_server() {
    let liar = Liar::start(1, Lie::ForgedThenGenuine(Forgery::Case));
    let server = server(&forward(".", &[&liar], ""));
    client::ask(server.address(), "forged.test.", Transport::Udp);
    liar.now(Lie::Honest);
    let before = liar.count();
    for nth in 0..20 {
        client::ask(server.address(), &name(nth), Transport::Udp);
    }
    let asked = &liar.asked()[before..];
    let patterns: HashSet<&str> = asked.iter().map(|asked| &asked.name[..6]).collect();
    // Twenty draws of 64 patterns: fewer than five of them do not come.
    assert!(patterns.len() > 5, "{patterns:?}");
}

#[test]
fn a_client_sees_names_in_the_case_in_which_it_asked() {
    for lie in [Lie::Honest, Lie::Pointing, Lie::Lowering] {
        let liar = Liar::start(1, lie);
        let server = server(&format!(" cache\n{}", forward(".", &[&liar], "")));
        for (name, alias) in [
            ("www.kept.test.", "alias.kept.test."),
            ("WWW.KEPT.TEST.", "alias.KEPT.TEST."),
            ("wWw.oTHeR.teST.", "alias.oTHeR.teST."),
        ] {
            for transport in [Transport::Udp, Transport::Tcp, Transport::Udp] {
                let query = wire::query_with_edns(5, name);
                let reply = client::message(server.address(), &query, transport).unwrap();
                assert_eq!(client::text(&reply), right(&liar, name), "{lie:?} {name}");
                let owners = reply.answers.iter().map(|record| record.name.to_ascii());
                let owners: Vec<String> = owners.collect();
                // A hit has the rest of its names from the first asker.
                let is_alias = |owner: &String| owner.eq_ignore_ascii_case(alias);
                assert_eq!(owners[0], name, "{lie:?} over {transport:?}");
                assert!(owners[1..].iter().all(is_alias), "{lie:?}: {owners:?}");
            }
        }
        let query = wire::query_with_edns(5, "wWw.fIRst.TESt.");
        let reply = client::message(server.address(), &query, Transport::Udp).unwrap();
        let last = reply.answers.last().unwrap().name.to_ascii();
        assert!(last.ends_with(".fIRst.TESt."), "{lie:?}: {last}");
    }
}

/// Who sends names in random case has to find out.
#[test]
fn an_upstream_that_does_not_keep_the_case_is_asked_about_once_for_each_query() {
    let liar = Liar::start(1, Lie::Lowering);
    let server = server(&forward(".", &[&liar], ""));
    for nth in 0..50 {
        let got = client::ask(server.address(), &name(nth), Transport::Udp);
        assert_eq!(got, right(&liar, &name(nth)));
    }
    assert!(liar.count() < 60, "{} queries for 50 names", liar.count());
}
