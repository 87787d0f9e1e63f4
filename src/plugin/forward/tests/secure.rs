//! Upstreams within TLS: whom they must prove to be, and what is kept of the way to them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::chain::Cause;

mod certificates;
mod kept;
mod peer;

use certificates::{Authority, Issued, Life, VERSION_1};
use peer::{Demands, Http, Peer};

const ALL: [(Secure, &str); 3] = [
    (Secure::Tls, "tls"),
    (Secure::Https, "https"),
    (Secure::Quic, "quic"),
];

/// A stanza that trusts this authority.
fn trusting(
    authority: &Authority,
    scheme: &str,
    peer: &Peer,
    properties: &str,
) -> (Arc<Forward>, Arc<Mutex<Vec<String>>>) {
    let outside = Memory::new().file("ca.pem", authority.pem());
    let block = format!(
        "forward . {scheme}://{} {{\ntls ca.pem\ntls_servername dns.test\nmax_connect_attempts 1\nmax_fails 0\n{properties}\n}}",
        peer.address
    );
    let (forward, told) = observed_in(&outside, &block);
    // A handshake may take longer than its patience on a machine that is busy.
    spend_hedges(&forward);
    (forward, told)
}

/// A peer that is asked over HTTPS and answers so.
async fn serving(http: Http, issued: &Issued, authority: &Authority) -> Peer {
    let anywhere = "127.0.0.1:0".parse().unwrap();
    let demands = Demands::Nothing;
    Peer::start_at(anywhere, Secure::Https, issued, authority, demands, http).await
}

#[tokio::test]
async fn one_connection_answers_all_queries_of_a_protocol() {
    for (secure, scheme) in ALL {
        let authority = Authority::new();
        let issued = authority.issue(&["dns.test"], Life::Valid);
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, told) = trusting(&authority, scheme, &peer, "");
        for transport in [Transport::Udp, Transport::Tcp, Transport::Udp] {
            assert_eq!(ask(&forward, transport).await, good(1), "{scheme}");
        }
        let over = Over::from(secure).as_str();
        assert_eq!(
            *told.lock().unwrap(),
            [
                format!("made {over}"),
                "answered NOERROR".to_owned(),
                format!("reused {over}"),
                "answered NOERROR".to_owned(),
                format!("reused {over}"),
                "answered NOERROR".to_owned(),
            ],
            "{scheme}"
        );
        assert_eq!(peer.connections(), 1, "{scheme}");
        let no_id = peer.seen().iter().all(|seen| seen.id() == 0);
        assert_eq!(no_id, secure != Secure::Tls, "{scheme}");
    }
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_or_an_old_one_is_told_in_words() {
    // RFC 5246 sections 6.2.1 and 7.2: an alert of TLS 1.1, fatal, protocol_version.
    const OLD: &[u8] = b"\x15\x03\x02\0\x02\x02\x46";
    for (says, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "the upstream does not speak TLS on this port",
        ),
        (OLD, "the upstream speaks neither TLS 1.2 nor 1.3"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 4096];
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(says).await;
            }
        });
        for scheme in ["tls", "https"] {
            let block = format!(
                "forward . {scheme}://{address} {{\nmax_connect_attempts 1\nmax_fails 0\n}}"
            );
            let said = ask(&forward(&block), Transport::Udp).await.unwrap_err();
            assert_eq!(said, format!("tls {address}: {expected}"), "{scheme}");
        }
    }
}

#[test]
fn a_certificate_of_an_old_version_is_told_in_words() {
    let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let (roots, provider) = (Authority::new().roots(), ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider));
    let name = "dns.test".try_into().unwrap();
    let verified = verifier.build().unwrap().verify_server_cert(
        &certificate,
        &[],
        &name,
        &[],
        UnixTime::now(),
    );
    let words = "certificate is of an old version of X.509: version 3 is needed";
    assert_eq!(tls::cause(&verified.unwrap_err()), Cause::Tls(words.into()));
}

#[tokio::test]
async fn a_server_is_asked_by_the_name_that_the_corefile_gives_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test", "127.0.0.1"], Life::Valid);
    for (secure, scheme) in ALL {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let port = peer.address.port();
        for (to, properties) in [
            (format!("{scheme}://127.0.0.1:{port}"), ""),
            (format!("{scheme}://127.0.0.1%dns.test:{port}"), ""),
            (
                format!("{scheme}://127.0.0.1:{port}"),
                "tls_servername dns.test",
            ),
        ] {
            let outside = Memory::new().file("ca.pem", authority.pem());
            let block = format!("forward . {to} {{\ntls ca.pem\n{properties}\n}}");
            let (forward, _) = observed_in(&outside, &block);
            assert_eq!(
                ask(&forward, Transport::Udp).await,
                good(1),
                "{to} {properties}"
            );
        }
    }
}

#[tokio::test]
async fn whoever_cannot_prove_who_he_is_is_not_asked_and_the_reason_is_told() {
    let authority = Authority::new();
    let stranger = Authority::named("another CA");
    let impostor = Authority::new();
    for (fact, by, names, life, demands, expected) in [
        (
            "another name",
            &authority,
            &["other.test"][..],
            Life::Valid,
            Demands::Nothing,
            &["name \"dns.test\"", "other.test"][..],
        ),
        (
            "an expired certificate",
            &authority,
            &["dns.test"],
            Life::Expired,
            Demands::Nothing,
            &["certificate expired"],
        ),
        (
            "an unknown issuer",
            &stranger,
            &["dns.test"],
            Life::Valid,
            Demands::Nothing,
            &["certificate is signed by an unknown authority"],
        ),
        (
            "another issuer of the same name",
            &impostor,
            &["dns.test"],
            Life::Valid,
            Demands::Nothing,
            &["certificate is not signed by the authority that it names"],
        ),
        (
            "a client certificate is demanded",
            &authority,
            &["dns.test"],
            Life::Valid,
            Demands::Certificate,
            &["the upstream demands a client certificate: name one with 'tls CERT KEY'"],
        ),
    ] {
        for (secure, scheme) in ALL {
            let issued = by.issue(names, life);
            let peer = Peer::start(secure, &issued, &authority, demands).await;
            let (forward, _) = trusting(&authority, scheme, &peer, "");
            let said = ask(&forward, Transport::Udp).await.unwrap_err();
            let begins = format!("tls {}: ", peer.address);
            assert!(said.starts_with(&begins), "{fact}, {scheme}: {said}");
            for part in expected {
                assert!(said.contains(part), "{fact}, {scheme}: {said}");
            }
            assert_eq!(peer.seen().len(), 0, "{fact}, {scheme}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_whom_demands_it() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let client = authority.issue(&["cairn.test"], Life::Valid);
    let outside = Memory::new()
        .file("ca.pem", authority.pem())
        .file("cert.pem", client.pem())
        .file("key.pem", client.key_pem());
    for (secure, scheme) in ALL {
        let peer = Peer::start(secure, &issued, &authority, Demands::Certificate).await;
        let block = format!(
            "forward . {scheme}://{} {{\ntls cert.pem key.pem ca.pem\ntls_servername dns.test\n}}",
            peer.address
        );
        let (forward, _) = observed_in(&outside, &block);
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_is_followed_by_a_new_one_that_resumes_its_session() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in ALL {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, told) = trusting(&authority, scheme, &peer, "");
        for _ in 0..2 {
            assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
            peer.close_connections().await;
        }
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
        assert_eq!(peer.connections(), 3, "{scheme}");
        // quinn does not tell the server's side whether it did.
        if secure != Secure::Quic {
            assert_eq!(peer.resumed(), 2, "{scheme}");
        }
        let told = told.lock().unwrap().clone();
        let answered = told.iter().filter(|told| *told == "answered NOERROR");
        assert_eq!(answered.count(), 3, "{scheme}: {told:?}");
    }
}

#[tokio::test]
async fn a_server_that_knows_other_names_of_protocols_is_asked_over_tls() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    let peer = Peer::start(Secure::Tls, &issued, &authority, Demands::OtherProtocol).await;
    let (forward, _) = trusting(&authority, "tls", &peer, "");
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
}

#[tokio::test]
async fn the_age_of_a_response_is_taken_off_its_ttls() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (age, expected) in [
        ("0", 60),
        ("25", 35),
        ("60", 0),
        ("61", 0),
        ("99999999999999999999", 0),
        ("12, 20", 48),
        ("-1", 60),
        ("+5", 60),
        ("soon", 60),
        ("", 60),
    ] {
        let peer = serving(Http::Aged(age), &issued, &authority).await;
        let (forward, _) = trusting(&authority, "https", &peer, "doh_method GET");
        let asked = query("www.example.com", Transport::Udp);
        let Step::Reply(reply) = forward.ask(&asked).await else {
            panic!("{age:?}: no reply");
        };
        let ttls: Vec<u32> = reply
            .records
            .entries()
            .iter()
            .map(|entry| entry.ttl)
            .collect();
        assert_eq!(ttls, [expected], "{age:?}");
    }
}

#[tokio::test]
async fn a_query_over_https_is_a_post_or_a_get_as_configured() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (property, expected) in [
        ("", http::Method::POST),
        ("doh_method POST", http::Method::POST),
        ("doh_method GET", http::Method::GET),
    ] {
        let peer = Peer::start(Secure::Https, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, "https", &peer, property);
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{property}");
        // A handshake that takes its time is another query's reason to go out beside.
        let methods = peer.methods();
        assert!(
            methods.iter().all(|method| *method == expected),
            "{methods:?}"
        );
        assert!(!methods.is_empty(), "{property}");
    }
}

#[tokio::test]
async fn an_answer_of_http_that_is_none_of_dns_is_told_as_what_it_is() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (http, expected) in [
        (Http::Fails, "status 503 Service Unavailable"),
        (
            Http::Chats,
            "the body is no message of DNS, but \"text/html\"",
        ),
    ] {
        let peer = serving(http, &issued, &authority).await;
        let (forward, _) = trusting(&authority, "https", &peer, "");
        let said = ask(&forward, Transport::Udp).await.unwrap_err();
        assert_eq!(said, format!("https {}: {expected}", peer.address));
    }
}

#[tokio::test]
async fn many_queries_at_once_share_a_connection_where_the_protocol_has_streams() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in [(Secure::Https, "https"), (Secure::Quic, "quic")] {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, scheme, &peer, "");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let forward = forward.clone();
            tasks.spawn(async move { ask(&forward, Transport::Udp).await });
        }
        while let Some(done) = tasks.join_next().await {
            assert_eq!(done.unwrap(), good(1), "{scheme}");
        }
        assert_eq!(peer.connections(), 1, "{scheme}");
    }
}

#[tokio::test]
async fn health_is_checked_over_the_protocol_of_the_upstream() {
    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    // Not QUIC: that nobody listens is told by no refusal there, and would take its time.
    for (secure, scheme) in [(Secure::Tls, "tls"), (Secure::Https, "https")] {
        // Held, so that nobody else gets the port; nobody listens on it.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let outside = Memory::new().file("ca.pem", authority.pem());
        let block = format!(
            "forward . {scheme}://{address} {{\ntls ca.pem\ntls_servername dns.test\nmax_connect_attempts 1\nmax_fails 1\nhealth_check 50ms\n}}"
        );
        let (forward, told) = observed_in(&outside, &block);
        let upstream = forward.stanzas[0].upstreams.current().upstreams[0].clone();
        let begin = ask(&forward, Transport::Udp).await;
        assert!(begin.is_err(), "{scheme}: {begin:?}");
        choice::wait_for(|| upstream.is_down()).await;
        drop(socket);
        let (demands, http) = (Demands::Nothing, Http::Answers);
        let peer = Peer::start_at(address, secure, &issued, &authority, demands, http).await;
        choice::wait_for(|| !upstream.is_down()).await;
        assert_eq!(peer.seen().len(), 0, "{scheme}: only checks so far");
        let checked = told.lock().unwrap().contains(&"check failed".to_owned());
        assert!(checked, "{scheme}");
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
    }
}

#[tokio::test]
async fn queries_come_from_the_source_address_over_every_protocol() {
    let source: std::net::IpAddr = "127.0.0.9".parse().unwrap();
    let property = format!("source_address {source}");
    let plain = FakeUpstream::answering(1).await;
    let block = format!("forward . {} {{\n{property}\n}}", plain.address);
    let (forward, _) = observed(&block);
    for transport in [Transport::Udp, Transport::Udp, Transport::Tcp] {
        assert_eq!(ask(&forward, transport).await, good(1));
    }
    assert!(plain.seen().iter().all(|seen| seen.from.ip() == source));
    let ports: HashSet<u16> = plain.seen().iter().map(|seen| seen.from.port()).collect();
    assert_eq!(ports.len(), 3, "each with a port of its own");

    let authority = Authority::new();
    let issued = authority.issue(&["dns.test"], Life::Valid);
    for (secure, scheme) in ALL {
        let peer = Peer::start(secure, &issued, &authority, Demands::Nothing).await;
        let (forward, _) = trusting(&authority, scheme, &peer, &property);
        assert_eq!(ask(&forward, Transport::Udp).await, good(1), "{scheme}");
        assert_eq!(peer.seen()[0].from.ip(), source, "{scheme}");
    }
}
