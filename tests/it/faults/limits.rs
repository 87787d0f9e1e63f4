//! What the machine does to the process: it is stopped for a while, has few descriptors or little memory, its clock jumps.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Process;
use crate::support::apiserver::{ApiServer, Transport, Verb};
use crate::support::dns;
use crate::support::upstream::Upstream;

const WEB: &str = "web.demo.svc.cluster.local.";
/// What the upstream knows.
const ZONE: &str = "
$ORIGIN example.org.
@ 300 IN SOA ns.example.org. hostmaster.example.org. 1 7200 3600 1209600 300
* 30 IN A 192.0.2.1
";
const HEALTHY: Duration = Duration::from_millis(10_500);
const RESOURCES: [&str; 3] = ["namespaces", "services", "endpointslices"];

/// The namespace `demo` with the service `web` at 10.96.0.1.
fn api() -> ApiServer {
    api_over(Transport::Http)
}

fn api_over(transport: Transport) -> ApiServer {
    let api = ApiServer::start_with(transport);
    api.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}));
    api.apply(service("web", Ipv4Addr::new(10, 96, 0, 1)));
    api
}

fn service(name: &str, ip: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "demo", "name": name},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

fn follow(api: &ApiServer) -> String {
    format!(
        "kubernetes cluster.local {{\n kubeconfig {} lab\n}}\n",
        api.kubeconfig().display()
    )
}

/// A process that does not run for `still` answers, once it does, what became true meanwhile, and what was asked.
fn is_stopped_for(still: Duration) {
    let api = api();
    let cairn = Process::start(&follow(&api), &[], &[]);
    cairn.wait_for(WEB, "NOERROR 10.96.0.1");
    cairn.signal("STOP");
    api.apply(service("web", Ipv4Addr::new(10, 96, 0, 2)));
    let waiting = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    waiting
        .set_read_timeout(Some(still + Duration::from_secs(10)))
        .unwrap();
    waiting
        .send_to(&dns::packet(WEB, "A", 7), cairn.address())
        .unwrap();
    std::thread::sleep(still);
    cairn.signal("CONT");
    let mut reply = [0; 512];
    let (len, _) = waiting
        .recv_from(&mut reply)
        .expect("what was asked is answered");
    assert_eq!(reply[..2], [0, 7], "{:?}", &reply[..len]);
    cairn.wait_for(WEB, "NOERROR 10.96.0.2");
}

#[test]
fn a_process_that_was_stopped_goes_on_with_what_became_true_meanwhile() {
    is_stopped_for(Duration::from_millis(500));
}

#[test]
#[ignore = "takes more than a minute"]
fn a_process_that_was_stopped_for_a_minute_goes_on() {
    is_stopped_for(Duration::from_secs(60));
}

#[test]
fn names_of_the_cluster_are_answered_when_there_are_no_descriptors_left() {
    let (api, upstream) = (api(), Upstream::start(ZONE));
    let lines = format!("{} forward . {}\n", follow(&api), upstream.address());
    let few = ["sh", "-c", "ulimit -n 64; exec \"$0\""];
    let cairn = Process::start(&lines, &few, &[]);
    cairn.wait_for(WEB, "NOERROR 10.96.0.1");
    let outside = |number| dns::ask(cairn.address(), &format!("n{number}.example.org."), "A");
    let before = outside(0).expect("an answer");
    let held: Vec<TcpStream> = (0..200)
        .filter_map(|_| TcpStream::connect(cairn.address()).ok())
        .collect();
    assert!(held.len() > 64, "{}", held.len());
    for number in 1..50 {
        assert_eq!(
            dns::ask(cairn.address(), WEB, "A").as_deref(),
            Some("NOERROR 10.96.0.1")
        );
        assert!(outside(number).is_some(), "answered, be it with a failure");
    }
    drop(held);
    cairn.wait_for("n0.example.org.", &before);
    api.apply(service("web", Ipv4Addr::new(10, 96, 0, 2)));
    cairn.wait_for(WEB, "NOERROR 10.96.0.2");
}

/// A group of processes that may hold so much memory; it goes with the handle.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// Needs root, and the memory controller of either version.
    fn of(octets: u64) -> MemoryLimit {
        let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (root, file) = match unified {
            true => ("/sys/fs/cgroup", "memory.max"),
            false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let folder = Path::new(root).join(format!("cairn-test-{}", std::process::id()));
        fs::create_dir(&folder).expect("root may make a group");
        fs::write(folder.join(file), octets.to_string()).expect("memory can be limited");
        MemoryLimit(folder)
    }

    fn take(&self, process: u32) {
        fs::write(self.0.join("cgroup.procs"), process.to_string()).expect("it runs");
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// 2,000 Services and 10,000 endpoints.
fn fill(api: &ApiServer) {
    for number in 0..2_000_u16 {
        let [high, low] = number.to_be_bytes();
        let name = format!("service-{number}");
        api.apply(service(&name, Ipv4Addr::new(10, 97, high, low)));
        let ips = (0..5).map(|nth| Ipv4Addr::new(10, 10 + nth, high, low));
        let ips: BTreeSet<Ipv4Addr> = ips.collect();
        api.apply(super::life::slice(&name, 0, &ips, None));
    }
}

#[expect(clippy::print_stdout, reason = "figures are printed")]
fn a_hundred_relists_fit(transport: Transport) {
    let api = api_over(transport);
    fill(&api);
    let cairn = Process::start(&follow(&api), &[], &[]);
    cairn.wait_for(WEB, "NOERROR 10.96.0.1");
    cairn.wait_for(
        "service-1999.demo.svc.cluster.local.",
        "NOERROR 10.97.7.207",
    );
    let steady = cairn.holds().resident_kib * 1024;
    let limit = MemoryLimit::of(steady / 2 * 3);
    limit.take(cairn.id());
    let mut resident = Vec::new();
    for round in 0..100 {
        // A watch that lived shorter than this is followed by a list ever later.
        std::thread::sleep(HEALTHY);
        api.clear_requests();
        api.compact();
        RESOURCES.iter().for_each(|of| api.expire_watches(of));
        api.apply(service("web", Ipv4Addr::new(10, 96, 1, round)));
        cairn.wait_for(WEB, &format!("NOERROR 10.96.1.{round}"));
        let lists =
            || api.count("endpointslices", Verb::List) + api.count("endpointslices", Verb::Watch);
        while lists() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        println!("round {round}: {:?}", cairn.holds());
        resident.push(cairn.holds().resident_kib * 1024);
    }
    let (tenth, after) = (resident[9], resident[99]);
    println!("at rest {steady}, after ten relists {tenth}, after a hundred {after}");
    assert!(after < steady / 4 * 5, "{steady} became {after}");
    // What the allocator keeps is there after a few.
    assert!(after < tenth / 10 * 11, "{tenth} became {after}");
    drop(cairn);
}

#[test]
#[ignore = "needs root, and twenty minutes"]
fn a_hundred_relists_fit_into_half_as_much_memory_again() {
    a_hundred_relists_fit(Transport::Http);
}

#[test]
#[ignore = "needs root, and twenty minutes"]
fn a_hundred_relists_over_http2_fit_into_half_as_much_memory_again() {
    a_hundred_relists_fit(Transport::Https);
}

/// `libfaketime` stands between the program and its clock, and reads the time from a file.
#[test]
#[ignore = "needs libfaketime: CAIRN_FAKETIME names its libfaketimeMT.so.1"]
fn a_clock_that_jumps_by_years_changes_no_answer() {
    let library = std::env::var("CAIRN_FAKETIME").expect("CAIRN_FAKETIME names the library");
    let (api, upstream) = (api(), Upstream::start(ZONE));
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    fs::write(&time, "+0").unwrap();
    let lines = format!(
        "{} forward . {}\n cache 30\n",
        follow(&api),
        upstream.address()
    );
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", time.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    let cairn = Process::start(&lines, &[], &environment);
    cairn.wait_for(WEB, "NOERROR 10.96.0.1");
    let outside = dns::ask(cairn.address(), "a.example.org.", "A").expect("an answer");
    for (number, jump) in ["+10y", "-10y", "+0", "+30y", "-20y"]
        .into_iter()
        .enumerate()
    {
        fs::write(&time, jump).unwrap();
        let ip = Ipv4Addr::new(10, 96, 2, number as u8);
        assert_eq!(
            dns::ask(cairn.address(), "a.example.org.", "A").as_ref(),
            Some(&outside)
        );
        api.apply(service("web", ip));
        cairn.wait_for(WEB, &format!("NOERROR {ip}"));
    }
}
