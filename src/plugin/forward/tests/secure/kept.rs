//! The one connection for all queries to an upstream: how long it is kept, and when another takes its place.

use futures_util::FutureExt;

use super::*;
use crate::chain::{Cause, Operation};
use crate::plugin::forward::channel::{Channel, Nth, Slot, Taken};
use crate::plugin::forward::dial::{Channels, Peer as Server, Protocol};
use crate::plugin::forward::exchange::Fault;
use crate::plugin::forward::tls::Clients;

const SHARED: [(Secure, &str); 2] = [(Secure::Https, "https"), (Secure::Quic, "quic")];

/// A connection to a peer.
async fn channel(peer: &Peer, authority: &Authority) -> Channel {
    let mut tls = Tls::default();
    tls.trust(authority.pem().as_bytes()).unwrap();
    let channels = Channels {
        to: peer.address,
        source: None,
        peer: Server {
            name: "dns.test".try_into().unwrap(),
            client: Clients::new(tls).client(Secure::Quic),
        },
        protocol: Protocol::Quic,
    };
    let until = Instant::now() + Duration::from_secs(60);
    channels.open(until).await.unwrap()
}

/// Takes what a slot has, or else begins an opening that comes to this; also the number of such a one.
fn take(slot: &Slot, opened: Result<&Channel, Fault>, at: Instant) -> (Taken, Option<Nth>) {
    let mut begun = None;
    let opened = opened.cloned();
    let taken = slot.take(at, |nth| {
        begun = Some(nth);
        std::future::ready(opened)
    });
    (taken, begun)
}

#[tokio::test]
async fn a_connection_for_all_is_used_while_it_is_young_and_not_idle_for_long() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = Peer::start(Secure::Quic, &issued, &authority, Demands::Nothing).await;
    let channel = channel(&peer, &authority).await;
    let seconds = Duration::from_secs;
    for (fact, max_age, used, later, expected) in [
        ("at once", None, 0, 0, true),
        ("just in time", None, 0, 9, true),
        ("too late", None, 0, 10, false),
        ("in use all the time", None, 9, 18, true),
        ("too old", Some(seconds(12)), 9, 12, false),
    ] {
        let slot = Slot::new(Idle {
            max_age,
            ..Idle::default()
        });
        let now = Instant::now();
        let take = |at: Instant| take(&slot, Ok(&channel), at);
        let (Taken::New(_), nth) = take(now) else {
            panic!("{fact}: there was none");
        };
        assert!(matches!(take(now).0, Taken::Shared(_)), "{fact}");
        slot.opened(nth.unwrap(), &Ok(channel.clone()), now);
        assert!(
            matches!(take(now + seconds(used)).0, Taken::Open(_)),
            "{fact}"
        );
        let later = now + seconds(later);
        assert_eq!(slot.expire(later), expected, "{fact}");
        assert_eq!(matches!(take(later).0, Taken::Open(_)), expected, "{fact}");
    }
}

#[tokio::test]
async fn what_is_said_of_one_connection_is_not_taken_for_another() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = Peer::start(Secure::Quic, &issued, &authority, Demands::Nothing).await;
    // The same one stands for two that have the same port.
    let channel = channel(&peer, &authority).await;
    let slot = Slot::new(Idle::default());
    let began = Instant::now();
    let later = began + Duration::from_secs(60);
    let open = |at| {
        let (Taken::New(_), Some(nth)) = take(&slot, Ok(&channel), at) else {
            panic!("there was one");
        };
        slot.opened(nth, &Ok(channel.clone()), at);
        match take(&slot, Ok(&channel), at).0 {
            Taken::Open(held) => held,
            other => panic!("it is not open: {other:?}"),
        }
    };
    let first = open(began);
    assert!(!slot.expire(later));
    let second = open(later);
    let is_open = || matches!(take(&slot, Ok(&channel), later).0, Taken::Open(_));
    slot.clear(&first);
    assert!(is_open(), "cleared with the number of the first");
    slot.unanswered(&first, later);
    assert!(is_open(), "a query on the first was not answered");
    slot.clear(&second);
    assert!(!is_open(), "cleared with its own");
}

#[tokio::test]
async fn an_opening_that_failed_says_nothing_of_one_that_came_after_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = Peer::start(Secure::Quic, &issued, &authority, Demands::Nothing).await;
    let channel = channel(&peer, &authority).await;
    let slot = Slot::new(Idle::default());
    let now = Instant::now();
    let fault = Fault::new(Operation::Dial, Cause::Closed);
    let (Taken::New(failing), Some(first)) = take(&slot, Err(fault.clone()), now) else {
        panic!("there was one");
    };
    assert_eq!(failing.await.unwrap_err(), fault);
    let (Taken::New(opening), Some(second)) = take(&slot, Ok(&channel), now) else {
        panic!("there was one");
    };
    assert!(opening.await.is_ok());
    slot.opened(first, &Err(fault), now);
    assert!(
        matches!(take(&slot, Ok(&channel), now).0, Taken::Shared(_)),
        "the second"
    );
    slot.opened(second, &Ok(channel.clone()), now);
    assert!(
        matches!(take(&slot, Ok(&channel), now).0, Taken::Open(_)),
        "the second"
    );
}

#[tokio::test]
async fn a_query_that_is_given_up_leaves_the_connection_that_it_opened() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in SHARED {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, scheme, &peer, "");
        let asked = query("www.example.com", Transport::Udp);
        assert!(forward.ask(&asked).now_or_never().is_none(), "{scheme}");
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
        assert_eq!(peer.connections(), 1, "{scheme}");
    }
}

#[tokio::test]
async fn a_connection_whose_opener_was_given_up_expires() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in SHARED {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, scheme, &peer, "expire 100ms");
        let asked = query("www.example.com", Transport::Udp);
        assert!(forward.ask(&asked).now_or_never().is_none(), "{scheme}");
        choice::wait_for(|| peer.connections() == 1 && peer.ended() == 1).await;
        assert_eq!(peer.seen().len(), 0, "{scheme}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_before_anybody_used_it_is_followed_by_a_new_one() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in SHARED {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, scheme, &peer, "");
        let asked = query("www.example.com", Transport::Udp);
        assert!(forward.ask(&asked).now_or_never().is_none(), "{scheme}");
        choice::wait_for(|| peer.connections() == 1).await;
        peer.close_connections().await;
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
        assert_eq!(peer.connections(), 2, "{scheme}");
    }
}

#[tokio::test]
async fn a_request_that_was_refused_goes_over_a_new_connection_at_once() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = serving(Http::Refuses, &issued, &authority).await;
    let (forward, _) = trusting(&authority, "https", &peer, "doh_method GET");
    for connections in [1, 2] {
        assert_eq!(ask(&forward, Transport::Udp).await, good(1));
        assert_eq!(peer.connections(), connections);
    }
}

#[tokio::test]
async fn a_request_that_was_refused_is_sent_again_also_by_whom_shared_the_opening() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = serving(Http::Refuses, &issued, &authority).await;
    let (forward, _) = trusting(&authority, "https", &peer, "doh_method GET");
    let mut asking = tokio::task::JoinSet::new();
    for name in ["first.example.com", "second.example.com"] {
        let forward = forward.clone();
        asking.spawn(async move { ask_for(&forward, query(name, Transport::Udp)).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), good(1));
    }
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_connection_of_which_the_server_lets_go_is_told_as_closed() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (fact, http) in [
        ("it goes away", Http::GoesAway),
        ("it hangs up", Http::HangsUp),
    ] {
        let peer = serving(http, &issued, &authority).await;
        let (forward, _) = trusting(&authority, "https", &peer, "doh_method GET");
        let said = ask(&forward, Transport::Udp).await.unwrap_err();
        assert!(said.ends_with(": EOF"), "{fact}: {said}");
    }
}
