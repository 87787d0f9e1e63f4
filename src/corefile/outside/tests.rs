//! Both worlds answer alike.

use super::*;

const FILES: [(&str, &str); 5] = [
    ("Corefile", "a"),
    ("custom/b.override", "b"),
    ("custom/a.override", "a"),
    ("custom/.hidden.override", "h"),
    ("custom/sub/x.override", "x"),
];

fn memory() -> Memory {
    FILES.iter().fold(Memory::new(), |memory, (path, content)| {
        memory.file(format!("/r/{path}"), *content)
    })
}

fn disk() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in FILES {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    root
}

#[test]
fn globs() {
    let (memory, disk) = (memory(), disk());
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "sorted, leading dots too",
            "custom/*.override",
            &[
                "custom/.hidden.override",
                "custom/a.override",
                "custom/b.override",
            ],
        ),
        ("directories too", "custom/s?b", &["custom/sub"]),
        (
            "in a directory name",
            "*/a.override",
            &["custom/a.override"],
        ),
        ("stays in its component", "*/x.override", &[]),
        ("plain file", "Corefile", &["Corefile"]),
        ("plain directory", "custom", &["custom"]),
        ("missing file", "nope", &[]),
        ("missing directory", "nope/*", &[]),
        ("below a file", "Corefile/*", &[]),
    ];
    for (name, pattern, expected) in rows {
        let below = |root: &str| -> Vec<PathBuf> {
            expected
                .iter()
                .map(|path| Path::new(root).join(path))
                .collect()
        };
        let root = disk.path().to_str().unwrap();
        assert_eq!(
            memory.glob(&format!("/r/{pattern}")),
            below("/r"),
            "memory: {name}"
        );
        assert_eq!(
            Filesystem.glob(&format!("{root}/{pattern}")),
            below(root),
            "disk: {name}"
        );
    }
}

#[test]
fn reading() {
    let (memory, disk) = (memory(), disk());
    let root = disk.path();
    let worlds: [(&dyn Outside, &Path); 2] = [(&memory, Path::new("/r")), (&Filesystem, root)];
    for (outside, root) in worlds {
        assert_eq!(
            outside.read(&root.join("custom/b.override")).unwrap(),
            b"b",
            "{root:?}"
        );
        let missing = outside.read(&root.join("nope"));
        assert!(
            matches!(missing, Err(Unreadable::Missing)),
            "{root:?}: {missing:?}"
        );
        let directory = outside.read(&root.join("custom"));
        assert!(
            matches!(directory, Err(Unreadable::Directory)),
            "{root:?}: {directory:?}"
        );
    }
}

#[test]
fn size_is_bounded() {
    let memory = Memory::new()
        .file("full", vec![b' '; FILE_BYTES_MAX])
        .file("over", vec![b' '; FILE_BYTES_MAX + 1]);
    assert_eq!(
        memory.read(Path::new("full")).unwrap().len(),
        FILE_BYTES_MAX
    );
    let over = memory.read(Path::new("over"));
    assert!(matches!(over, Err(Unreadable::TooLarge)), "{over:?}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_as_a_config_map_is_mounted() {
    let disk = disk();
    let link =
        |to: &str, from: &str| std::os::unix::fs::symlink(to, disk.path().join(from)).unwrap();
    link("custom", "..data");
    link("..data/a.override", "a.override");
    link("nowhere", "dangling.override");
    let found = Filesystem.glob(&format!("{}/*.override", disk.path().display()));
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
    assert_eq!(names, ["a.override", "dangling.override"]);
    assert_eq!(Filesystem.read(&found[0]).unwrap(), b"a");
    let dangling = Filesystem.read(&found[1]);
    assert!(matches!(dangling, Err(Unreadable::Missing)), "{dangling:?}");
}
