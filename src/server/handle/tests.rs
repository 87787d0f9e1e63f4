use std::sync::atomic::Ordering;

use hickory_proto::op::ResponseCode;

use super::*;
use crate::server::tests::{Counts, query, query_with, read, router};
use crate::testing::Random;

const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
const OPT_VERSION_1: &[u8] = b"\0\0\x29\x04\xd0\0\x01\0\0\0\0";

struct Bench {
    service: Service,
    router: Arc<Router>,
    counts: Arc<Counts>,
    script: Arc<crate::plugin::scripted::Scripted>,
}

impl Bench {
    fn new(waiting_max: usize) -> Bench {
        let (router, script) = router();
        let counts = Arc::new(Counts::default());
        let service = Service {
            router: ArcSwap::new(router.clone()),
            hooks: counts.clone(),
            waiting: Admission::new(waiting_max),
        };
        Bench {
            service,
            router,
            counts,
            script,
        }
    }

    fn handle(&self, octets: &[u8], transport: Transport, query: &mut Query) -> (Handled, Vec<u8>) {
        let nobody = "192.0.2.1:1053".parse().unwrap();
        let packet = Packet {
            octets,
            transport,
            client: nobody,
            server: nobody,
            received: std::time::Instant::now(),
        };
        let mut out = b"left over".to_vec();
        let handled = self.service.handle(&self.router, &packet, query, &mut out);
        (handled, out)
    }
}

#[test]
fn what_a_chain_does_not_answer_is_answered_as_its_fault_deserves() {
    use ResponseCode::*;
    let class_ch = |tail: &[u8]| {
        let additionals = u16::from(!tail.is_empty());
        let mut packet = query_with(7, 0, [1, 0, 0, additionals], "a.example.", tail);
        let class_at = packet.len() - tail.len() - 1;
        packet[class_at] = 3;
        packet
    };
    // Name; packet; rcode, questions and OPT records of the reply; told as answered outside.
    for (name, packet, expected, outside) in [
        (
            "a response",
            query_with(7, 0x8000, [1, 0, 0, 0], "a.example.", &[]),
            None,
            0,
        ),
        ("a header cut short", vec![0; 5], None, 0),
        ("nothing", vec![], None, 0),
        (
            "an update",
            query_with(7, 5 << 11, [1, 0, 0, 0], "a.example.", &[]),
            Some((NotImp, 0, 0)),
            0,
        ),
        (
            "a bare header",
            query(7, "a.")[..12].to_vec(),
            Some((ServFail, 0, 0)),
            0,
        ),
        (
            "two questions",
            query_with(7, 0, [2, 0, 0, 0], "a.example.", &[]),
            Some((FormErr, 0, 0)),
            0,
        ),
        (
            "an OPT cut short",
            query_with(7, 0, [1, 0, 0, 1], "a.example.", &OPT[..8]),
            Some((FormErr, 1, 0)),
            0,
        ),
        ("class CH", class_ch(&[]), Some((Refused, 1, 0)), 1),
        (
            "class CH with EDNS",
            class_ch(OPT),
            Some((Refused, 1, 1)),
            1,
        ),
        (
            "EDNS version 1",
            query_with(7, 0, [1, 0, 0, 1], "a.example.", OPT_VERSION_1),
            Some((BADVERS, 1, 1)),
            0,
        ),
        (
            "no zone of ours",
            query_with(7, 0, [1, 0, 0, 1], "a.test.", OPT),
            Some((Refused, 1, 1)),
            1,
        ),
        (
            "a zone without plugins",
            query(7, "a.nothing.example."),
            Some((Refused, 1, 0)),
            1,
        ),
        (
            "a chain that says nothing",
            query(7, "drop.example."),
            None,
            0,
        ),
        (
            "a chain that panics",
            query(7, "panic.example."),
            Some((ServFail, 1, 0)),
            1,
        ),
        (
            "a chain that answers",
            query(7, "a.example."),
            Some((NoError, 1, 0)),
            0,
        ),
    ] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let bench = Bench::new(1);
            let (handled, out) = bench.handle(&packet, transport, &mut Query::empty());
            let got = match handled {
                Handled::Reply => {
                    let reply = read(&out);
                    assert_eq!(reply.metadata.id, 7, "{name}");
                    let opts = usize::from(reply.edns.is_some());
                    let rcode = u16::from(reply.metadata.response_code);
                    Some((rcode, reply.queries.len(), opts))
                }
                Handled::Silence => {
                    assert_eq!(out, b"", "{name}");
                    None
                }
                Handled::Waiting(_) => panic!("{name}: waits"),
            };
            let expected =
                expected.map(|(rcode, questions, opts)| (u16::from(rcode), questions, opts));
            assert_eq!(got, expected, "{name}");
            assert_eq!(
                bench.counts.outside.load(Ordering::SeqCst),
                outside,
                "{name}"
            );
        }
    }
}

#[test]
fn what_the_server_says_itself_it_gives_a_reason_for() {
    for (name, expected) in [
        (
            "a.test.",
            &b"\0\x14the name is in no zone of this server"[..],
        ),
        ("panic.example.", b"\0\0a fault of this server"),
    ] {
        let packet = query_with(7, 0, [1, 0, 0, 1], name, OPT);
        let bench = Bench::new(1);
        let (_, out) = bench.handle(&packet, Transport::Udp, &mut Query::empty());
        assert!(out.ends_with(expected), "{name}: {out:?}");
    }
}

#[test]
fn a_rewritten_question_is_answered_as_it_was_asked() {
    let packet = query(7, "ReName.example.");
    let (_, out) = Bench::new(1).handle(&packet, Transport::Udp, &mut Query::empty());
    assert_eq!(out[12..packet.len()], packet[12..], "question");
    assert_eq!(read(&out).answers[0].name.to_string(), "ReName.example.");
}

#[test]
fn a_panic_costs_one_query_and_is_told() {
    let bench = Bench::new(1);
    let mut reused = Query::empty();
    for (name, expected) in [
        ("panic.example.", ResponseCode::ServFail),
        ("a.example.", ResponseCode::NoError),
    ] {
        let (_, out) = bench.handle(&query(7, name), Transport::Udp, &mut reused);
        assert_eq!(read(&out).metadata.response_code, expected, "{name}");
    }
    assert_eq!(bench.counts.panics.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_query_that_waits_is_answered_in_the_end_and_holds_its_place_until_then() {
    for (name, expected, panics) in [
        ("wait.example.", ResponseCode::NoError, 0),
        ("panic-late.example.", ResponseCode::ServFail, 1),
    ] {
        let bench = Bench::new(1);
        let (mut first, mut second) = (Query::empty(), Query::empty());
        let (handled, _) = bench.handle(&query(7, name), Transport::Udp, &mut first);
        let Handled::Waiting(pending) = handled else {
            panic!("{name}: does not wait");
        };
        let (_, out) = bench.handle(&query(8, name), Transport::Udp, &mut second);
        assert_eq!(
            read(&out).metadata.response_code,
            ResponseCode::ServFail,
            "{name}: one too many"
        );
        assert_eq!(
            *bench.counts.overloads.lock().unwrap(),
            [Overload::Full],
            "{name}"
        );

        bench.script.gate.add_permits(1);
        let mut out = Vec::new();
        let place = bench.service.finish(pending, &mut first, &mut out).await;
        let reply = read(&out);
        assert_eq!(
            (reply.metadata.id, reply.metadata.response_code),
            (7, expected),
            "{name}"
        );
        assert_eq!(bench.counts.panics.load(Ordering::SeqCst), panics, "{name}");
        assert_eq!(bench.service.waiting.present(), 1, "{name}: not sent yet");
        drop(place);
        assert_eq!(bench.service.waiting.present(), 0, "{name}");
    }
}

#[test]
fn two_thousand_mutated_packets_get_a_well_formed_reply_or_none() {
    let bench = Bench::new(2000);
    let seeds = [
        query(1, "a.example."),
        query(2, "www.nothing.example."),
        query_with(3, 0x0100, [1, 0, 0, 1], "big.example.", OPT),
        query_with(
            4,
            0x2000,
            [1, 1, 0, 1],
            "a.example.",
            &[b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04abcd", OPT].concat(),
        ),
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut reused = Query::empty();
    let mut replies = 0;
    for round in 0..2000 {
        let mut packet = seeds[random.place(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            let at = random.place(packet.len());
            match random.below(4) {
                0 => packet[at] = random.below(256) as u8,
                1 => packet[at] ^= 1 << random.below(8),
                2 => packet.truncate(at.max(1)),
                _ => packet.insert(at, random.below(256) as u8),
            }
        }
        let transport = random.one(&[Transport::Udp, Transport::Tcp]);
        let (handled, out) = bench.handle(&packet, transport, &mut reused);
        if matches!(handled, Handled::Reply) {
            replies += 1;
            let reply = read(&out);
            assert_eq!(out[..2], packet[..2], "round {round}: id");
            assert!(reply.queries.len() <= 1, "round {round}: questions");
            assert!(out.len() <= reused.reply_max(), "round {round}: length");
        } else {
            assert_eq!(out, b"", "round {round}");
        }
    }
    assert!(
        replies > 500,
        "the mutations are too coarse to test anything: {replies}"
    );
    assert_eq!(bench.counts.panics.load(Ordering::SeqCst), 0);
}
