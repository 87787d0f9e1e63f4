//! Which servers run here, and which of them is meant.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::request::Server;
use crate::admin::socket::{PREFIX, ROOT, may_talk, own_user};

/// The sockets of this network namespace (proc_net(5)).
const SOCKETS: &str = "/proc/net/unix";

/// Servers that are looked at: more do not fit on a machine.
const SERVERS_MAX: usize = 256;

/// Where a server is, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    /// The name of its socket.
    name: String,
    /// As we see it; `None` in a process namespace that we do not.
    pid: Option<u32>,
    user: u32,
}

/// The server of this process id, or the only one.
pub(super) fn server(pid: Option<u32>) -> Result<Server, String> {
    let sockets = fs::read_to_string(SOCKETS);
    let sockets = sockets.map_err(|fault| format!("{SOCKETS}: {fault}"))?;
    let own = own_user_of_client().map_err(|fault| fault.to_string())?;
    let names = names(&sockets);
    let mut found = Vec::new();
    for name in names.into_iter().take(SERVERS_MAX) {
        // It may have ended meanwhile.
        if let Ok(server) = Server::connect(&name) {
            let candidate = Candidate {
                name,
                pid: server.pid,
                user: server.user,
            };
            found.push((candidate, server));
        }
    }
    let candidates: Vec<Candidate> = found.iter().map(|(known, _)| known.clone()).collect();
    let chosen = choose(&candidates, pid, own)?;
    let (_, mut server) = found.swap_remove(chosen);
    server.is_anothers = own != ROOT && own != server.user;
    Ok(server)
}

fn own_user_of_client() -> io::Result<u32> {
    let runtime = super::request::runtime()?;
    runtime.block_on(async { own_user() })
}

/// The names of the sockets of servers, each once.
fn names(sockets: &str) -> BTreeSet<String> {
    let names = sockets.lines().filter_map(|line| {
        let name = line.split_ascii_whitespace().nth(7)?.strip_prefix('@')?;
        let number = name.strip_prefix(PREFIX)?;
        let is_ours = |part: &str| part.parse::<u32>().is_ok();
        number.split('.').all(is_ours).then(|| name.to_owned())
    });
    names.collect()
}

/// Which of them is meant.
fn choose(candidates: &[Candidate], pid: Option<u32>, own: u32) -> Result<usize, String> {
    let is_trusted = |candidate: &Candidate| own == ROOT || may_talk(own, candidate.user);
    let is_seen = candidates.iter().any(|candidate| candidate.pid.is_some());
    let is_any_trusted = candidates.iter().any(is_trusted);
    let is_meant = |candidate: &Candidate| {
        (!is_seen || candidate.pid.is_some())
            && (!is_any_trusted || is_trusted(candidate))
            && (pid.is_none() || candidate.pid == pid)
    };
    let all = candidates.iter().enumerate();
    let meant: Vec<(usize, &Candidate)> = all.filter(|(_, known)| is_meant(known)).collect();
    match meant.as_slice() {
        [] if candidates.is_empty() => Err("no server runs here".to_owned()),
        [] => Err(format!(
            "that server does not run here; {}",
            list(candidates)
        )),
        // Anybody may take the name of a server's socket, and tell what he likes.
        [(at, only)] if is_trusted(only) => Ok(*at),
        [(_, other)] => Err(format!(
            "what runs here is of user {}, and this is user {own}: it need not be a server",
            other.user
        )),
        several => {
            let several: Vec<Candidate> =
                several.iter().map(|(_, known)| (*known).clone()).collect();
            Err(format!("{}; say which with --pid", list(&several)))
        }
    }
}

fn list(candidates: &[Candidate]) -> String {
    let each = candidates.iter().map(|candidate| match candidate.pid {
        Some(pid) => format!("pid {pid} (user {})", candidate.user),
        None => format!(
            "@{} (user {}, of another Pod)",
            candidate.name, candidate.user
        ),
    });
    let each: Vec<String> = each.collect();
    let are = if each.len() == 1 {
        "there is"
    } else {
        "there are"
    };
    format!("{are} {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sockets_of_servers_are_found_among_others() {
        let table = "Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 21530 @cairn.7
0000000000000000: 00000003 00000000 00000000 0001 03 21531 @cairn.7
0000000000000000: 00000002 00000000 00010000 0001 01 21532 @cairn.1.2
0000000000000000: 00000002 00000000 00010000 0001 01 21533 /run/cairn.8
0000000000000000: 00000002 00000000 00010000 0001 01 21534 @cairn.x
0000000000000000: 00000002 00000000 00010000 0001 01 21535
0000000000000000: 00000002 00000000 00010000 0001 01 21536 @other
";
        let found = names(table);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["cairn.1.2", "cairn.7"]
        );
    }

    #[test]
    fn the_server_that_is_meant_is_the_only_one_or_is_named() {
        let of = |pid: Option<u32>, user| Candidate {
            name: "cairn.1".to_owned(),
            pid,
            user,
        };
        let (seven, nine, hidden, other) = (
            of(Some(7), 65532),
            of(Some(9), 65532),
            of(None, 65532),
            of(Some(7), 1000),
        );
        let own = 65532;
        for (fact, servers, pid, own, expected) in [
            ("none", vec![], None, own, Err("no server runs here")),
            ("the only one", vec![seven.clone()], None, own, Ok(0)),
            (
                "one of two",
                vec![seven.clone(), nine.clone()],
                Some(9),
                own,
                Ok(1),
            ),
            (
                "two",
                vec![seven.clone(), nine.clone()],
                None,
                own,
                Err("there are pid 7 (user 65532), pid 9 (user 65532); say which with --pid"),
            ),
            (
                "another's",
                vec![seven.clone()],
                Some(8),
                own,
                Err("that server does not run here; there is pid 7 (user 65532)"),
            ),
            (
                "beside one of another Pod in the same network",
                vec![hidden.clone(), seven.clone()],
                None,
                own,
                Ok(1),
            ),
            ("of another Pod", vec![hidden.clone()], None, own, Ok(0)),
            (
                "of another user",
                vec![other.clone()],
                None,
                own,
                Err(
                    "what runs here is of user 1000, and this is user 65532: it need not be a server",
                ),
            ),
            (
                "beside one of another user",
                vec![other.clone(), nine.clone()],
                None,
                own,
                Ok(1),
            ),
            ("of another user, for root", vec![other], None, 0, Ok(0)),
        ] {
            let chosen = choose(&servers, pid, own);
            assert_eq!(chosen, expected.map_err(str::to_owned), "{fact}");
        }
    }
}
