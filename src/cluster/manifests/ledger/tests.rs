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
