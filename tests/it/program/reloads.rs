//! A Corefile that changes while it is served.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::corefile;
use crate::support::dns;
use crate::support::program::{Cairn, Launch, free_port};

#[test]
fn sigusr1_serves_the_changed_corefile() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    assert!(cairn.ask("two.test.").unwrap().starts_with("REFUSED"));
    cairn.write_corefile(&corefile("two"));
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.ask("two.test.").unwrap().starts_with("NOERROR"));
    assert!(cairn.ask("one.test.").unwrap().starts_with("REFUSED"));
}

#[test]
fn a_change_that_cannot_be_served_changes_nothing_and_is_told() {
    let metrics = free_port();
    let with_metrics = corefile("one").replace(
        "    whoami",
        &format!("    prometheus 127.0.0.1:{metrics}\n    whoami"),
    );
    let cairn = Cairn::serving(&with_metrics, &[]);
    cairn.write_corefile(&with_metrics.replacen("whoami", "whomai", 1));
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.log().contains("Corefile changed but reload failed"));
    let log = cairn.log();
    assert!(log.contains("did you mean 'whoami'"), "{log}");
    assert!(cairn.ask("example.org.").unwrap().starts_with("NOERROR"));
    let scraped = dns::http_body(SocketAddr::from((Ipv4Addr::LOCALHOST, metrics)), "/metrics");
    assert!(
        scraped.contains("\ncoredns_reload_failed_total 1\n"),
        "{scraped}"
    );

    cairn.write_corefile(&with_metrics.replace("one.test", "mended.test"));
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.ask("mended.test.").unwrap().starts_with("NOERROR"));
}

/// Mounts a version of a ConfigMap in the folder as the kubelet does: the link `..data` is replaced as a whole.
fn mount(folder: &Path, version: &str, port: u16) {
    let at = |path: &str| folder.join(path);
    let text = corefile(version).replacen("    whoami", "    reload 2s 0s\n    whoami", 1);
    let text = text.replace("PORT", &port.to_string());
    fs::create_dir(at(version)).unwrap();
    fs::write(at(version).join("Corefile"), text).unwrap();
    symlink(version, at("new")).unwrap();
    fs::rename(at("new"), at("..data")).unwrap();
}

#[test]
fn a_config_map_that_is_swapped_is_picked_up_at_the_interval() {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    mount(folder.path(), "one", port);
    symlink("..data/Corefile", folder.path().join("Corefile")).unwrap();
    let cairn = Cairn::starting_in(folder, port, &Launch::default());
    let serves = |zone: &str| {
        let reply = cairn.ask(zone);
        reply.is_some_and(|reply| reply.starts_with("NOERROR"))
    };
    cairn.wait_until(|_| serves("one.test."));
    mount(cairn.folder(), "two", port);
    cairn.wait_until(|_| serves("two.test."));
    let told = "plugin/reload: Running configuration SHA512 = ";
    assert!(cairn.log().contains(told), "{}", cairn.log());
}

#[test]
fn no_query_is_lost_while_configurations_are_swapped() {
    let cairn = Cairn::serving(&corefile("v0"), &[]);
    let (address, done) = (cairn.address(), Arc::new(AtomicBool::new(false)));
    let asking: Vec<_> = (0..2)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                let mut asked = 0;
                while !done.load(Ordering::Relaxed) {
                    let reply = dns::ask(address, "example.org.", "A");
                    assert!(
                        reply.is_some_and(|reply| reply.starts_with("NOERROR")),
                        "after {asked}"
                    );
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    for round in 1..=20 {
        cairn.write_corefile(&corefile(&format!("v{round}")));
        cairn.signal("USR1");
        cairn.wait_until(|cairn| {
            cairn
                .ask(&format!("v{round}.test."))
                .unwrap()
                .starts_with("NOERROR")
        });
    }
    done.store(true, Ordering::Relaxed);
    for thread in asking {
        assert!(thread.join().unwrap() > 20);
    }
}

/// A file that is being written is empty for a moment.
#[test]
fn an_empty_corefile_is_no_news_and_neither_is_one_that_is_gone() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    let empty = |cairn: &Cairn| cairn.write_corefile("# nothing\n");
    let gone = |cairn: &Cairn| fs::remove_file(cairn.path("Corefile")).unwrap();
    for (fact, breaks) in [("empty", &empty as &dyn Fn(&Cairn)), ("gone", &gone)] {
        let failures = |cairn: &Cairn| {
            cairn
                .log()
                .matches("the Corefile is missing or empty")
                .count()
        };
        let before = failures(&cairn);
        breaks(&cairn);
        cairn.signal("USR1");
        cairn.wait_until(|cairn| failures(cairn) > before);
        assert!(
            cairn.ask("one.test.").unwrap().starts_with("NOERROR"),
            "{fact}"
        );
    }
    cairn.write_corefile(&corefile("two"));
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.ask("two.test.").unwrap().starts_with("NOERROR"));
}

/// Files that it names may have changed: their words are not its own.
#[test]
fn sigusr1_serves_anew_even_if_no_word_changed() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    cairn.signal("USR1");
    cairn.wait_until(|cairn| cairn.log().contains("Reloading complete"));
}
