//! A second upstream is asked before the first has had all of its time, and seldom.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::available::BURST;
use super::client::{self, PATIENCE};
use super::lie::Lie;
use super::{Liar, Transport, forward, right, server};

/// Queries that teach the server how fast the first upstream is.
const LESSONS: usize = 100;
/// Queries that are out while an upstream is found not to answer, 50 ms or two times that: each may be sent once more.
const OUT: usize = 400 / 10;
/// Later than it ever was, and within its time.
const LATE: Lie = Lie::Late(Duration::from_millis(1500));

fn name(nth: usize) -> String {
    format!("n{nth}.test.")
}

#[test]
fn when_an_upstream_is_late_for_once_another_is_asked() {
    for transport in ["", "force_tcp"] {
        let (first, second) = (Liar::start(1, Lie::Honest), Liar::start(2, Lie::Honest));
        // The turn after an even number of lessons is the first's.
        let properties = format!("policy round_robin\n{transport}");
        let server = server(&forward(".", &[&first, &second], &properties));
        let ask = |nth| client::ask(server.address(), &name(nth), Transport::Udp);
        for nth in 0..LESSONS {
            let got = ask(nth);
            let expected = [right(&first, &name(nth)), right(&second, &name(nth))];
            assert!(expected.contains(&got), "{got}");
        }
        first.now(LATE);
        let got = ask(LESSONS);
        assert_eq!(got, right(&second, &name(LESSONS)), "{transport}");
        let of = |liar: &Liar| {
            let mut asked = liar.asked().into_iter();
            asked.find(|asked| asked.name.eq_ignore_ascii_case(&name(LESSONS)))
        };
        let (asked, hedge) = (of(&first).unwrap(), of(&second).unwrap());
        assert!(asked.at < hedge.at, "the hedge comes second");
    }
}

#[test]
fn an_upstream_that_is_always_late_is_not_always_hedged() {
    const QUERIES: usize = 1000;
    let first = Liar::start(1, LATE);
    let second = Liar::start(2, LATE);
    let server = server(&forward(".", &[&first, &second], "policy sequential"));
    let names: Vec<String> = (0..QUERIES).map(name).collect();
    for outcome in client::steadily(server.address(), &names, 400) {
        let expected = [&first, &second].map(|liar| right(liar, &outcome.name));
        assert!(expected.contains(&outcome.reply), "{outcome:?}");
    }
    let extra = first.count() + second.count() - QUERIES;
    assert!(extra <= QUERIES / 10 + BURST + OUT, "{extra} extra queries");
}

/// Waits until the answers are this upstream's.
fn wait_for(server: SocketAddr, of: &Liar, others: &[&Liar], fact: &str) {
    let began = Instant::now();
    for nth in 0.. {
        let name = format!("{fact}-{nth}.test.").replace(' ', "-");
        let got = client::ask(server, &name, Transport::Udp);
        if got == right(of, &name) {
            return;
        }
        let is_known = got == "SERVFAIL" || others.iter().any(|other| got == right(other, &name));
        assert!(is_known, "{fact}: {got}");
        assert!(began.elapsed() < PATIENCE, "{fact}: still {got}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_upstream_that_comes_back_is_asked_again() {
    std::thread::scope(|scope| {
        for (fact, lie) in [("silent", Lie::Silent), ("refusing", Lie::Refusing)] {
            for alone in [false, true] {
                scope.spawn(move || {
                    let (first, second) = (Liar::start(1, lie), Liar::start(2, Lie::Honest));
                    let liars = if alone {
                        vec![&first]
                    } else {
                        vec![&first, &second]
                    };
                    let properties = "policy sequential\nread_timeout 200ms\nhealth_check 100ms";
                    let server = server(&forward(".", &liars, properties));
                    for nth in 0..5 {
                        let got = client::ask(server.address(), &name(nth), Transport::Udp);
                        let expected = [right(&second, &name(nth)), "SERVFAIL".to_owned()];
                        assert_eq!(got, expected[usize::from(alone)], "{fact}");
                    }
                    first.now(Lie::Honest);
                    wait_for(server.address(), &first, &[&second], fact);
                });
            }
        }
    });
}

#[test]
fn a_name_that_nobody_answers_is_asked_for_six_times_at_most() {
    // Three attempts of two seconds in the 4.5 s that there are, and three hedges.
    let liars = [1, 2, 3, 4].map(|octet| Liar::start(octet, Lie::Silent));
    let [alone, three @ ..] = &liars;
    let zones = forward("alone.test", &[alone], "") + &forward(".", &three.each_ref(), "");
    let server = server(&zones);
    let names: Vec<String> = (0..40)
        .map(|nth| format!("n{nth}.{}test.", ["alone.", ""][nth % 2]))
        .collect();
    for outcome in client::steadily(server.address(), &names, 400) {
        assert_eq!(outcome.reply, "SERVFAIL", "{}", outcome.name);
    }
    let asked: Vec<_> = liars.iter().flat_map(Liar::asked).collect();
    for name in &names {
        let of_it = asked
            .iter()
            .filter(|asked| asked.name.eq_ignore_ascii_case(name));
        let count = of_it.count();
        assert!(count <= 6, "{name}: {count} queries");
    }
}
