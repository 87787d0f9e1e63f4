use std::os::unix::fs::{PermissionsExt, symlink};

use tokio::sync::mpsc;

use super::*;

#[test]
fn a_copy_is_replaced_whole_and_for_its_owner_alone_and_only_if_it_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let (one, two) = (sealed("one"), sealed("two"));
    write(&path, &one).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), one);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, MODE);
    let files = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files(), 1, "nothing is left beside it");
    let file = || fs::metadata(&path).unwrap().ino();
    let before = file();
    write(&path, &one).unwrap();
    assert_eq!(file(), before, "it is there already");
    write(&path, &two).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), two);
}

#[test]
fn only_what_was_written_as_a_copy_is_served_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let copy = sealed(".:53 {\n    whoami\n}\n");
    for (fact, text, found, is_replaced) in [
        ("nothing", None, "there is none", true),
        ("a copy", Some(copy.clone()), "a copy", true),
        (
            "an empty file",
            Some(String::new()),
            "it was not written by Cairn",
            true,
        ),
        (
            "another file",
            Some("some other file\n".to_owned()),
            "it was not written by Cairn",
            false,
        ),
        (
            "a Corefile",
            Some(".:53 {\n}\n".to_owned()),
            "it was not written by Cairn",
            false,
        ),
        (
            "cut off",
            Some(copy[..copy.len() - 3].to_owned()),
            "it is not as Cairn has written it",
            true,
        ),
        (
            "changed",
            Some(copy.replace("whoami", "erratic")),
            "it is not as Cairn has written it",
            true,
        ),
        (
            "without a hash",
            Some(format!("{HEADER}.:53 {{\n}}\n")),
            "it is not as Cairn has written it",
            true,
        ),
    ] {
        let _ = fs::remove_file(&path);
        if let Some(text) = &text {
            fs::write(&path, text).unwrap();
        }
        let keeper = Keeper {
            wanted: watch::channel(None).0,
            path: path.clone().into(),
        };
        let got = keeper
            .find()
            .map_or_else(|why| why.to_string(), |()| "a copy".to_owned());
        assert_eq!(got, found, "{fact}");
        let written = write(&path, &sealed("new"));
        assert_eq!(written.is_ok(), is_replaced, "{fact}: {written:?}");
        if !is_replaced {
            assert_eq!(fs::read_to_string(&path).ok(), text, "{fact}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_be_written_is_tried_again_and_each_failure_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later/Corefile");
    let (wanted, waiting) = watch::channel(None);
    tokio::spawn(write_all(path.clone().into(), waiting));
    let (failed, mut failures) = mpsc::unbounded_channel();
    let want = |text: &str| {
        let failed = failed.clone();
        let failed = Arc::new(move || failed.send(Instant::now()).unwrap_or_default());
        let text = sealed(text).into();
        wanted.send(Some(Wanted { text, failed })).unwrap();
    };
    want("one");
    let first = failures.recv().await.unwrap();
    let waited = failures.recv().await.unwrap() - first;
    assert!(
        waited >= RETRY_AFTER && waited < 2 * RETRY_AFTER,
        "{waited:?}"
    );
    want("two");
    failures.recv().await.unwrap();
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(failed);
    // What is written tells of no failure any more.
    while fs::read_to_string(&path).ok() != Some(sealed("two")) {
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

#[test]
fn the_corefile_is_known_by_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("Corefile"), "").unwrap();
    fs::write(at("other"), "").unwrap();
    fs::hard_link(at("Corefile"), at("hard")).unwrap();
    symlink("Corefile", at("soft")).unwrap();
    for (one, other, same) in [
        ("Corefile", "Corefile", true),
        ("sub/../Corefile", "Corefile", true),
        ("soft", "Corefile", true),
        ("Corefile", "soft", true),
        ("hard", "Corefile", true),
        ("other", "Corefile", false),
        ("new", "Corefile", false),
        ("new", "sub/../new", true),
        ("new", "sub/new", false),
        ("no/new", "no/new2", false),
    ] {
        assert_eq!(is_same(&at(one), &at(other)), same, "{one} {other}");
    }
}

#[test]
fn where_nothing_can_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["missing/Corefile", "..", ""] {
        assert!(write(&folder.path().join(path), "one").is_err(), "{path}");
    }
}
