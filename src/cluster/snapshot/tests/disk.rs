//! The file on a real disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::file::{self, write};
use super::*;

fn found(path: &Path) -> Result<Found, Refused> {
    let (file, octets) = file::open(path)?.expect("there is a file");
    read(file, octets, wanted())
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole_for_its_owner_alone_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    // Half of a file, as a process leaves it that is killed.
    fs::write(folder.path().join("cluster.new"), [7; 10_000]).unwrap();
    for ago in [90, 60] {
        let written = write(&path, &draft(&index(), reached(ago))).unwrap();
        assert_eq!(written.octets, fs::metadata(&path).unwrap().len());
        assert_eq!(found(&path).unwrap().reached, reached(ago));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(names(folder.path()), ["cluster"]);
    }
}

#[test]
fn a_file_is_marked_in_place_as_long_as_it_is_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let mut written = write(&path, &draft(&index(), reached(60))).unwrap();
    let before = fs::metadata(&path).unwrap().len();
    for ago in [40, 30, 20] {
        assert!(written.mark(&path, [NOW - ago; 4]).unwrap());
        assert_eq!(found(&path).unwrap().reached, reached(ago));
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), before);
    write(&path, &draft(&index(), reached(50))).unwrap();
    assert!(!written.mark(&path, [NOW; 4]).unwrap(), "another is there");
    fs::remove_file(&path).unwrap();
    assert!(!written.mark(&path, [NOW; 4]).unwrap(), "it is gone");
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    write(&path, &draft(&index(), reached(60))).unwrap();
    let busy = fs::File::create(folder.path().join("cluster.new")).unwrap();
    busy.lock().unwrap();
    let fault = write(&path, &draft(&index(), reached(30))).unwrap_err();
    assert_eq!(fault.to_string(), "another process is writing it");
    assert_eq!(found(&path).unwrap().reached, reached(60));
    let nowhere = folder.path().join("nowhere/cluster");
    assert!(write(&nowhere, &draft(&index(), reached(30))).is_err());
    // A link would have another file written.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/dev/null", link.with_extension("new")).unwrap();
    assert!(write(&link, &draft(&index(), reached(30))).is_err());
}

#[test]
fn only_a_regular_file_of_a_bearable_size_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    assert!(file::open(&path).unwrap().is_none());
    let reason = |path: &Path| file::open(path).unwrap_err().reason();
    assert_eq!(reason(folder.path()), "unreadable", "a folder");
    assert_eq!(reason(Path::new("/dev/zero")), "unreadable", "a device");
    fs::File::create(&path)
        .unwrap()
        .set_len(OCTETS_MAX + 1)
        .unwrap();
    assert_eq!(reason(&path), "too_large");
}
