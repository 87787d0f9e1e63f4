use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;
use crate::cluster::object::{Exposure, Object, Resource};

/// Far enough in the future that no file is being written to.
const LATER: Duration = Duration::from_secs(3600);

struct Folder {
    folder: tempfile::TempDir,
    ledger: Ledger,
    now: Now,
}

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let targets =
            [Resource::Namespaces, Resource::Services, Resource::Pods].map(|resource| Target {
                resource,
                labels: "app!=hidden".parse().unwrap(),
            });
        let ledger = Ledger::new(vec![folder.path().to_owned()], targets.to_vec());
        let now = Now {
            instant: Instant::now(),
            clock: SystemTime::now() + LATER,
        };
        let folder = Folder {
            folder,
            ledger,
            now,
        };
        files
            .iter()
            .for_each(|(name, text)| folder.write(name, text));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file by another, as editors do.
    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(".new"), text).unwrap();
        fs::rename(self.path(".new"), self.path(name)).unwrap();
    }

    /// What a look says: `+name@address`, `-name`; the beginning and the end of lists as `(` and `)`.
    fn look(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        self.ledger.look(self.now, &mut |event| {
            said.push(match event {
                Event::Applied(Object::Service(service)) => match service.exposure {
                    Exposure::ClusterIps(ips) => format!("+{}@{}", service.metadata.name, ips[0]),
                    exposure => panic!("{exposure:?}"),
                },
                Event::Applied(object) => format!("+{}", object.metadata().name),
                Event::Deleted(object) => format!("-{}", object.metadata().name),
                Event::ListStarted(_) => "(".to_owned(),
                Event::Listed(_) => ")".to_owned(),
                event => panic!("{event:?}"),
            });
        });
        said
    }
}

fn service(name: &str, address: u8) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: 10.0.0.{address}\n"
    )
}

#[test]
fn the_first_look_is_a_list_and_later_ones_are_differences() {
    let mut folder = Folder::new(&[
        ("b.yaml", &service("b", 1)),
        ("a.yaml", &(service("a", 2) + &service("c", 3))),
    ]);
    assert_eq!(
        folder.look(),
        [
            "(",
            "(",
            "(",
            "+a@10.0.0.2",
            "+c@10.0.0.3",
            "+b@10.0.0.1",
            ")",
            ")",
            ")"
        ]
    );
    assert_eq!(folder.look(), [""; 0]);
    folder.write("a.yaml", &(service("a", 4) + &service("d", 5)));
    assert_eq!(folder.look(), ["+a@10.0.0.4", "+d@10.0.0.5", "-c"]);
}

#[test]
fn files_are_found_in_folders_by_their_extension_and_hidden_ones_are_not() {
    let mut folder = Folder::new(&[
        ("sub/deeper/a.yml", &service("a", 1)),
        (
            "b.json",
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"b"},"spec":{"clusterIP":"10.0.0.2"}}"#,
        ),
        ("readme.md", &service("x", 3)),
        (".hidden.yaml", &service("x", 3)),
        (".git/a.yaml", &service("x", 3)),
    ]);
    assert_eq!(
        folder.look(),
        ["(", "(", "(", "+b@10.0.0.2", "+a@10.0.0.1", ")", ")", ")"]
    );
}

#[test]
fn a_config_map_that_is_swapped_is_seen() {
    let mut folder = Folder::new(&[
        ("..v1/a.yaml", &service("a", 1)),
        ("..v2/a.yaml", &service("a", 2)),
    ]);
    symlink("..v1", folder.path("..data")).unwrap();
    symlink("..data/a.yaml", folder.path("a.yaml")).unwrap();
    assert_eq!(folder.look(), ["(", "(", "(", "+a@10.0.0.1", ")", ")", ")"]);
    symlink("..v2", folder.path("..data_tmp")).unwrap();
    fs::rename(folder.path("..data_tmp"), folder.path("..data")).unwrap();
    assert_eq!(folder.look(), ["+a@10.0.0.2"]);
}

#[test]
fn a_file_at_fault_loses_nothing_until_it_is_whole_again() {
    let whole = service("a", 1) + &service("b", 2);
    let mut folder = Folder::new(&[("a.yaml", &whole)]);
    folder.look();
    folder.write("a.yaml", &(service("a", 3) + "---\nkind: [\n"));
    assert_eq!(folder.look(), ["+a@10.0.0.3"]);
    folder.write("a.yaml", &service("a", 3).replace("10.0.0.3", "none"));
    assert_eq!(folder.look(), [""; 0]);
    folder.write("a.yaml", &service("c", 4));
    assert_eq!(folder.look(), ["+c@10.0.0.4", "-a", "-b"]);
}

#[test]
fn a_file_that_is_being_written_keeps_its_last_object_back_until_it_is_settled() {
    let mut folder = Folder::new(&[("a.yaml", &service("a", 1))]);
    folder.look();
    folder.write("a.yaml", service("b", 2).trim_end());
    folder.now.clock = SystemTime::now();
    assert_eq!(folder.look(), [""; 0]);
    folder.now.clock += LATER;
    assert_eq!(folder.look(), ["+b@10.0.0.2", "-a"]);
}

#[test]
fn a_removed_file_takes_its_objects_with_it_unless_it_comes_back_soon() {
    let mut folder = Folder::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    folder.look();
    fs::remove_file(folder.path("a.yaml")).unwrap();
    assert_eq!(folder.look(), [""; 0]);
    folder.now.instant += SETTLED_AFTER;
    assert_eq!(folder.look(), ["-a"]);
    fs::remove_file(folder.path("b.yaml")).unwrap();
    assert_eq!(folder.look(), [""; 0]);
    folder.write("b.yaml", &service("b", 3));
    folder.now.instant += SETTLED_AFTER;
    assert_eq!(folder.look(), ["+b@10.0.0.3"]);
}

#[test]
fn an_object_of_two_files_is_that_of_the_last_and_then_that_of_the_other() {
    let mut folder = Folder::new(&[("a.yaml", &service("x", 1)), ("b.yaml", &service("x", 2))]);
    assert_eq!(folder.look()[3..5], ["+x@10.0.0.1", "+x@10.0.0.2"]);
    folder.write("a.yaml", &service("x", 3));
    assert_eq!(folder.look(), [""; 0]);
    folder.write("b.yaml", &service("y", 4));
    assert_eq!(folder.look(), ["+y@10.0.0.4", "+x@10.0.0.3"]);
}

#[test]
fn what_is_not_wanted_is_not_there() {
    let ended = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: done}\nstatus: {phase: Succeeded, podIP: 10.1.0.1}\n";
    let hidden = service("h", 1).replace("name: h", "name: h\n  labels: {app: hidden}");
    let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\n";
    let mut folder = Folder::new(&[(
        "a.yaml",
        &[ended, &hidden, slice, &service("a", 1)].concat(),
    )]);
    assert_eq!(folder.look(), ["(", "(", "(", "+a@10.0.0.1", ")", ")", ")"]);
    folder.write(
        "a.yaml",
        &service("a", 1).replace("name: a", "name: a\n  labels: {app: hidden}"),
    );
    assert_eq!(folder.look(), ["-a"]);
}

#[test]
fn a_path_that_is_not_there_is_told_and_the_list_waits_for_it() {
    let mut folder = Folder::new(&[("a.yaml", &service("a", 1))]);
    let late = folder.path("late");
    folder.ledger.paths.push(late.clone());
    assert_eq!(folder.look(), ["(", "(", "(", "+a@10.0.0.1"]);
    let absent = folder.ledger.look(folder.now, &mut |_| {}).absent.unwrap();
    assert_eq!(
        *absent,
        *format!("{}: No such file or directory (os error 2)", late.display())
    );
    folder.write("late/b.yaml", &service("b", 2));
    assert_eq!(folder.look(), ["+b@10.0.0.2", ")", ")", ")"]);
}

#[test]
fn what_a_file_or_a_path_had_stays_until_it_has_something_again() {
    let empty_list = "apiVersion: v1\nitems: []\nkind: List\n";
    let configured = |folder: &Folder, name: &str| vec![folder.path(name)];
    let emptied = "no object is left in it; what it had is kept";
    let missing = "No such file or directory (os error 2)";
    type Spoil = fn(&Folder, &str);
    let rows: [(&str, Spoil, &str, &str); 7] = [
        (
            "a file without a word",
            |f, _| f.write("m/a.yaml", ""),
            "m/a.yaml",
            emptied,
        ),
        (
            "comments",
            |f, _| f.write("m/a.yaml", "# none\n---\n"),
            "m/a.yaml",
            emptied,
        ),
        (
            "a list of nothing",
            |f, list| f.write("m/a.yaml", list),
            "m/a.yaml",
            emptied,
        ),
        (
            "a list of nothing in JSON",
            |f, _| {
                f.write(
                    "m/a.yaml",
                    r#"{"apiVersion":"v1","kind":"List","items":[]}"#,
                )
            },
            "m/a.yaml",
            emptied,
        ),
        (
            "a folder that is moved away",
            |f, _| fs::rename(f.path("m"), f.path("m.x")).unwrap(),
            "m",
            missing,
        ),
        (
            "a file that becomes a link to nowhere",
            |f, _| {
                fs::remove_file(f.path("m/a.yaml")).unwrap();
                symlink("nowhere", f.path("m/a.yaml")).unwrap();
            },
            "m/a.yaml",
            missing,
        ),
        (
            "a folder that becomes a link to itself",
            |f, _| {
                fs::rename(f.path("m"), f.path("m.x")).unwrap();
                symlink("m", f.path("m")).unwrap();
            },
            "m",
            "Too many levels of symbolic links (os error 40)",
        ),
    ];
    for (fact, spoil, path, damage) in rows {
        let mut folder = Folder::new(&[("m/a.yaml", &service("a", 1))]);
        folder.ledger.paths = configured(&folder, "m");
        folder.look();
        spoil(&folder, empty_list);
        for _ in 0..3 {
            let look = folder
                .ledger
                .look(folder.now, &mut |event| panic!("{fact}: {event:?}"));
            let told = format!("{}: {damage}", folder.path(path).display());
            assert_eq!(look.absent.as_deref(), Some(&*told), "{fact}");
            assert_eq!(
                (look.loaded.faults.len(), look.loaded.files),
                (1, 0),
                "{fact}"
            );
            folder.now.instant += LATER;
        }
        let _ = fs::remove_file(folder.path("m"));
        folder.write("m/a.yaml", &service("b", 2));
        assert_eq!(folder.look(), ["+b@10.0.0.2", "-a"], "{fact}");
    }
}

#[test]
fn a_file_is_not_empty_that_has_objects_of_other_kinds() {
    let other = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    for text in [
        other.to_owned(),
        format!(
            "apiVersion: v1\nkind: List\nitems:\n{}",
            "- {apiVersion: apps/v1, kind: Deployment}\n"
        ),
        r#"{"apiVersion":"apps/v1","kind":"Deployment"}"#.to_owned(),
        r#"{"apiVersion":"apps/v1","kind":"DeploymentList","items":[{"metadata":{}}]}"#.to_owned(),
    ] {
        let mut folder = Folder::new(&[("a.yaml", &service("a", 1))]);
        folder.look();
        folder.write("a.yaml", &text);
        assert_eq!(folder.look(), ["-a"], "{text}");
    }
}

#[test]
fn an_emptied_file_gives_up_what_another_has() {
    let both = service("a", 1) + &service("b", 2);
    let mut folder = Folder::new(&[("z.yaml", &both)]);
    folder.look();
    folder.write("z.yaml", "");
    folder.write("a.yaml", &service("a", 3));
    assert_eq!(folder.look(), ["+a@10.0.0.3"]);
    folder.write("a.yaml", &service("b", 4));
    assert_eq!(folder.look(), ["-a", "+b@10.0.0.4"]);
    assert_eq!(folder.ledger.look(folder.now, &mut |_| {}).absent, None);
}

#[test]
fn files_that_would_take_out_most_are_believed_after_half_a_minute() {
    let many: String = (0..101).map(|n| service(&format!("s{n}"), n)).collect();
    type Shrink = fn(&Folder);
    let rows: [(&str, Shrink); 2] = [
        ("a file that is gone", |f| {
            fs::remove_file(f.path("a.yaml")).unwrap()
        }),
        ("a file with a handful", |f| {
            f.write("a.yaml", &service("s0", 0))
        }),
    ];
    for (fact, shrink) in rows {
        let mut folder = Folder::new(&[("a.yaml", &many), ("b.yaml", &service("b", 1))]);
        folder.look();
        shrink(&folder);
        folder.look();
        folder.now.instant += SETTLED_AFTER;
        let gone = |folder: &mut Folder| {
            let mut gone = 0;
            let look = folder.ledger.look(folder.now, &mut |event| {
                gone += usize::from(matches!(event, Event::Deleted(_)));
            });
            (gone, look.absent)
        };
        let (deleted, absent) = gone(&mut folder);
        let absent = absent.unwrap_or_default();
        assert_eq!(deleted, 0, "{fact}");
        assert!(
            absent.contains("a.yaml: 10") && absent.contains(" of 102 objects are gone"),
            "{absent}"
        );
        folder.now.instant += DOUBTED_FOR;
        let (deleted, absent) = gone(&mut folder);
        assert!(deleted >= 100, "{fact}: {deleted}");
        assert_eq!(absent, None, "{fact}");
    }
}
