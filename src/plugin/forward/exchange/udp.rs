//! A query and its reply as datagrams.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::chain::{Cause, Operation};
use crate::dns::Reply;

use super::{Asked, Fault, Heard};

/// The most octets of a datagram's payload: nothing is cut off here that came whole.
const DATAGRAM_MAX: usize = 65_535;

/// After an answer in another case the genuine one may come for so long, if the other was forged; then the upstream is
/// taken not to repeat the case of names.
const OTHER_CASE_GRACE: Duration = Duration::from_millis(50);

/// Datagrams, and errors: that nobody listens there comes back as ICMP, which makes no socket readable.
const INTEREST: Interest = Interest::READABLE.add(Interest::ERROR);

// Nobody waits while using these, so that one for each thread does and a query that waits holds none.
thread_local! {
    /// Where queries are written.
    static OUTGOING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// Where datagrams are read.
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; DATAGRAM_MAX]);
}

/// Sends over a connected socket and listens until the reply comes or the time is over. `discarded` is told of each
/// message that is none.
pub(in crate::plugin::forward) async fn exchange(
    socket: &UdpSocket,
    asked: Asked<'_>,
    until: Instant,
    discarded: impl Fn(),
) -> Result<Reply, Fault> {
    send(socket, asked).map_err(|error| Fault::io(Operation::Write, &error))?;
    let mut until = until;
    let mut cause = Cause::Timeout;
    let mut others = 0;
    let mut other = || {
        others += 1;
        discarded();
    };
    loop {
        let heard = listen(socket, asked, &mut other);
        let heard = tokio::time::timeout_at(until.into(), heard).await;
        if let Ok(Ok(Heard::OtherCase | Heard::Malformed(_))) = heard {
            discarded();
        }
        match heard {
            Ok(Ok(Heard::Reply(reply))) => return Ok(reply),
            Ok(Ok(Heard::OtherCase)) => {
                if cause != Cause::OtherCase {
                    until = until.min(Instant::now() + OTHER_CASE_GRACE);
                }
                cause = Cause::OtherCase;
            }
            Ok(Ok(Heard::Malformed(why))) if cause == Cause::Timeout => {
                cause = Cause::Malformed(why);
            }
            Ok(Ok(Heard::Malformed(_) | Heard::Other)) => {}
            Ok(Err(error)) => return Err(Fault::io(Operation::Read, &error)),
            Err(_) => {
                let cause = match (cause, NonZeroU32::new(others)) {
                    (Cause::Timeout, Some(others)) => Cause::TimeoutAmong(others),
                    (cause, _) => cause,
                };
                return Err(Fault::new(Operation::Read, cause));
            }
        }
    }
}

/// Sends at once. The runtime is not asked whether the socket can: it would have to wait for the poller to say so
/// of a new socket, and a full send buffer is a local fault like others.
fn send(socket: &UdpSocket, asked: Asked<'_>) -> io::Result<()> {
    OUTGOING.with_borrow_mut(|message| {
        asked.encode(message);
        rustix::net::send(socket, message, SendFlags::empty())?;
        Ok(())
    })
}

/// The next message that is ours in some way; `other` is told of those that are not.
async fn listen(
    socket: &UdpSocket,
    asked: Asked<'_>,
    other: &mut impl FnMut(),
) -> io::Result<Heard> {
    loop {
        // This counts against the task's budget, so that a flood of datagrams cannot keep the timer from ending it.
        match socket.async_io(INTEREST, || receive(socket, asked)).await? {
            Heard::Other => other(),
            heard => return Ok(heard),
        }
    }
}

fn receive(socket: &UdpSocket, asked: Asked<'_>) -> io::Result<Heard> {
    INCOMING.with_borrow_mut(|message| {
        let (length, _) = rustix::net::recv(socket, &mut message[..], RecvFlags::empty())?;
        Ok(asked.hear(&mut message[..length]))
    })
}
