//! Who asks most, as `top` tells.

use std::net::UdpSocket;

use super::{asked, cairn, serving, upstream};
use crate::support::dns;

#[test]
fn top_finds_who_asks_most_within_its_bound() {
    const ASKED: usize = 24_000;
    let upstream = upstream();
    let (server, _folder, _) = serving(upstream.address());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address()).unwrap();
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    let mut reply = [0; 2048];
    for number in 0..ASKED {
        // A third each; and all others once.
        let name = match number % 3 {
            0 => "web.shop.svc.cluster.local".to_owned(),
            1 => format!("n{number}.shop.svc.cluster.local"),
            _ => "web.nowhere.svc.cluster.local".to_owned(),
        };
        let packet = dns::packet(&format!("{name}."), "A", 0);
        socket.send(&packet).unwrap();
        socket.recv(&mut reply).unwrap();
    }
    let top = asked(&server, "top -n 3");
    let samples = top["samples"].as_u64().unwrap();
    let expected = (ASKED / 64) as u64;
    assert!(
        samples.abs_diff(expected) < expected / 4,
        "{samples} samples"
    );
    let first = |kind: &str, what: &str, part: f64| {
        let entries = top[kind].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["what"] == what);
        let entry = entry.unwrap_or_else(|| panic!("{what}: {entries:?}"));
        let [least, most] = ["at_least", "at_most"].map(|field| entry[field].as_u64().unwrap());
        assert!(
            least <= most && most - least <= samples / 256 + 1,
            "{entry}"
        );
        let share = least as f64 / samples as f64;
        // Chance: of some hundred samples a third is right within a quarter of itself.
        assert!((share - part).abs() < part / 3.0, "{what}: {share}");
    };
    first("names", "web.shop.svc.cluster.local.", 1.0 / 3.0);
    first("names", "web.nowhere.svc.cluster.local.", 1.0 / 3.0);
    first("namespaces", "shop", 2.0 / 3.0);
    first("rcodes", "NXDOMAIN", 2.0 / 3.0);
    first("clients", "127.0.0.1", 1.0);
    let pid = server.id().to_string();
    for (args, expected) in [
        ("top", vec!["NAME", "NAMESPACE", "CLIENT", "RCODE"]),
        ("top --by client", vec!["CLIENT"]),
        ("top --by client --by name", vec!["NAME", "CLIENT"]),
    ] {
        let args: Vec<&str> = args.split(' ').chain(["--pid", &pid]).collect();
        let (code, text, err) = cairn(&args, None);
        assert_eq!(code, Some(0), "{err}");
        let titles = text.lines().filter(|line| line.contains("AT MOST"));
        let titles: Vec<&str> = titles.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(titles, expected, "{args:?}");
    }
}
