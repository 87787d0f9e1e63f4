//! A process that writes without pause and is killed at any moment: what it leaves is whole.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use super::super::file::{self, write};
use super::*;

/// Where the process that is killed writes; it does so only if this is set.
const PATH_VARIABLE: &str = "CAIRN_TEST_SNAPSHOT";

/// Services in its index, so that a write takes longer than the rest of its life.
const SERVICES: u32 = 2_000;

fn many() -> Index {
    let mut index = index();
    for n in 0..SERVICES {
        let ip = std::net::Ipv4Addr::from(0x0a60_0000 + n).to_string();
        index.apply(
            Event::Applied(service("demo", &format!("s{n}"), &ip)),
            SERIAL,
        );
    }
    index
}

/// Not a test of itself: the process that the tests below kill.
#[test]
#[ignore = "writes until it is killed"]
fn write_until_killed() {
    let Some(path) = env::var_os(PATH_VARIABLE).map(PathBuf::from) else {
        return;
    };
    let mut index = many();
    for round in 0_u64.. {
        let ip = std::net::Ipv4Addr::from(0x0b00_0000 + round as u32).to_string();
        index.apply(Event::Applied(service("demo", "changes", &ip)), SERIAL);
        let mut written = write(&path, &draft(&index, reached(60))).unwrap();
        written.mark(&path, [NOW - 30; 4]).unwrap();
    }
}

/// Kills such a process so often; each time the file must be whole.
fn kill(times: u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let mut random = Random(0x6b69_6c6c);
    let mut in_writes = 0;
    for time in 0..times {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--ignored"])
            .arg("cluster::snapshot::tests::killed::write_until_killed")
            .env(PATH_VARIABLE, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !path.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "nothing is written"
            );
            sleep(Duration::from_millis(1));
        }
        // Some while into the work, so that it is hit in each part of it.
        sleep(Duration::from_micros(random.below(60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (file, octets) = file::open(&path).unwrap().unwrap();
        let found = read(file, octets, wanted()).unwrap_or_else(|fault| panic!("{time}: {fault}"));
        assert_eq!(found.index.count(Resource::Services), SERVICES as usize + 2);
        assert!([NOW - 60, NOW - 30].contains(&found.reached[0].as_of));
        in_writes += u64::from(left_over(folder.path()));
        if random.below(2) == 0 {
            fs::remove_file(&path).unwrap();
        }
    }
    assert!(in_writes > 0, "it was never hit in a write");
}

/// Whether a half-written file lies beside.
fn left_over(folder: &Path) -> bool {
    folder.join("cluster.new").exists()
}

#[test]
fn a_process_that_is_killed_at_any_point_leaves_a_whole_file() {
    kill(20);
}

#[test]
#[ignore = "the same for a minute"]
fn a_process_that_is_killed_200_times_leaves_a_whole_file_each_time() {
    kill(200);
}
