//! A start with a Corefile that cannot be served.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use sha2::Digest;

use crate::support::dns;
use crate::support::program::{Cairn, Launch, free_port, run};

/// Where the copy is kept, in the folder of the server.
const COPY: &str = "kept/Corefile";
const FLAGS: &[&str] = &["-conf", "Corefile", "-last-good", COPY];

/// A server for `zone` whose upper half is imported, and where it tells its state.
struct Kept {
    cairn: Cairn,
    ops: SocketAddr,
}

impl Kept {
    /// Starts, and waits until the copy is there.
    fn start() -> Kept {
        let (dns, ops) = (free_port(), free_port());
        let imported =
            format!("bind 127.0.0.1\nready 127.0.0.1:{ops}\nprometheus 127.0.0.1:{ops}\n");
        let files = [("upper", imported.as_str())];
        let launch = Launch {
            files: &files,
            ..Launch::default()
        };
        let mut kept = Kept {
            cairn: Cairn::starting("", dns, &launch),
            ops: (Ipv4Addr::LOCALHOST, ops).into(),
        };
        fs::create_dir(kept.cairn.path("kept")).unwrap();
        kept.write("one.test");
        kept.restart();
        kept.cairn.wait_until(|cairn| cairn.path(COPY).exists());
        kept
    }

    fn write(&self, zone: &str) {
        let corefile = format!("{zone}.:PORT {{\n    import upper\n    whoami\n}}\n");
        self.cairn.write_corefile(&corefile);
    }

    /// Ends the process as nothing can prepare for, and starts another.
    fn restart(&mut self) {
        self.cairn.restart(&Launch {
            flags: FLAGS,
            ..Launch::default()
        });
    }

    fn serves(&self, zone: &str) -> bool {
        let reply = self.cairn.ask(zone);
        reply.is_some_and(|reply| reply.starts_with("NOERROR"))
    }

    fn states(&self, failing: u8, last_good: u8) -> bool {
        let scraped = dns::try_http_body(self.ops, "/metrics").unwrap_or_default();
        let failing = format!("\ncairn_reload_failing {failing}\n");
        let last_good = format!("\ncairn_config_last_good {last_good}\n");
        scraped.contains(&failing) && scraped.contains(&last_good)
    }
}

#[test]
fn the_last_good_corefile_is_served_until_the_real_one_is_mended() {
    let mut kept = Kept::start();
    let copy = fs::read_to_string(kept.cairn.path(COPY)).unwrap();
    assert!(
        copy.contains("one.test.") && copy.contains("bind 127.0.0.1"),
        "{copy}"
    );
    assert!(kept.states(0, 0));
    let (code, checked) = run(kept.cairn.folder(), &["check", COPY]);
    assert_eq!(code, Some(0), "{checked}");

    kept.cairn
        .write_corefile("two.test.:PORT {\n    import upper\n    whomai\n}\n");
    // What was imported is not asked for again.
    fs::remove_file(kept.cairn.path("upper")).unwrap();
    kept.restart();
    kept.cairn.wait_until(|_| kept.serves("one.test."));
    kept.cairn
        .wait_until(|cairn| cairn.log().contains("did you mean 'whoami'?"));
    let log = kept.cairn.log();
    let shouted = "[ERROR] plugin/reload: The Corefile cannot be served. Serving the last good one, kept/Corefile: Corefile:2:12: error: file to import not found: upper\n";
    assert!(log.contains(shouted), "{log}");
    assert!(kept.states(1, 1));
    let ready = dns::http_body(kept.ops, "/ready");
    let remark = "OK\nreload: The Corefile cannot be served, and the last good one is served in its place: Corefile:2:12: error: file to import not found: upper";
    assert_eq!(ready, remark);

    // Although neither of them has `reload`.
    let mended = copy.replace("one.test.", "two.test.");
    kept.cairn.write_corefile(&mended);
    kept.cairn.wait_until(|_| kept.serves("two.test."));
    kept.cairn.wait_until(|_| kept.states(0, 0));
    assert_eq!(dns::http_body(kept.ops, "/ready"), "OK");
    let is_kept = |cairn: &Cairn| {
        fs::read_to_string(cairn.path(COPY)).is_ok_and(|copy| copy.contains("two.test."))
    };
    kept.cairn.wait_until(is_kept);
}

#[test]
fn a_corefile_that_is_at_fault_is_replaced_and_a_port_that_is_taken_is_not() {
    let mut kept = Kept::start();
    let corefile = kept.cairn.path("Corefile");
    let zone = |text: &str| format!("two.test.:{} {{\n{text}\n}}\n", kept.cairn.port());
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let rows = [
        ("empty", String::new(), true),
        (
            "no address of this machine",
            zone("bind 127.0.0.1\nprometheus 192.0.2.1:9153"),
            true,
        ),
        (
            "a port that is taken",
            zone(&format!(
                "bind 127.0.0.1\nprometheus {}",
                taken.local_addr().unwrap()
            )),
            false,
        ),
    ];
    for (fact, text, is_replaced) in rows {
        fs::write(&corefile, text).unwrap();
        if is_replaced {
            kept.restart();
            kept.cairn.wait_until(|_| kept.serves("one.test."));
        } else {
            kept.cairn.kill();
            let (code, log) = run(kept.cairn.folder(), FLAGS);
            assert_eq!(code, Some(1), "{fact}: {log}");
            assert!(log.contains("address already in use"), "{fact}: {log}");
        }
    }
    // And it may be the environment that names the copy.
    fs::remove_file(&corefile).unwrap();
    kept.cairn.restart(&Launch {
        environment: &[("CAIRN_LAST_GOOD", COPY)],
        ..Launch::default()
    });
    kept.cairn.wait_until(|_| kept.serves("one.test."));
}

#[test]
fn what_is_in_the_place_of_a_copy_and_is_none_is_told_and_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("Corefile"), ".:1 {\n    whomai\n}\n").unwrap();
    fs::write(at("copy"), "some other file\n").unwrap();
    let (code, log) = run(folder.path(), &["-conf", "Corefile", "-last-good", "copy"]);
    assert_eq!(code, Some(1), "{log}");
    let told = "[ERROR] plugin/reload: There is no last good Corefile in copy: it was not written by Cairn\n";
    assert!(
        log.contains(told) && log.contains("did you mean 'whoami'?"),
        "{log}"
    );
}

#[test]
fn a_copy_that_cannot_be_served_is_told_line_by_line() {
    let mut kept = Kept::start();
    kept.cairn.kill();
    let folder = kept.cairn.folder();
    let taken = fs::read_to_string(folder.join(COPY)).unwrap();
    let copied = taken.lines().filter(|line| !line.starts_with('#'));
    let copied: String = copied.map(|line| format!("{line}\n")).collect();
    let faulty = copied.replace("whoami", "whomai");
    let hash: String = sha2::Sha256::digest(faulty.as_bytes())
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let title = taken.lines().next().unwrap();
    let faulty = format!("{title}\n# SHA-256 of what follows: {hash}\n{faulty}");
    fs::write(folder.join(COPY), faulty).unwrap();
    fs::write(folder.join("Corefile"), "").unwrap();
    let (code, log) = run(folder, FLAGS);
    assert_eq!(code, Some(1), "{log}");
    let told = log
        .lines()
        .filter(|line| line.starts_with("[ERROR] plugin/reload: "));
    assert!(told.clone().count() > 2, "{log}");
    assert!(!log.contains("\\n"), "{log}");
}

#[test]
fn the_corefile_itself_is_no_place_for_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let corefile = "a.test:1 {\n    bind 127.0.0.1\n    whoami\n}\n";
    fs::write(folder.path().join("Corefile"), corefile).unwrap();
    std::os::unix::fs::symlink("Corefile", folder.path().join("link")).unwrap();
    for flags in [
        &["-last-good", "Corefile"][..],
        &["-conf", "./Corefile", "-last-good", "link"],
    ] {
        let (code, log) = run(folder.path(), flags);
        assert_eq!(code, Some(1), "{log}");
        assert!(
            log.contains("that is the Corefile itself, and would be overwritten"),
            "{log}"
        );
        let there = fs::read_to_string(folder.path().join("Corefile")).unwrap();
        assert_eq!(there, corefile);
    }
}
