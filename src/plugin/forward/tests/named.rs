//! Upstreams whose addresses come and go: listed in files that change, known by names that move, and kept over a
//! reload.

use super::*;
use crate::plugin::forward::roster::Pace;

/// A pace at which a test need not wait.
const QUICK: Pace = Pace {
    look: Duration::from_millis(2),
    believe: (Duration::from_millis(2), Duration::from_millis(20)),
};

/// Follows what the first stanza of the plugin names.
fn follow(forward: &Arc<Forward>) -> tokio::task::JoinHandle<()> {
    let forward = forward.clone();
    tokio::spawn(async move { forward.stanzas[0].upstreams.follow(QUICK).await })
}

fn listed(forward: &Forward) -> Vec<String> {
    let current = forward.stanzas[0].upstreams.current();
    let upstreams = current.upstreams.iter();
    upstreams
        .map(|upstream| upstream.endpoint().to_string())
        .collect()
}

#[tokio::test]
async fn a_file_of_upstreams_is_followed_and_keeps_its_last_good_list() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    let path = file.display().to_string();
    let first = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";
    let outside = Memory::new().file(&file, first);
    let (forward, _) = observed_in(&outside, &format!("forward . {path} 10.0.0.9"));
    assert_eq!(
        listed(&forward),
        ["10.0.0.1:53", "10.0.0.2:53", "10.0.0.9:53"]
    );
    let following = follow(&forward);
    let kept = forward.stanzas[0].upstreams.current().upstreams[1].clone();

    let put = |content: &str| {
        let new = folder.path().join("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    put("search a.test\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n");
    let second = ["10.0.0.2:53", "10.0.0.3:53", "10.0.0.9:53"];
    choice::wait_for(|| listed(&forward) == second).await;
    let now = forward.stanzas[0].upstreams.current().upstreams[0].clone();
    assert!(Arc::ptr_eq(&kept, &now), "what stays is the same upstream");

    // Nothing is to happen; a look after each shows that it was looked at.
    for broken in [Some(""), Some("options ndots:5\n"), None] {
        match broken {
            Some(content) => put(content),
            None => std::fs::remove_file(&file).unwrap(),
        }
        tokio::time::sleep(20 * QUICK.look).await;
        assert_eq!(listed(&forward), second, "{broken:?}");
    }

    // As a ConfigMap is mounted: a link to a link that is turned.
    let [old, new] = ["old", "new.d"].map(|name| folder.path().join(name));
    let data = folder.path().join("..data");
    for (place, address) in [(&old, "10.0.0.4"), (&new, "10.0.0.5")] {
        std::fs::create_dir(place).unwrap();
        std::fs::write(place.join("resolv.conf"), format!("nameserver {address}\n")).unwrap();
    }
    std::os::unix::fs::symlink(&old, &data).unwrap();
    std::os::unix::fs::symlink(data.join("resolv.conf"), &file).unwrap();
    choice::wait_for(|| listed(&forward) == ["10.0.0.4:53", "10.0.0.9:53"]).await;
    let turned = folder.path().join("..turned");
    std::os::unix::fs::symlink(&new, &turned).unwrap();
    std::fs::rename(&turned, &data).unwrap();
    choice::wait_for(|| listed(&forward) == ["10.0.0.5:53", "10.0.0.9:53"]).await;
    following.abort();
}

/// A resolver that knows one name, at the addresses that the test says.
async fn resolver(addresses: &Arc<Mutex<Option<Vec<[u8; 4]>>>>) -> FakeUpstream {
    let addresses = addresses.clone();
    FakeUpstream::start(move |seen| {
        let Some(addresses) = addresses.lock().unwrap().clone() else {
            return vec![Act::Say(seen.reply(Rcode::SERVFAIL, &[]))];
        };
        let mut query = seen.query();
        assert_eq!(query.question.name.to_string(), "dns.example.net.");
        let mut reply = Reply::new(&mut query, Rcode::NOERROR);
        if query.question.rtype == Type::A {
            for address in &addresses {
                let owner = crate::dns::reply::Owner::Asked(0);
                reply
                    .records
                    .push(Section::Answer, owner, Type::A, 0, &[address]);
            }
        }
        let mut out = Vec::new();
        crate::dns::encode::reply(&query, &reply, &mut out);
        vec![Act::Say(out)]
    })
    .await
}

#[tokio::test]
async fn a_name_is_resolved_again_and_keeps_its_last_good_addresses() {
    let upstream = FakeUpstream::answering(1).await;
    let addresses = Arc::new(Mutex::new(None));
    let resolver = resolver(&addresses).await;
    let (port, at) = (upstream.address.port(), resolver.address);
    let block = format!("forward . dns.example.net:{port} {{\nresolver {at}\n}}");
    let (forward, _) = observed(&block);
    let said = ask(&forward, Transport::Udp).await.unwrap_err();
    assert_eq!(
        said,
        "no upstream can be asked: dns.example.net. has not been resolved yet"
    );

    let following = follow(&forward);
    let unresolved =
        "no upstream can be asked: dns.example.net. cannot be resolved: the resolver says SERVFAIL";
    while ask(&forward, Transport::Udp).await != Err(unresolved.to_owned()) {
        tokio::task::yield_now().await;
    }

    let expect = |last: &[u8]| {
        last.iter()
            .map(|last| format!("127.0.0.{last}:{port}"))
            .collect::<Vec<_>>()
    };
    let say = |last: &[u8]| {
        *addresses.lock().unwrap() = Some(last.iter().map(|last| [127, 0, 0, *last]).collect());
    };
    say(&[1]);
    choice::wait_for(|| listed(&forward) == expect(&[1])).await;
    assert_eq!(ask(&forward, Transport::Udp).await, good(1));
    say(&[3, 1]);
    choice::wait_for(|| listed(&forward) == expect(&[1, 3])).await;

    for (fact, said) in [
        ("the resolver fails", None),
        ("the name is gone", Some(vec![])),
    ] {
        *addresses.lock().unwrap() = said;
        let before = resolver.seen().len();
        choice::wait_for(|| resolver.seen().len() > before + 4).await;
        assert_eq!(listed(&forward), expect(&[1, 3]), "{fact}");
    }

    let many: Vec<u8> = (1..=20).collect();
    say(&many);
    choice::wait_for(|| listed(&forward).len() == UPSTREAMS_MAX).await;
    assert_eq!(listed(&forward), expect(&many[..UPSTREAMS_MAX]));
    following.abort();
}

#[tokio::test]
async fn a_configuration_knows_the_addresses_that_the_one_before_knew() {
    let addresses = Arc::new(Mutex::new(Some(vec![[127, 0, 0, 7]])));
    let resolver = resolver(&addresses).await;
    let block = format!(
        "forward . tls://dns.example.net {{\nresolver {}\n}}",
        resolver.address
    );
    let outbound = Arc::new(Outbound::new(Arc::new(Unobserved), Handle::current()));
    let outside = Memory::new();
    let before = generation(&outside, &block, outbound.clone());
    let following = follow(&before);
    choice::wait_for(|| listed(&before) == ["tls://127.0.0.7:853"]).await;
    following.abort();
    let after = generation(&outside, &block, outbound);
    assert_eq!(listed(&after), ["tls://127.0.0.7:853"]);
}

#[tokio::test]
async fn an_upstream_of_which_a_reload_says_the_same_stays_with_its_health_and_its_connections() {
    let upstream = FakeUpstream::answering(1).await;
    let to = upstream.address;
    for (what, after, stays) in [
        (
            "the same",
            format!("forward . {to} {{\nmax_fails 1\n}}"),
            true,
        ),
        (
            "another upstream beside it",
            format!("forward . 127.0.0.2 {to} {{\nmax_fails 1\npolicy sequential\n}}"),
            true,
        ),
        (
            "another zone",
            format!("forward a.test {to} {{\nmax_fails 1\n}}"),
            true,
        ),
        (
            "other settings",
            format!("forward . {to} {{\nmax_fails 1\nexpire 1m\n}}"),
            false,
        ),
        (
            "another protocol",
            format!("forward . tls://{to} {{\nmax_fails 1\n}}"),
            false,
        ),
    ] {
        let outbound = Arc::new(Outbound::new(Arc::new(Unobserved), Handle::current()));
        let outside = Memory::new();
        let block = format!("forward . {to} {{\nmax_fails 1\n}}");
        let first = generation(&outside, &block, outbound.clone());
        assert_eq!(ask(&first, Transport::Tcp).await, good(1), "{what}");
        first.stanzas[0].upstreams.current().upstreams[0].set_failed_checks(2);
        let second = generation(&outside, &after, outbound);
        drop(first);
        let upstreams = second.stanzas[0].upstreams.current();
        let is_down = upstreams
            .upstreams
            .iter()
            .any(|upstream| upstream.is_down());
        assert_eq!(is_down, stays, "{what}");
        if what == "the same" {
            let before = upstream.seen();
            assert_eq!(ask(&second, Transport::Tcp).await, good(1), "{what}");
            let seen = upstream.seen();
            assert_eq!(
                seen.last().unwrap().from,
                before.last().unwrap().from,
                "one connection"
            );
        }
    }
}
