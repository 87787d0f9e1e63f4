//! The program as an operator meets it: flags, what it prints, signals, exit codes, reloads.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::apiserver::ApiServer;
use crate::support::dns;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// `cairn` in a folder of its own; it ends with the handle.
pub(crate) struct Cairn {
    pub(crate) child: Child,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

/// A port that is free for UDP and TCP. It is none of those that the kernel gives away, of which other tests take
/// thousands at a time.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free {
            return port;
        }
    }
}

impl Cairn {
    /// Starts with this Corefile, in which `PORT` stands for the port, and waits until it answers.
    pub(crate) fn serving(corefile: &str, flags: &[&str]) -> Cairn {
        let cairn = Cairn::starting(corefile, &[], flags, free_port());
        cairn.wait_for(|cairn| cairn.ask("example.org.").is_some());
        cairn
    }

    /// Starts likewise with these files beside the Corefile, on this port, and waits for nothing.
    pub(crate) fn starting(
        corefile: &str,
        files: &[(&str, &str)],
        flags: &[&str],
        port: u16,
    ) -> Cairn {
        let folder = tempfile::tempdir().unwrap();
        let corefile = corefile.replace("PORT", &port.to_string());
        for (name, text) in [("Corefile", corefile.as_str())].iter().chain(files) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Cairn {
            child: start(folder.path(), flags),
            folder,
            port,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The text of the reply's code and records, if one comes.
    pub(crate) fn ask(&self, name: &str) -> Option<String> {
        dns::ask(self.address(), name, "A")
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn write_corefile(&self, corefile: &str) {
        fs::write(
            self.path("Corefile"),
            corefile.replace("PORT", &self.port.to_string()),
        )
        .unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill {signal}");
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn wait_for(&self, is: impl Fn(&Cairn) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is(self) {
            assert!(
                Instant::now() < deadline,
                "it did not come; the log says:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it goes on; the log says:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cairn {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the program in `folder`; both of its outputs go to the file `log` there.
pub(crate) fn start(folder: &Path, flags: &[&str]) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_cairn"))
        .args(flags)
        .current_dir(folder)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Runs the program to its end: exit code and both outputs.
pub(crate) fn run(folder: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let mut child = start(folder, flags);
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut text = String::new();
    fs::File::open(folder.join("log"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    (status.code(), text)
}

/// Answers everything with the code of a chain that ends; `marker` makes texts differ.
fn corefile(marker: &str) -> String {
    format!(
        "example.org.:PORT {{\n    bind 127.0.0.1\n    whoami\n}}\n{marker}.test.:PORT {{\n    bind 127.0.0.1\n    whoami\n}}\n"
    )
}

#[test]
fn it_prints_what_it_serves_and_by_whom() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    let expected = format!(
        "example.org.:{0} on 127.0.0.1\none.test.:{0} on 127.0.0.1\nCairn-{1}\n",
        cairn.port,
        env!("CARGO_PKG_VERSION")
    );
    // It answers before it has printed them.
    cairn.wait_for(|cairn| cairn.log().contains("Cairn-"));
    assert!(cairn.log().starts_with(&expected), "{}", cairn.log());
    let quiet = Cairn::serving(&corefile("one"), &["-quiet"]);
    assert_eq!(quiet.log(), "");
}

#[test]
fn a_signal_ends_it_as_coredns_ends() {
    for (signal, code) in [("-TERM", 0), ("-INT", 0), ("-QUIT", 0)] {
        let mut cairn = Cairn::serving(&corefile("one"), &["-pidfile", "pid"]);
        let id = cairn.child.id().to_string();
        // It answers before it has written the file.
        cairn.wait_for(|cairn| {
            fs::read_to_string(cairn.path("pid")).is_ok_and(|pid| pid.trim() == id)
        });
        cairn.signal(signal);
        assert_eq!(
            cairn.ended().code(),
            Some(code),
            "{signal}: {}",
            cairn.log()
        );
        // Quitting is at once: nothing is put in order.
        assert_eq!(cairn.path("pid").exists(), signal == "-QUIT", "{signal}");
    }
}

#[test]
fn signals_that_coredns_ignores_are_ignored() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    for signal in ["-HUP", "-USR2"] {
        cairn.signal(signal);
    }
    cairn.wait_for(|cairn| cairn.log().contains("SIGUSR2"));
    assert!(cairn.ask("example.org.").is_some());
}

#[test]
fn it_does_not_start_with_a_faulty_command_line_or_corefile() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good"), "a.test:1 {\n whoami\n}\n").unwrap();
    fs::write(folder.path().join("bad"), ".:1 {\n    whomai\n}\n").unwrap();
    let caret = "bad:2:5: error: unknown directive 'whomai'\n      whomai\n      ^^^^^^\nhint: did you mean 'whoami'?\n";
    for (fact, flags, code, says) in [
        ("an unknown flag", &["-validate"][..], 2, "-validate"),
        (
            "a word too many",
            &["extra", "words"],
            1,
            "extra command line arguments: [extra words]\n",
        ),
        ("a fault in the Corefile", &["-conf", "bad"], 1, caret),
        (
            "a Corefile that is not there",
            &["-conf", "nosuch"],
            1,
            "nosuch",
        ),
        ("check finds the fault", &["check", "bad"], 1, caret),
        (
            "check counts the faults",
            &["check", "bad"],
            1,
            "bad: 1 error\n",
        ),
        (
            "check is content",
            &["check", "good"],
            0,
            "good: ok, 1 zone\n",
        ),
        (
            "one of two is bad",
            &["check", "good", "bad"],
            1,
            "good: ok, 1 zone\n",
        ),
        ("the version", &["-version"], 0, "Cairn-"),
        ("the plugins", &["-plugins"], 0, "  dns.kubernetes\n"),
        ("help", &["--help"], 0, "-p, --dns.port <N>"),
    ] {
        let (got, text) = run(folder.path(), flags);
        assert_eq!(got, Some(code), "{fact}: {text}");
        assert!(text.contains(says), "{fact}: {text}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("Corefile"),
        corefile("one").replace("PORT", &port.to_string()),
    )
    .unwrap();
    let (code, text) = run(folder.path(), &[]);
    assert_eq!(code, Some(1), "{text}");
    let reason = format!("listen udp 127.0.0.1:{port}: bind: address already in use\n");
    assert!(text.ends_with(&reason), "{text}");
}

/// The lines of a log, each of which is an object, without their times.
fn objects(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let mut object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        let time = object.as_object_mut().unwrap().remove("time");
        assert!(time.is_some(), "{line}");
        object
    };
    log.lines().map(parse).collect()
}

#[test]
fn with_json_all_that_is_said_at_start_is_objects_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let bad = ".:1 {\n    whomai\n    errors a\n}\n";
    fs::write(folder.path().join("bad"), bad).unwrap();
    fs::write(
        folder.path().join("taken"),
        corefile("one").replace("PORT", &port.to_string()),
    )
    .unwrap();
    let (code, log) = run(folder.path(), &["-log-format=json", "-conf", "bad"]);
    assert_eq!(code, Some(1), "{log}");
    let faults = objects(&log);
    assert_eq!(faults.len(), 2, "{log}");
    let unknown = json!({
        "level": "FATAL", "msg": "Unknown directive 'whomai'", "hint": "did you mean 'whoami'?",
        "file": "bad", "line": 2, "column": 5,
    });
    assert_eq!(faults[0], unknown);
    assert_eq!(
        (&faults[1]["line"], &faults[1]["level"]),
        (&json!(3), &json!("FATAL"))
    );

    let (code, log) = run(folder.path(), &["-log-format=json", "-conf", "taken"]);
    assert_eq!(code, Some(1), "{log}");
    let reason = format!("listen udp 127.0.0.1:{port}: bind: address already in use");
    assert_eq!(objects(&log), [json!({"level": "FATAL", "msg": reason})]);

    let cairn = Cairn::serving(&corefile("one"), &["-log-format=json"]);
    cairn.wait_for(|cairn| cairn.log().contains("Started"));
    let served = json!({"level": "INFO", "msg": "Serving", "zone": "one.test.", "port": cairn.port, "address": "127.0.0.1"});
    let log = objects(&cairn.log());
    assert!(log.contains(&served), "{log:?}");
    assert!(log.iter().any(|line| line["msg"] == "Started"), "{log:?}");

    cairn.write_corefile(&corefile("one").replacen("whoami", "whomai", 1));
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.log().contains("reload failed"));
    let failures: Vec<Value> = objects(&cairn.log())
        .into_iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    let [failure] = failures.as_slice() else {
        panic!("not one object: {failures:?}");
    };
    let message = failure["msg"].as_str().unwrap();
    assert!(
        message.contains("Corefile:3:5: error: ") && message.contains("^^^^^^"),
        "{message}"
    );
}

#[test]
fn an_api_server_that_is_away_is_named_with_the_reason_and_its_return_is_told() {
    let api = ApiServer::start();
    api.stop();
    let stanza = format!(
        "kubernetes cluster.local {{\n        endpoint {}\n        noendpoints\n    }}",
        api.url()
    );
    let with_cluster = corefile("one").replacen("whoami", &format!("{stanza}\n    whoami"), 1);
    let cairn = Cairn::serving(&with_cluster, &["-log-format=json"]);
    let of_services = |message: &str, field: &str| {
        let line = cairn.log().lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["msg"] == message && line["resource"] == "services").then_some(line)
        });
        line.map(|line| (line["server"].clone(), line[field].clone()))
    };
    cairn.wait_for(|_| of_services("Failed to watch", "reason").is_some());
    let (server, reason) = of_services("Failed to watch", "reason").unwrap();
    assert_eq!(
        (server, reason),
        (json!(api.url()), json!("connection refused"))
    );
    api.start_again();
    cairn.wait_for(|_| of_services("Watching again", "away").is_some());
    let (server, away) = of_services("Watching again", "away").unwrap();
    assert_eq!(server, json!(api.url()));
    assert!(
        away.as_str().is_some_and(|away| away.ends_with('s')),
        "{away}"
    );
}

#[test]
fn sigusr1_serves_the_changed_corefile() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    assert!(cairn.ask("two.test.").unwrap().starts_with("REFUSED"));
    cairn.write_corefile(&corefile("two"));
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.ask("two.test.").unwrap().starts_with("NOERROR"));
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
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.log().contains("Corefile changed but reload failed"));
    let log = cairn.log();
    assert!(log.contains("did you mean 'whoami'"), "{log}");
    assert!(cairn.ask("example.org.").unwrap().starts_with("NOERROR"));
    let scraped = dns::http_body(SocketAddr::from((Ipv4Addr::LOCALHOST, metrics)), "/metrics");
    assert!(
        scraped.contains("\ncoredns_reload_failed_total 1\n"),
        "{scraped}"
    );

    cairn.write_corefile(&with_metrics.replace("one.test", "mended.test"));
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.ask("mended.test.").unwrap().starts_with("NOERROR"));
}

/// A ConfigMap is mounted as links through `..data`, which the kubelet replaces as a whole.
#[test]
fn a_config_map_that_is_swapped_is_picked_up_at_the_interval() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let mount = |version: &str| {
        let text = corefile(version).replacen("    whoami", "    reload 2s 0s\n    whoami", 1);
        fs::create_dir(at(version)).unwrap();
        fs::write(
            at(version).join("Corefile"),
            text.replace("PORT", &port.to_string()),
        )
        .unwrap();
        symlink(version, at("new")).unwrap();
        fs::rename(at("new"), at("..data")).unwrap();
    };
    mount("one");
    symlink("..data/Corefile", at("Corefile")).unwrap();
    let cairn = Cairn {
        child: start(folder.path(), &["-conf", "Corefile"]),
        folder,
        port,
    };
    cairn.wait_for(|cairn| {
        cairn
            .ask("one.test.")
            .is_some_and(|reply| reply.starts_with("NOERROR"))
    });
    let at = |path: &str| cairn.path(path);
    fs::create_dir(at("two")).unwrap();
    let text = corefile("two").replacen("    whoami", "    reload 2s 0s\n    whoami", 1);
    fs::write(
        at("two").join("Corefile"),
        text.replace("PORT", &port.to_string()),
    )
    .unwrap();
    symlink("two", at("new")).unwrap();
    fs::rename(at("new"), at("..data")).unwrap();
    cairn.wait_for(|cairn| {
        cairn
            .ask("two.test.")
            .is_some_and(|reply| reply.starts_with("NOERROR"))
    });
    assert!(
        cairn
            .log()
            .contains("plugin/reload: Running configuration SHA512 = "),
        "{}",
        cairn.log()
    );
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
        cairn.signal("-USR1");
        cairn.wait_for(|cairn| {
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
        cairn.signal("-USR1");
        cairn.wait_for(|cairn| failures(cairn) > before);
        assert!(
            cairn.ask("one.test.").unwrap().starts_with("NOERROR"),
            "{fact}"
        );
    }
    cairn.write_corefile(&corefile("two"));
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.ask("two.test.").unwrap().starts_with("NOERROR"));
}

/// Files that it names may have changed: their words are not its own.
#[test]
fn sigusr1_serves_anew_even_if_no_word_changed() {
    let cairn = Cairn::serving(&corefile("one"), &[]);
    cairn.signal("-USR1");
    cairn.wait_for(|cairn| cairn.log().contains("Reloading complete"));
}

#[test]
fn it_says_that_it_goes_and_goes_at_once_when_it_must() {
    let health = free_port();
    let lame = corefile("one").replacen(
        "    whoami",
        &format!("    health 127.0.0.1:{health} {{\n        lameduck 1m\n    }}\n    whoami"),
        1,
    );
    for (signal, code) in [("-INT", 2), ("-QUIT", 0)] {
        let mut cairn = Cairn::serving(&lame, &[]);
        cairn.signal("-TERM");
        cairn.wait_for(|cairn| {
            cairn
                .log()
                .contains("SIGTERM: Shutting down servers then terminating")
        });
        assert!(
            cairn.ask("one.test.").unwrap().starts_with("NOERROR"),
            "it serves while it is lame"
        );
        cairn.signal(signal);
        assert_eq!(cairn.ended().code(), Some(code), "{signal}");
    }
}
