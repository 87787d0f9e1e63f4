//! What the documents say is so: every Corefile in them loads, the demo's cluster is whole, and what the README shows
//! of the program is what the program does.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_dns::app::App;
use cairn_dns::cluster::manifests;
use cairn_dns::cluster::object::Resource;
use cairn_dns::cluster::selector::{Selector, Target};
use cairn_dns::config;
use cairn_dns::corefile::{Diagnostic, Location, Memory, Outside, Unreadable};
use cairn_dns::generation::Process;
use cairn_dns::ops::{Monitor, Report};
use cairn_dns::plugin::ORDER;
use cairn_dns::telemetry::lines::Lines;
use cairn_dns::telemetry::log::LogFormat;
use hickory_proto::rr::Name;
use tokio::runtime::Handle;

use crate::support::dns;
use crate::support::program::{self, Cairn};

const README: &str = include_str!("../../README.md");

/// The port of server blocks that name none.
const DNS_PORT: u16 = 53;

/// What a busy machine may take to read a few files.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `kubernetes` says outside of a Pod, where these tests run; all else that it says counts.
const NOT_IN_CLUSTER: &str = "unable to load in-cluster configuration";

/// A Corefile in a document, and the files of this machine around it: `resolv.conf` must be a sound one.
struct Page {
    corefile: Memory,
}

impl Outside for Page {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        match path.to_str() {
            Some("/etc/resolv.conf") => Ok(b"nameserver 192.0.2.53\n".to_vec()),
            _ => self.corefile.read(path),
        }
    }

    fn stdin(&self) -> Result<Vec<u8>, Unreadable> {
        self.corefile.stdin()
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        self.corefile.glob(pattern)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// The text of the fenced blocks of this kind.
fn fenced<'a>(document: &'a str, kind: &str) -> Vec<&'a str> {
    let opening = format!("\n```{kind}\n");
    let after_opening = document.split(&*opening).skip(1);
    after_opening
        .map(|rest| &rest[..=rest.find("\n```").unwrap()])
        .collect()
}

/// The part of the README under a heading, up to the next.
fn section(heading: &str) -> &'static str {
    let (_, rest) = README.split_once(&format!("\n{heading}\n")).unwrap();
    rest.split("\n#").next().unwrap()
}

/// The cells of the rows of the first table in a text, without its head.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    lines
        .skip(2)
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The words of a cell that are set as code.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Every Corefile that we show to an operator as one to use, with a name for it.
fn corefiles() -> Vec<(String, String)> {
    let mut corefiles: Vec<(String, String)> = ["Corefile.example", "deploy/demo/Corefile"]
        .map(|path| (path.to_owned(), file(path)))
        .into();
    let manifest = file("deploy/kubernetes/configmap.yaml");
    let manifest: serde_json::Value = serde_saphyr::from_str(&manifest).unwrap();
    let corefile = manifest["data"]["Corefile"].as_str().unwrap();
    corefiles.push((
        "deploy/kubernetes/configmap.yaml".to_owned(),
        corefile.to_owned(),
    ));
    let shown = fenced(README, "corefile").into_iter().enumerate();
    corefiles.extend(shown.map(|(index, text)| {
        (
            format!("README.md, Corefile {}", index + 1),
            text.to_owned(),
        )
    }));
    corefiles
}

#[test]
fn every_corefile_loads() {
    let corefiles = corefiles();
    assert!(corefiles.len() > 3, "the README shows none");
    for (name, text) in corefiles {
        let page = Page {
            corefile: Memory::new().file("Corefile", text),
        };
        let loaded = config::load(&page, &Location::Path("Corefile".into()), DNS_PORT);
        let expected = |fault: &Diagnostic| fault.message.starts_with(NOT_IN_CLUSTER);
        let faults = loaded.diagnostics.iter().filter(|fault| !expected(fault));
        let faults: String = faults.map(|fault| fault.render(&loaded.sources)).collect();
        assert_eq!(faults, "", "{name}");
    }
}

#[test]
fn the_corefile_of_kubeadm_is_the_same_wherever_we_show_it() {
    let words = |text: &str| -> Vec<String> {
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        code.flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect()
    };
    let corefiles = corefiles();
    let words_of =
        |name: &str| words(&corefiles.iter().find(|(known, _)| known == name).unwrap().1);
    let mut shipped = words_of("deploy/kubernetes/configmap.yaml");
    let snapshot = shipped.iter().position(|word| word == "snapshot").unwrap();
    shipped.drain(snapshot..snapshot + 2);
    assert_eq!(words_of("Corefile.example"), shipped);
    assert_eq!(words_of("README.md, Corefile 1"), shipped);
}

#[test]
fn the_snapshot_that_we_ship_lies_in_a_volume_that_can_be_written() {
    let yaml = |name: &str| -> serde_json::Value {
        serde_saphyr::from_str(&file(&format!("deploy/kubernetes/{name}.yaml"))).unwrap()
    };
    let (configmap, deployment) = (yaml("configmap"), yaml("deployment"));
    let corefile = configmap["data"]["Corefile"].as_str().unwrap();
    let (_, rest) = corefile.split_once("snapshot ").unwrap();
    let folder = Path::new(rest.lines().next().unwrap()).parent().unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts
        .iter()
        .find(|mount| folder == Path::new(mount["mountPath"].as_str().unwrap()))
        .unwrap();
    assert!(mount["readOnly"].is_null());
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == mount["name"]);
    let limit = volume.unwrap()["emptyDir"]["sizeLimit"].as_str().unwrap();
    let mebibytes: u64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    assert!(mebibytes << 20 >= 2 * cairn_dns::cluster::snapshot::OCTETS_MAX);
}

#[test]
fn the_cluster_of_the_demo_is_whole() {
    let folder = PathBuf::from("deploy/demo/cluster");
    let target = |resource| Target {
        resource,
        labels: Selector::default(),
    };
    let loaded = manifests::check(std::slice::from_ref(&folder), &Resource::ALL.map(target));
    let faults: Vec<String> = loaded.faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, Vec::<String>::new());

    let (mut files, mut objects) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let list: serde_json::Value =
            serde_saphyr::from_str(&file(entry.unwrap().path().to_str().unwrap())).unwrap();
        let ended = |object: &&serde_json::Value| object["status"]["phase"] == "Succeeded";
        let items = list["items"].as_array().unwrap();
        objects += items.len() - items.iter().filter(ended).count();
        files += 1;
    }
    assert_eq!((loaded.files, loaded.objects), (files, objects));
}

#[test]
fn the_readme_lists_the_directives_that_are_built() {
    let rows = rows(section("### Directives"));
    let listed: BTreeSet<&str> = rows.iter().flat_map(|row| code(row[0])).collect();
    // `import` belongs to the syntax: it is no plugin that could be absent.
    let built = ORDER
        .into_iter()
        .filter(|name| config::is_built(name) && *name != "import");
    assert_eq!(listed, built.collect());
}

#[test]
fn the_readme_shows_what_check_prints() {
    let check = section("### Check a Corefile");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("Corefile"),
        fenced(check, "corefile faulty")[0],
    )
    .unwrap();
    let mut program = program::command();
    let output = program
        .args(["check", "Corefile"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let (_, shown) = fenced(check, "console")[0].split_once('\n').unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), shown);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn volumes_of_the_deployment_that_we_ship_have_names_of_their_own() {
    let deployment = file("deploy/kubernetes/deployment.yaml");
    let (_, volumes) = deployment.split_once("\n      volumes:\n").unwrap();
    let names = volumes
        .lines()
        .filter_map(|line| line.strip_prefix("      - name: "));
    let names: Vec<&str> = names.collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert!(names.len() > 1, "{volumes}");
    assert_eq!(different.len(), names.len(), "{names:?}");
    for mount in deployment
        .split("volumeMounts:")
        .nth(1)
        .unwrap()
        .split("volumes:")
        .take(1)
    {
        let mounted = mount
            .lines()
            .filter_map(|line| line.strip_prefix("        - name: "));
        assert!(mounted.clone().count() > 1);
        mounted.for_each(|name| assert!(different.contains(name), "{name}"));
    }
}

/// Whether the word is seconds as `kubectl` prints them.
fn is_age(word: &str) -> bool {
    let seconds = word.strip_suffix('s');
    seconds.is_some_and(|seconds| seconds.parse::<u32>().is_ok())
}

/// Text with what differs from run to run taken out: times, ages, ports, serials, and how wide columns are.
fn lasting(text: &str) -> String {
    let word = |word: &str| match word {
        word if word.trim_end_matches(',').ends_with("ms") => "TIME".to_owned(),
        word if is_age(word) => "AGE".to_owned(),
        word if word.starts_with("dns://") => "SERVER".to_owned(),
        word if word.len() == 10 && word.parse::<u32>().is_ok() => "SERIAL".to_owned(),
        word => word.to_owned(),
    };
    let line = |line: &str| {
        line.split_whitespace()
            .map(word)
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readme_shows_what_explain_prints() {
    let demo = file("deploy/demo/Corefile")
        .replace("/etc/resolv.conf", "127.0.0.1:1")
        .replace(":1053", ":PORT")
        .replace(":18080", ":0")
        .replace(":18181", ":0")
        .replace(":19153", ":0");
    let folder = std::env::current_dir().unwrap().join("deploy/demo/cluster");
    let demo = demo.replace("deploy/demo/cluster", folder.to_str().unwrap());
    let server = Cairn::serving(&demo, &[]);
    server.wait_for("no.svc.cluster.local.", "NXDOMAIN");
    let shown = fenced(section("### Ask the server why"), "console");
    assert!(!shown.is_empty());
    for block in shown {
        let (command, expected) = block.split_once('\n').unwrap();
        let args = command.strip_prefix("$ cairn ").unwrap().split(' ');
        let output = program::command()
            .args(args)
            .args(["--pid", &server.id().to_string()])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lasting(&printed), lasting(expected), "{command}");
    }
}

/// The demo, on ports that the system chooses, with an upstream that refuses everything.
async fn demo() -> App {
    let mut text = file("deploy/demo/Corefile").replace("/etc/resolv.conf", "127.0.0.1:1");
    for port in [":1053", ":18080", ":18181", ":19153"] {
        assert!(text.contains(port), "the demo has no port {port}");
        text = text.replace(port, ":0");
    }
    let page = Page {
        corefile: Memory::new().file("Corefile", text),
    };
    let loaded = config::load(&page, &Location::Path("Corefile".into()), DNS_PORT);
    let (lines, written) = Lines::start(LogFormat::Text, std::io::sink()).unwrap();
    let app = App::start(
        loaded.config.unwrap(),
        Process::new(Handle::current(), lines),
    )
    .await
    .unwrap();
    // Nobody reads the log of this server.
    drop(written);
    app
}

/// Asks what `dig` would ask, `[TYPE] NAME` or `-x ADDRESS`: the data of the answer, sorted, or the code without any.
fn ask(server: SocketAddr, asked: &str) -> String {
    let reply = match asked.split_once(' ') {
        None => dns::ask(server, &format!("{asked}."), "A"),
        Some(("-x", ip)) => {
            let name = Name::from(ip.parse::<IpAddr>().unwrap());
            dns::ask(server, &name.to_ascii(), "PTR")
        }
        Some((rtype, name)) => dns::ask(server, &format!("{name}."), rtype),
    };
    let reply = reply.unwrap_or_else(|| panic!("{asked}: no reply"));
    reply.strip_prefix("NOERROR ").unwrap_or(&reply).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_demo_are_answered_as_the_readme_says() {
    let app = demo().await;
    let (_, server) = app.addresses()[0];
    let started = Instant::now();
    while app.readiness().report(Monitor::Continuously) != Report::Ready {
        assert!(started.elapsed() < PATIENCE, "the files have not been read");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asking = tokio::task::spawn_blocking(move || {
        for row in rows(section("## Try it")) {
            let asked = code(row[0])[0];
            let mut told = code(row[1]);
            told.sort_unstable();
            assert_eq!(ask(server, asked), told.join(" "), "{asked}");
        }
    });
    asking.await.unwrap();
}
