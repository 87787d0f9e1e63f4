//! The abstract Unix socket of a server, and who may use it.
//!
//! Its name is `@cairn.PID`, by the process id that the server has in its own namespace. Pods in the network of their
//! node share the names of such sockets, and each may be process 1: the second of them is `@cairn.PID.2`, and so on. An
//! abstract socket has no owner and no mode, so both sides look at the credentials that the kernel has of the other
//! (`SO_PEERCRED`, unix(7)).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::Admin;
use crate::ops::listener::{self, Accept};

/// What the names of all sockets begin with, behind the NUL that makes them abstract.
pub const PREFIX: &str = "cairn.";

/// Servers that can have the same process id in namespaces of their own.
const NAMESAKES_MAX: u32 = 16;

/// A refused peer is told of in the log once in this time at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The user id of root.
pub const ROOT: u32 = 0;

/// A socket that is served; dropped, it closes.
#[derive(Debug)]
pub struct Opened {
    /// Its name, without the NUL.
    pub name: String,
    /// Gone, it stops the listener.
    _stop: watch::Sender<()>,
}

/// Serves `admin` on the socket of this process. To be called on a tokio runtime.
///
/// # Errors
/// All names that it could have are taken, or there can be no such socket.
pub fn open(admin: Arc<Admin>) -> io::Result<Opened> {
    let (name, listener) = bind(std::process::id())?;
    listener.set_nonblocking(true)?;
    let socket = Socket {
        listener: UnixListener::from_std(listener)?,
        own: own_user()?,
        refused: Refused::default(),
    };
    let (stop, stopped) = watch::channel(());
    tokio::spawn(listener::serve(socket, admin, stopped));
    Ok(Opened { name, _stop: stop })
}

/// Whether a process of user `own` has to do with one of user `peer`.
pub fn may_talk(own: u32, peer: u32) -> bool {
    peer == own || peer == ROOT
}

/// The effective user of this process, as its peers see it.
///
/// # Errors
/// No pair of sockets can be had.
pub fn own_user() -> io::Result<u32> {
    let (one, _other) = UnixStream::pair()?;
    Ok(one.peer_cred()?.uid())
}

fn bind(pid: u32) -> io::Result<(String, StdListener)> {
    let names = (1..=NAMESAKES_MAX).map(|number| match number {
        1 => format!("{PREFIX}{pid}"),
        _ => format!("{PREFIX}{pid}.{number}"),
    });
    // Whoever can foresee a name can take it before us.
    let unforeseen = std::iter::once(format!("{PREFIX}{pid}.{}", rand::random::<u32>()));
    let names = names.chain(unforeseen);
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for name in names {
        match StdListener::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
            Ok(listener) => return Ok((name, listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

/// The socket, which lets in who may.
struct Socket {
    listener: UnixListener,
    own: u32,
    refused: Refused,
}

impl Accept for Socket {
    type Stream = UnixStream;

    async fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // Who is gone already has no credentials, and needs none.
            let Ok(peer) = stream.peer_cred() else {
                continue;
            };
            if may_talk(self.own, peer.uid()) {
                return Ok(stream);
            }
            if let Some(times) = self.refused.tell(Instant::now()) {
                tracing::warn!(
                    "a process of user {} was refused at the socket for operators ({times} times since this was last said)",
                    peer.uid()
                );
            }
        }
    }

    /// The server ends, and whoever has not been heard yet can see that.
    fn completed(self) -> Vec<UnixStream> {
        vec![]
    }
}

/// Peers that were refused and are not told of yet.
#[derive(Debug, Default)]
struct Refused {
    told: Option<Instant>,
    untold: u64,
}

impl Refused {
    /// One more; how many they are, if it is time to tell.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now < told + TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_are_talked_to() {
        for (own, peer, may) in [
            (65532, 65532, true),
            (65532, 0, true),
            (65532, 1000, false),
            (0, 0, true),
            (0, 65532, false),
        ] {
            assert_eq!(may_talk(own, peer), may, "{own} and {peer}");
        }
    }

    #[test]
    fn refusals_are_told_once_a_minute() {
        let mut refused = Refused::default();
        let now = Instant::now();
        for (seconds, told) in [
            (0, Some(1)),
            (1, None),
            (59, None),
            (60, Some(3)),
            (61, None),
        ] {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(refused.tell(at), told, "after {seconds} s");
        }
    }

    #[test]
    fn servers_of_the_same_process_id_have_names_of_their_own() {
        // No process has this id.
        let pid = u32::MAX - 7;
        let bound: Vec<_> = (0..NAMESAKES_MAX).map(|_| bind(pid).unwrap()).collect();
        let names: Vec<&str> = bound.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], format!("cairn.{pid}"));
        assert_eq!(names[1], format!("cairn.{pid}.2"));
        let (unforeseen, _) = bind(pid).unwrap();
        assert!(!names.contains(&unforeseen.as_str()) && unforeseen.starts_with(names[0]));
        drop(bound);
        assert_eq!(bind(pid).unwrap().0, format!("cairn.{pid}"));
    }
}
