//! What is taken for the reply to a query, and what is not.

use super::*;

#[tokio::test]
async fn what_is_no_reply_to_the_query_does_not_end_the_wait() {
    type Spoil = fn(&Seen) -> Vec<u8>;
    /// The good reply of another upstream, changed at one place.
    fn changed(seen: &Seen, at: usize, with: fn(u8) -> u8) -> Vec<u8> {
        let mut reply = seen.answer(66);
        reply[at] = with(reply[at]);
        reply
    }
    let cut = |seen: &Seen| seen.answer(66)[..40].to_vec();
    let rows: &[(&str, Spoil)] = &[
        ("another id", |seen| changed(seen, 1, |octet| octet ^ 1)),
        ("a query", |seen| changed(seen, 2, |octet| octet & 0x7f)),
        ("another opcode", |seen| {
            changed(seen, 2, |octet| octet | 0x20)
        }),
        ("no question", |seen| {
            let mut reply = seen.answer(66)[..12].to_vec();
            reply[4..12].fill(0);
            reply
        }),
        ("two questions", |seen| changed(seen, 5, |_| 2)),
        ("another name", |seen| changed(seen, 14, |octet| octet ^ 2)),
        ("another type", |seen| changed(seen, 30, |_| 28)),
        ("another class", |seen| changed(seen, 32, |_| 3)),
        ("a cut record", cut),
        ("nothing", |_| vec![]),
        ("a cut header", |seen| seen.answer(66)[..11].to_vec()),
        ("noise", |_| vec![0x5a; 100]),
    ];
    for (what, spoil) in rows {
        let spoil = *spoil;
        let upstream =
            FakeUpstream::start(move |seen| vec![Act::Say(spoil(seen)), Act::Say(seen.answer(1))])
                .await;
        let forward = forward(&format!("forward . {}", upstream.address));
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{what}");
        assert_eq!(
            upstream.seen().len(),
            1,
            "{what}: the first query was answered"
        );
    }
}

#[tokio::test]
async fn what_was_discarded_is_told_where_no_reply_came() {
    let upstream = FakeUpstream::start(|seen| {
        let other = |offset| {
            let mut reply = seen.answer(66);
            reply[..2].copy_from_slice(&seen.id().wrapping_add(offset).to_be_bytes());
            Act::Say(reply)
        };
        vec![other(1), other(2)]
    })
    .await;
    let (forward, told) = observed(&format!(
        "forward . {} {{\nread_timeout 100ms\nmax_fails 0\nmax_connect_attempts 1\n}}",
        upstream.address
    ));
    let why = ask(&forward, Transport::Udp).await.unwrap_err();
    let expected = format!(
        "->{}: 2 discarded, not answers to this query: i/o timeout",
        upstream.address
    );
    assert!(why.ends_with(&expected), "{why}");
    let told = told.lock().unwrap();
    let count = |what| told.iter().filter(|told| *told == what).count();
    assert_eq!(count("discarded"), 2 * count("made udp"), "{told:?}");
}

#[tokio::test]
async fn a_flood_of_wrong_ids_does_not_keep_the_genuine_reply_out() {
    let upstream = FakeUpstream::start(|seen| {
        let wrong = (1..=200).map(|offset| {
            let mut reply = seen.answer(66);
            reply[..2].copy_from_slice(&seen.id().wrapping_add(offset).to_be_bytes());
            Act::Say(reply)
        });
        wrong.chain([Act::Say(seen.answer(1))]).collect()
    })
    .await;
    let forward = forward(&format!("forward . {}", upstream.address));
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
}

#[tokio::test]
async fn a_reply_from_another_port_is_not_taken() {
    let stranger = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let sender = stranger.clone();
    let upstream = FakeUpstream::start(move |seen| {
        sender.try_send_to(&seen.answer(66), seen.from).unwrap();
        vec![Act::Say(seen.answer(1))]
    })
    .await;
    // Waits for the socket to be known as writable.
    stranger.writable().await.unwrap();
    let forward = forward(&format!("forward . {}", upstream.address));
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
}

#[tokio::test]
async fn of_two_answers_the_first_counts_and_the_second_answers_nothing_else() {
    let upstream = FakeUpstream::start(|seen| {
        let nth = seen.nth as u8;
        vec![Act::Say(seen.answer(nth)), Act::Say(seen.answer(nth + 100))]
    })
    .await;
    let forward = forward(&format!("forward . {}", upstream.address));
    for nth in 0..50 {
        assert_eq!(ask(&forward, Transport::Udp).await, good(nth));
    }
}

#[tokio::test]
async fn an_answer_that_comes_after_its_time_is_not_taken_for_another() {
    let first: Arc<Mutex<Option<Seen>>> = Arc::default();
    let upstream = FakeUpstream::start(move |seen| {
        let mut first = first.lock().unwrap();
        match first.take() {
            Some(late) => vec![
                Act::SayTo(late.from, late.answer(66)),
                Act::SayTo(seen.from, late.answer(66)),
                Act::Say(seen.answer(1)),
            ],
            None => {
                *first = Some(seen.clone());
                vec![]
            }
        }
    })
    .await;
    let forward = forward(&format!(
        "forward . {} {{\nread_timeout 40ms\nmax_fails 0\n}}",
        upstream.address
    ));
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0].from, seen[1].from, "a new try has a new port");
}

#[tokio::test]
async fn a_stray_message_on_a_connection_is_passed_over() {
    let upstream = FakeUpstream::start(|seen| {
        let mut stray = seen.answer(66);
        stray[0] ^= 0xff;
        vec![
            Act::Say(stray.clone()),
            Act::Say(seen.answer(1)),
            Act::Say(stray),
        ]
    })
    .await;
    let forward = forward(&format!("forward . {}", upstream.address));
    for _ in 0..3 {
        assert_eq!(ask(&forward, Transport::Tcp).await, good(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_queries_at_once_get_their_own_answers_under_ids_and_ports_of_their_own() {
    let upstream = FakeUpstream::start(|seen| {
        let label = seen.query().question.name.labels().next().unwrap().to_vec();
        let number: u16 = String::from_utf8(label).unwrap()[1..].parse().unwrap();
        let reply = seen.reply(Rcode::NOERROR, &[(number >> 8) as u8, number as u8]);
        vec![Act::Say(reply)]
    })
    .await;
    // A burst may overrun the upstream's receive buffer; what is lost is asked again.
    let forward = forward(&format!(
        "forward . {} {{\nread_timeout 500ms\nmax_connect_attempts 0\nmax_fails 0\n}}",
        upstream.address
    ));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..500u16 {
        let forward = forward.clone();
        tasks.spawn(async move {
            let query = query(&format!("n{number}.example.com"), Transport::Udp);
            (number, ask_for(&forward, query).await)
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (number, answer) = done.unwrap();
        let octets = vec![(number >> 8) as u8, number as u8];
        assert_eq!(answer, Ok((Rcode::NOERROR, octets)), "n{number}");
    }
    let seen = upstream.seen();
    let ids: HashSet<u16> = seen.iter().map(Seen::id).collect();
    let ports: HashSet<u16> = seen.iter().map(|seen| seen.from.port()).collect();
    let both: HashSet<(u16, u16)> = seen
        .iter()
        .map(|seen| (seen.id(), seen.from.port()))
        .collect();
    // Of 500 draws, two of 65,536 ids and five of 28,000 ports come twice; the pair never should.
    assert_eq!(both.len(), seen.len());
    assert!(ids.len() > 480, "{} ids", ids.len());
    assert!(ports.len() > 470, "{} ports", ports.len());
}
