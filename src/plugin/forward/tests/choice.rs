//! Which upstream is asked, how often, and whose word is the last.

use super::*;
use crate::testing::Lines;

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_followed_by_the_next() {
    let nobody = closed_port().await;
    let closing = FakeUpstream::start(|_| vec![Act::Close]).await;
    let promising = FakeUpstream::start(|seen| {
        let whole = seen.answer(66);
        vec![Act::Say(whole[..20].to_vec()), Act::Close]
    })
    .await;
    let silent = FakeUpstream::silent().await;
    for (what, first, transport) in [
        ("never answers", silent.address, Transport::Udp),
        ("never answers over TCP", silent.address, Transport::Tcp),
        ("is not there", nobody, Transport::Udp),
        ("is not there over TCP", nobody, Transport::Tcp),
        ("closes early", closing.address, Transport::Tcp),
        ("cuts its message", promising.address, Transport::Tcp),
    ] {
        let second = FakeUpstream::answering(2).await;
        let forward = forward(&format!(
            "forward . {first} {} {{\npolicy sequential\nread_timeout 300ms\nmax_fails 0\n}}",
            second.address
        ));
        assert_eq!(ask(&forward, transport).await, good(2), "{what}");
    }
}

/// A port on which nobody listens, of an address from which nobody asks: so nobody draws it meanwhile.
async fn closed_port() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn when_no_upstream_answers_the_last_fault_is_told_in_the_words_of_coredns() {
    let silent = FakeUpstream::silent().await;
    let cutting = FakeUpstream::start(|seen| vec![Act::Say(seen.answer(66)[..40].to_vec())]).await;
    let nobody = closed_port().await;
    for (what, upstream, transport, begins, ends) in [
        (
            "silence",
            silent.address,
            Transport::Udp,
            "read udp 127.0.0.1:",
            ": i/o timeout",
        ),
        (
            "silence over TCP",
            silent.address,
            Transport::Tcp,
            "read tcp 127.0.0.1:",
            ": i/o timeout",
        ),
        (
            "a cut record",
            cutting.address,
            Transport::Udp,
            "read udp 127.0.0.1:",
            ": message is cut off",
        ),
        (
            "a closed port",
            nobody,
            Transport::Udp,
            "read udp 127.0.0.1:",
            ": read: connection refused",
        ),
        (
            "a closed port over TCP",
            nobody,
            Transport::Tcp,
            "dial tcp ",
            ": connect: connection refused",
        ),
    ] {
        let forward = forward(&format!(
            "forward . {upstream} {{\nread_timeout 50ms\nmax_connect_attempts 1\nmax_fails 0\n}}"
        ));
        let said = ask(&forward, transport).await.unwrap_err();
        let to = upstream.to_string();
        assert!(
            said.starts_with(begins) && said.ends_with(ends),
            "{what}: {said}"
        );
        assert!(said.contains(&to), "{what}: {said}");
    }
}

#[tokio::test]
async fn upstreams_are_asked_no_more_often_than_allowed() {
    let silent = FakeUpstream::silent().await;
    for (property, expected) in [
        ("max_connect_attempts 1", 1),
        ("max_connect_attempts 3", 3),
        ("", 2),
    ] {
        let before = silent.seen().len();
        let forward = forward(&format!(
            "forward . {} {{\nread_timeout 20ms\nmax_fails 0\n{property}\n}}",
            silent.address
        ));
        ask(&forward, Transport::Udp).await.unwrap_err();
        assert_eq!(silent.seen().len() - before, expected, "{property}");
    }
}

#[tokio::test]
async fn every_code_of_an_upstream_is_passed_on() {
    for rcode in [
        Rcode::NOERROR,
        Rcode::FORMERR,
        Rcode::SERVFAIL,
        Rcode::NXDOMAIN,
        Rcode::NOTIMP,
        Rcode::REFUSED,
    ] {
        let upstream = FakeUpstream::refusing(rcode).await;
        let other = FakeUpstream::answering(2).await;
        let forward = forward(&format!(
            "forward . {} {} {{\npolicy sequential\n}}",
            upstream.address, other.address
        ));
        assert_eq!(
            ask(&forward, Transport::Udp).await,
            Ok((rcode, vec![])),
            "{rcode}"
        );
    }
}

#[tokio::test]
async fn failover_asks_the_others_and_believes_the_last() {
    let servfail = FakeUpstream::refusing(Rcode::SERVFAIL).await;
    let refused = FakeUpstream::refusing(Rcode::REFUSED).await;
    let fine = FakeUpstream::answering(3).await;
    let silent = FakeUpstream::silent().await;
    for (what, upstreams, expected) in [
        (
            "a good one is left",
            vec![&servfail, &refused, &fine],
            good(3),
        ),
        (
            "none is left",
            vec![&servfail, &refused],
            Ok((Rcode::REFUSED, vec![])),
        ),
        (
            "there is one alone",
            vec![&servfail],
            Ok((Rcode::SERVFAIL, vec![])),
        ),
        (
            "the other is silent",
            vec![&servfail, &silent],
            Ok((Rcode::SERVFAIL, vec![])),
        ),
    ] {
        let to: Vec<String> = upstreams.iter().map(|up| up.address.to_string()).collect();
        let forward = forward(&format!(
            "forward . {} {{\npolicy sequential\nread_timeout 50ms\nfailover SERVFAIL REFUSED\n}}",
            to.join(" ")
        ));
        assert_eq!(ask(&forward, Transport::Udp).await, expected, "{what}");
    }
}

#[tokio::test]
async fn next_leads_to_the_stanzas_below_that_take_the_name() {
    let nxdomain = FakeUpstream::refusing(Rcode::NXDOMAIN).await.address;
    let nodata = FakeUpstream::refusing(Rcode::NOERROR).await.address;
    let fine = FakeUpstream::answering(3).await.address;
    for (what, block, expected) in [
        (
            "on a code",
            format!("forward . {nxdomain} {{\nnext NXDOMAIN\n}}\nforward . {fine}"),
            good(3),
        ),
        (
            "on no data",
            format!("forward . {nodata} {{\nnext_on_nodata\n}}\nforward . {fine}"),
            good(3),
        ),
        (
            "not on another code",
            format!("forward . {nxdomain} {{\nnext SERVFAIL\nnext_on_nodata\n}}\nforward . {fine}"),
            Ok((Rcode::NXDOMAIN, vec![])),
        ),
        (
            "over a stanza of another zone",
            format!(
                "forward . {nxdomain} {{\nnext NXDOMAIN\n}}\nforward a.test {nodata}\nforward . {fine}"
            ),
            good(3),
        ),
        (
            "from the last stanza nowhere",
            format!("forward . {nxdomain} {{\nnext NXDOMAIN\n}}"),
            Ok((Rcode::NXDOMAIN, vec![])),
        ),
        (
            "out of the plugin, where no stanza takes the name",
            format!("forward . {nxdomain} {{\nnext NXDOMAIN\n}}\nforward a.test {fine}"),
            Err("Next".to_owned()),
        ),
        (
            "in written order, not to the longest zone",
            format!("forward . {nodata}\nforward example.com {fine}"),
            Ok((Rcode::NOERROR, vec![])),
        ),
    ] {
        let forward = forward(&block);
        assert_eq!(ask(&forward, Transport::Udp).await, expected, "{what}");
    }
}

#[tokio::test]
async fn an_upstream_that_fails_its_checks_is_passed_over_until_it_answers_one() {
    let lines = Lines::new();
    // All tasks of this runtime run on this thread.
    let _guard = tracing::subscriber::set_default(lines.clone());
    let nobody = closed_port().await;
    let (forward, told) = observed(&format!(
        "forward . {nobody} {{\nmax_fails 1\nhealth_check 50ms\nfailfast_all_unhealthy_upstreams\n}}"
    ));
    let upstream = &forward.stanzas[0].upstreams.current().upstreams[0].clone();
    ask(&forward, Transport::Udp).await.unwrap_err();
    wait_for(|| upstream.is_down()).await;
    assert_eq!(
        ask(&forward, Transport::Udp).await,
        Err("no healthy proxies".to_owned())
    );
    let all = told.lock().unwrap().clone();
    assert!(
        all.iter().filter(|told| *told == "check failed").count() >= 2,
        "{all:?}"
    );
    assert!(all.contains(&"broken".to_owned()), "{all:?}");
    wait_for(|| told.lock().unwrap().contains(&"went down".to_owned())).await;

    let answering = tokio::net::UdpSocket::bind(nobody).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = answering.recv_from(&mut buffer).await {
            // Asks for the name servers of the root; a port that was free may be asked something else by others.
            if buffer[..length].get(12..) != Some(b"\0\0\x02\0\x01") {
                continue;
            }
            // REFUSED and no question: the least that shows life.
            let reply = [buffer[0], buffer[1], 0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0];
            answering.send_to(&reply, from).await.unwrap();
        }
    });
    wait_for(|| told.lock().unwrap().contains(&"came up".to_owned())).await;
    assert!(!upstream.is_down());
    let logged = lines.0.lock().unwrap().clone();
    let [down, up] = logged.as_slice() else {
        panic!("{logged:?}");
    };
    let begin = format!("WARN plugin/forward: {nobody} is down: read udp ");
    assert!(down.starts_with(&begin), "{down}");
    assert!(down.ends_with(": read: connection refused"), "{down}");
    let begin = format!("INFO plugin/forward: {nobody} is up again, it was down for ");
    assert!(up.starts_with(&begin), "{up}");
}

#[tokio::test]
async fn an_upstream_that_nobody_asks_any_more_is_not_counted_as_down() {
    let nobody = closed_port().await;
    let (forward, told) = observed(&format!(
        "forward . {nobody} {{\nmax_fails 1\nhealth_check 50ms\n}}"
    ));
    ask(&forward, Transport::Udp).await.unwrap_err();
    wait_for(|| told.lock().unwrap().contains(&"went down".to_owned())).await;
    drop(forward);
    wait_for(|| told.lock().unwrap().contains(&"came up".to_owned())).await;
}

/// Waits for what another task does. The time is only there to end a test that fails.
pub(super) async fn wait_for(is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), so)
        .await
        .unwrap();
}

#[tokio::test]
async fn when_all_are_down_one_is_asked_all_the_same() {
    let upstream = FakeUpstream::answering(1).await;
    let (forward, told) = observed(&format!(
        "forward . {} {{\nmax_fails 1\n}}",
        upstream.address
    ));
    let down = &forward.stanzas[0].upstreams.current().upstreams[0].clone();
    down.set_failed_checks(2);
    assert!(down.is_down());
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
    assert_eq!(
        *told.lock().unwrap(),
        ["broken", "made udp", "answered NOERROR"]
    );
    assert!(!down.is_down(), "it answered");
}

#[tokio::test]
async fn when_all_are_down_a_few_wait_for_one_and_the_others_hear_of_it_at_once() {
    let silent = FakeUpstream::silent().await;
    let forward = forward(&format!(
        "forward . {} {{\nmax_fails 1\nread_timeout 60s\n}}",
        silent.address
    ));
    forward.stanzas[0].upstreams.current().upstreams[0].set_failed_checks(2);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (forward, name) = (forward.clone(), format!("n{number}.example.com"));
        tasks.spawn(async move { ask_for(&forward, query(&name, Transport::Udp)).await });
    }
    let answers = tasks.join_all().await;
    let said = |what: &str| {
        let reasons = answers.iter().filter_map(|answer| answer.as_ref().err());
        reasons.filter(|reason| reason.contains(what)).count()
    };
    assert_eq!([said("no healthy proxies"), said("i/o timeout")], [44, 256]);
}

#[tokio::test]
async fn round_robin_gives_each_upstream_its_turn() {
    let upstreams = [
        FakeUpstream::answering(0).await,
        FakeUpstream::answering(1).await,
    ];
    let forward = forward(&format!(
        "forward . {} {} {{\npolicy round_robin\n}}",
        upstreams[0].address, upstreams[1].address
    ));
    for turn in 0..6 {
        assert_eq!(ask(&forward, Transport::Udp).await, good(turn % 2));
    }
    assert_eq!(forward.stanzas[0].turn.load(Ordering::Relaxed), 6);
}
