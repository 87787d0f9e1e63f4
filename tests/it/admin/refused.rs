//! Who may not ask, and what cannot be asked.

use std::net::SocketAddr;

use super::{cairn, serving};

/// A user who is neither root nor whoever runs the tests as root.
const NOBODY: u32 = 65534;

#[test]
fn a_process_of_another_user_is_refused() {
    let (server, _folder, _) = serving(SocketAddr::from(([127, 0, 0, 1], 1)));
    let pid = server.id().to_string();
    let args = ["top", "--pid", &pid];
    let own =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{pid}")).unwrap());
    if own != 0 {
        eprintln!("left out: only root can run a process as another user");
        return;
    }
    let (code, out, err) = cairn(&args, Some(NOBODY));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(
        err,
        "the server refuses: it is of user 0; ask as that user or as root\n"
    );
    let log = "a process of user 65534 was refused at the socket for operators";
    server.wait_until(|server| server.log().contains(log));
    let (code, ..) = cairn(&args, None);
    assert_eq!(code, Some(0), "the same user");
}

#[test]
fn of_several_servers_one_must_be_named() {
    let [one, two] = [(); 2].map(|()| serving(SocketAddr::from(([127, 0, 0, 1], 1))));
    let (code, _, err) = cairn(&["top"], None);
    assert_eq!(code, Some(1));
    assert!(err.ends_with("; say which with --pid\n"), "{err}");
    for (server, ..) in [&one, &two] {
        let pid = format!("pid {} (user ", server.id());
        assert!(err.contains(&pid), "{pid}: {err}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let (server, _folder, _) = serving(SocketAddr::from(([127, 0, 0, 1], 1)));
    let pid = server.id().to_string();
    for (args, code, reason) in [
        ("explain a..b", 2, "\"a..b\" is no name: "),
        ("explain www.example.com NOTYPE", 2, "\"NOTYPE\" is no type"),
        ("cache show a..b", 2, "\"a..b\" is no name: "),
        ("cache flush a..b", 2, "\"a..b\" is no name: "),
        ("cache flush --zone a..b", 2, "\"a..b\" is no name: "),
        (
            "explain www.example.com --port 1",
            1,
            "no such listener; there are dns://127.0.0.1:",
        ),
        ("explain", 2, "NAME"),
        ("explain www.example.com A more", 2, "more"),
        ("cache flush", 2, "--all"),
        ("cache flush www.example.com --all", 2, "--all"),
        ("top --by nothing", 2, "nothing"),
    ] {
        let mut all: Vec<&str> = args.split(' ').collect();
        all.extend(["--pid", &pid]);
        let (got, out, err) = cairn(&all, None);
        assert_eq!((got, out.as_str()), (Some(code), ""), "{args}: {err}");
        assert!(err.contains(reason), "{args}: {err}");
    }
    let gone = cairn(&["top", "--pid", "4000000000"], None);
    assert_eq!(gone.0, Some(1));
    assert!(
        gone.2.starts_with("that server does not run here; there "),
        "{}",
        gone.2
    );
}
