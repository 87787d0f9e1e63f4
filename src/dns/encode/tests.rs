//! What is encoded here is read back by hickory-proto.

use hickory_proto::op::Message;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::*;
use crate::dns::edns::ErrorCode;
use crate::dns::rr::Class;
use crate::dns::{Question, edns};

fn query(name: &str, payload: Option<u16>) -> Query {
    let mut query = Query::empty();
    query.id = 0x1234;
    query.flags = flag::RD;
    query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
    query.edns = payload.map(|payload| Edns {
        payload,
        dnssec_ok: true,
        ..Edns::default()
    });
    query
}

fn encode(query: &Query, answer: &Reply) -> (Vec<u8>, Message) {
    let mut out = Vec::new();
    reply(query, answer, &mut out);
    let message = Message::read(&mut BinDecoder::new(&out)).expect("another codec reads it");
    (out, message)
}

fn addresses(query: &mut Query, count: u8) -> Reply {
    let mut reply = Reply::authoritative(query, Rcode::NOERROR);
    for last in 0..count {
        reply.records.push(
            Section::Answer,
            Owner::Asked(0),
            Type::A,
            30,
            &[&[10, 0, 0, last]],
        );
    }
    reply
}

#[test]
fn owners_are_written_in_the_case_asked_and_point_at_the_question() {
    let mut query = query("WeB.demo.svc.cluster.local", None);
    let mut answer = addresses(&mut query, 2);
    answer.records.push(
        Section::Authority,
        Owner::Asked(13),
        Type::NS,
        30,
        &[b"\x02ns\0"],
    );
    let (out, message) = encode(&query, &answer);
    let owners: Vec<String> = message
        .answers
        .iter()
        .map(|record| record.name.to_string())
        .collect();
    assert_eq!(owners, ["WeB.demo.svc.cluster.local."; 2]);
    assert_eq!(message.authorities[0].name.to_string(), "cluster.local.");
    assert_eq!(out.len(), 12 + 28 + 4 + 2 * 16 + 12 + 4);
}

#[test]
fn a_reply_that_fits_only_when_compressed_is_compressed_and_not_truncated() {
    let mut query = query("www.example.com", None);
    let mut answer = Reply::new(&mut query, Rcode::NOERROR);
    for n in 0..15u8 {
        let target = [
            &[5, b'h', b'o', b's', b't', b'a' + n],
            &b"\x07example\x03com\0"[..],
        ]
        .concat();
        let owner = answer.records.owner(&[&target]);
        answer
            .records
            .push(Section::Answer, owner, Type::CNAME, 30, &[&target]);
    }
    let (out, message) = encode(&query, &answer);
    assert!(out.len() <= 512, "{}", out.len());
    assert!(!message.metadata.truncation);
    assert_eq!(message.answers.len(), 15);
}

#[test]
fn what_does_not_fit_is_left_out_from_the_end_with_tc() {
    for (payload, expected) in [
        (None, false),
        (Some(512), false),
        (Some(4096), true),
        (Some(100), false),
    ] {
        let mut query = query("many.demo.svc.cluster.local", payload);
        let mut answer = addresses(&mut query, 60);
        answer.records.push(
            Section::Additional,
            Owner::Asked(5),
            Type::A,
            30,
            &[&[10, 0, 0, 1]],
        );
        let (out, message) = encode(&query, &answer);
        assert!(out.len() <= query.reply_max(), "{payload:?}");
        assert_eq!(!message.metadata.truncation, expected, "{payload:?}");
        assert_eq!(message.answers.len() == 60, expected, "{payload:?}");
        assert_eq!(message.edns.is_some(), payload.is_some(), "{payload:?}");
    }
}

#[test]
fn srv_targets_are_never_compressed() {
    let mut query = query("many.demo.svc.cluster.local", Some(700));
    let target: Name = "a.many.demo.svc.cluster.local".parse().unwrap();
    let mut answer = Reply::new(&mut query, Rcode::NOERROR);
    for port in 0..30u16 {
        let data: [&[u8]; 3] = [&[0, 0, 0, 1], &port.to_be_bytes(), target.wire()];
        answer
            .records
            .push(Section::Answer, Owner::Asked(0), Type::SRV, 30, &data);
    }
    let (out, message) = encode(&query, &answer);
    assert!(message.metadata.truncation);
    let whole = out
        .windows(target.wire().len())
        .filter(|window| *window == target.wire())
        .count();
    assert_eq!(whole, message.answers.len());
}

#[test]
fn the_opt_record_repeats_size_and_do_and_carries_the_upper_bits_of_the_code() {
    let mut query = query("web.demo", Some(1232));
    query.edns.as_mut().unwrap().options = b"\0\x0a\0\x08cookie!!\xfd\xe9\0\0".to_vec();
    let answer = Reply::new(&mut query, Rcode::BADCOOKIE);
    let (out, message) = encode(&query, &answer);
    let opt = message.edns.expect("an OPT record");
    assert_eq!(
        (opt.max_payload(), opt.flags().dnssec_ok, opt.version()),
        (1232, true, 0)
    );
    assert!(out.ends_with(b"\0\x0c\0\x0a\0\x08cookie!!"));
    assert_eq!(out[3] & 0xf, 7);
    assert_eq!(opt.rcode_high(), 1);
}

#[test]
fn options_of_the_reply_replace_those_of_the_query_and_need_a_client_with_edns() {
    let ede = [0, edns::option::EXTENDED_ERROR as u8, 0, 2, 0, 22];
    for (payload, expected) in [(Some(1232), true), (None, false)] {
        let mut query = query("web.demo", payload);
        let mut answer = Reply::new(&mut query, Rcode::SERVFAIL);
        answer.options = Some(ede.to_vec());
        let (out, _) = encode(&query, &answer);
        assert_eq!(out.ends_with(&ede), expected, "{payload:?}");
    }
}

#[test]
fn an_extended_error_stands_behind_the_options_and_needs_a_client_with_edns() {
    static ERROR: ExtendedError = ExtendedError::of(ErrorCode::NotReady, "why");
    let option = b"\0\x0f\0\x05\0\x0ewhy";
    let cookie = b"\0\x0a\0\x08cookie!!";
    for (fact, payload, options, expected) in [
        ("repeated", Some(1232), &cookie[..], Some(&cookie[..])),
        ("not repeated", Some(1232), b"\xfd\xe9\0\0", Some(b"")),
        ("no EDNS", None, b"", None),
    ] {
        let mut query = query("web.demo", payload);
        if let Some(edns) = &mut query.edns {
            edns.options = options.to_vec();
        }
        let mut answer = Reply::new(&mut query, Rcode::SERVFAIL);
        answer.error = Some((&ERROR).into());
        let (out, message) = encode(&query, &answer);
        let found = out.strip_suffix(option);
        assert_eq!(found.is_some(), expected.is_some(), "{fact}");
        if let Some((found, before)) = found.zip(expected) {
            let length = [0, (before.len() + option.len()) as u8];
            assert!(found.ends_with(&[&length, before].concat()), "{fact}");
        }
        assert_eq!(message.edns.is_some(), payload.is_some(), "{fact}");
    }
}

#[test]
fn an_extended_error_that_does_not_fit_is_left_out_and_cuts_nothing() {
    static ERROR: ExtendedError = ExtendedError::of(ErrorCode::Other, "why");
    const OPTION: usize = 9;
    for (fact, room, told) in [
        ("just room", OPTION, true),
        ("an octet too few", OPTION - 1, false),
        ("no room", 0, false),
    ] {
        let mut query = query("www.example.com", Some(512));
        let mut answer = addresses(&mut query, 1);
        let bare = encode(&query, &answer).0.len() + 12;
        let data = vec![0; 512 - bare - room];
        let rest = (Section::Answer, Owner::Asked(0), Type(65_280));
        answer.records.push(rest.0, rest.1, rest.2, 5, &[&data]);
        answer.error = Some((&ERROR).into());
        let (out, message) = encode(&query, &answer);
        assert_eq!(out.ends_with(b"why"), told, "{fact}");
        assert_eq!(out.len(), if told { 512 } else { 512 - room }, "{fact}");
        assert_eq!(message.answers.len(), 2, "{fact}");
        assert!(!message.metadata.truncation, "{fact}");
    }
}

#[test]
fn a_rejected_packet_gets_a_header_and_silence_gets_nothing() {
    let query = query("web.demo", None);
    let mut out = vec![1, 2, 3];
    reject(&query, Reject::Silence, &mut out);
    assert!(out.is_empty());
    let formerr = Reject::Reply {
        rcode: Rcode::FORMERR,
        with_question: false,
        opcode: 0,
        flags: flag::RD,
    };
    reject(&query, formerr, &mut out);
    assert_eq!(out, [0x12, 0x34, 0x81, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn an_unknown_version_of_edns_is_answered_with_ours() {
    let mut query = query("web.demo", Some(1232));
    let mut out = Vec::new();
    bad_version(&mut query, &mut out);
    let message = Message::read(&mut BinDecoder::new(&out)).unwrap();
    let opt = message.edns.expect("an OPT record");
    assert_eq!(
        (opt.version(), opt.rcode_high(), message.queries.len()),
        (0, 1, 1)
    );
    assert!(out.ends_with(b"\0\0\x29\0\0\x01\0\0\0\0\0"));
}

#[test]
fn a_question_for_the_root_has_no_pointer_to_nothing() {
    let mut query = query(".", None);
    let answer = addresses(&mut query, 1);
    let (_, message) = encode(&query, &answer);
    assert_eq!(message.answers[0].name.to_string(), ".");
}

#[test]
fn options_that_do_not_fit_are_left_out_with_tc() {
    let mut query = query("www.example.com", Some(512));
    let mut answer = addresses(&mut query, 2);
    let length = 30_000u16;
    answer.options = Some([&[0, 15][..], &length.to_be_bytes(), &vec![0; length.into()]].concat());
    let (out, message) = encode(&query, &answer);
    assert!(out.len() <= query.reply_max(), "{}", out.len());
    assert!(message.metadata.truncation);
    assert!(message.edns.is_some());
}

#[test]
fn no_reply_has_more_records_than_a_message_could_hold() {
    let mut query = query("many.demo", None);
    query.transport = Transport::Tcp;
    let mut answer = Reply::new(&mut query, Rcode::NOERROR);
    for number in 0..100_000u32 {
        answer.records.push(
            Section::Answer,
            Owner::Asked(0),
            Type::A,
            30,
            &[&number.to_be_bytes()],
        );
    }
    let (out, message) = encode(&query, &answer);
    assert!(out.len() <= usize::from(u16::MAX));
    assert!(message.metadata.truncation);
}

#[test]
fn addresses_of_targets_point_at_the_targets() {
    let mut query = query("many.demo.svc.cluster.local", Some(512));
    let mut answer = Reply::new(&mut query, Rcode::NOERROR);
    let targets: Vec<Name> = (0..6)
        .map(|n| {
            format!("10-244-6-{n}.many.demo.svc.cluster.local")
                .parse()
                .unwrap()
        })
        .collect();
    for target in &targets {
        let data: [&[u8]; 2] = [&[0, 0, 0, 1, 0, 80], target.wire()];
        answer
            .records
            .push(Section::Answer, Owner::Asked(0), Type::SRV, 30, &data);
    }
    for target in &targets {
        let owner = answer.records.owner(&[target.wire()]);
        answer
            .records
            .push(Section::Additional, owner, Type::A, 30, &[&[10, 244, 6, 1]]);
    }
    let (out, message) = encode(&query, &answer);
    // Question, OPT, six times a target in full with its fixed parts, six times a pointer and an address.
    assert_eq!(out.len(), 12 + 29 + 4 + 11 + 6 * (12 + 6 + 40) + 6 * 16);
    assert!(!message.metadata.truncation);
    assert_eq!(
        message.additionals[5].name.to_string(),
        targets[5].to_string()
    );
}

#[test]
fn names_come_back_in_the_case_in_which_they_were_given() {
    let mut query = query("a.EXAMPLE.com", None);
    let mut answer = Reply::new(&mut query, Rcode::NOERROR);
    for n in 0..20u8 {
        let target = [&[1, b'a' + n], &b"\x07example\x03com\0"[..]].concat();
        answer
            .records
            .push(Section::Answer, Owner::Asked(0), Type::NS, 30, &[&target]);
    }
    let (_, message) = encode(&query, &answer);
    assert!(
        message
            .answers
            .iter()
            .all(|record| record.data.to_string().ends_with(".example.com."))
    );
}
