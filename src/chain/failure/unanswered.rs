//! A query to an upstream that got no answer: what was tried, with whom, and what came of it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::dns::Transport;
use crate::dns::message::MessageError;

/// A query to an upstream that got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// What was being done.
    pub operation: Operation,
    /// Over what.
    pub transport: Transport,
    /// Our end, where there was one.
    pub from: Option<SocketAddr>,
    /// The upstream.
    pub to: SocketAddr,
    /// What came of it.
    pub cause: Cause,
}

/// The steps of asking an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Making a connection, or a socket.
    Dial,
    /// Sending the query.
    Write,
    /// Waiting for the reply.
    Read,
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It took too long.
    Timeout,
    /// Likewise, and so many messages came from the upstream's address that were no answer to what was asked.
    TimeoutAmong(NonZeroU32),
    /// The upstream closed the connection.
    Closed,
    /// The upstream answered with something that cannot be read.
    Malformed(MessageError),
    /// The upstream repeated the name in another case than it was sent.
    OtherCase,
    /// The system said no, with this error number; 0 if it gave none.
    System(i32),
    /// The upstream answered with something that is no reply to what was asked.
    OtherReply,
    /// TLS was refused, by one side or the other; in words.
    Tls(Arc<str>),
    /// What came over HTTPS carries no message of DNS; in words.
    Https(Arc<str>),
    /// QUIC failed; in words.
    Quic(Arc<str>),
}

impl Unanswered {
    /// Whether this says something of this machine and nothing of the upstream: no descriptor, port or memory is
    /// left.
    pub fn is_local(&self) -> bool {
        use libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
        matches!(
            self.cause,
            Cause::System(EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM)
        )
    }

    /// Whether the connection turned out to be closed.
    pub fn is_closed(&self) -> bool {
        matches!(
            self.cause,
            Cause::Closed | Cause::System(libc::ECONNRESET | libc::EPIPE)
        )
    }
}

impl From<&io::Error> for Cause {
    fn from(error: &io::Error) -> Cause {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Cause::Closed,
            io::ErrorKind::TimedOut => Cause::Timeout,
            _ => Cause::System(error.raw_os_error().unwrap_or(0)),
        }
    }
}

impl fmt::Display for Unanswered {
    /// As Go prints a failed operation of its `net` package. Of a closed connection it prints `EOF` alone, and nobody
    /// knows who closed it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What failed above the transport is not an operation of it.
        if self.protocol() != self.transport.as_str() {
            return f.write_str(&self.of_upstream());
        }
        let operation = match self.operation {
            Operation::Dial => "dial",
            Operation::Write => "write",
            Operation::Read => "read",
        };
        write!(f, "{operation} {} ", self.transport.as_str())?;
        if let Some(from) = self.from {
            write!(f, "{from}->")?;
        }
        write!(f, "{}: {}", self.to, self.what())
    }
}

impl Unanswered {
    /// What failed, as far as a client may know: not from which port we ask.
    pub(crate) fn of_upstream(&self) -> String {
        format!("{} {}: {}", self.protocol(), self.to, self.what())
    }

    /// What failed.
    fn protocol(&self) -> &'static str {
        match self.cause {
            Cause::Tls(_) => "tls",
            Cause::Https(_) => "https",
            Cause::Quic(_) => "quic",
            _ => self.transport.as_str(),
        }
    }

    fn what(&self) -> String {
        let call = match self.operation {
            Operation::Dial => "connect",
            Operation::Write => "write",
            Operation::Read => "read",
        };
        match &self.cause {
            Cause::Timeout => "i/o timeout".to_owned(),
            // The words that patterns of `consolidate` look for stay at the end.
            Cause::TimeoutAmong(others) => {
                format!("{others} discarded, not answers to this query: i/o timeout")
            }
            Cause::Closed => "EOF".to_owned(),
            Cause::Malformed(why) => why.to_string(),
            Cause::OtherCase => "name in another case".to_owned(),
            Cause::OtherReply => "message is no reply to the query".to_owned(),
            Cause::System(0) => call.to_owned(),
            Cause::System(number) => format!("{call}: {}", system_text(*number)),
            Cause::Tls(why) | Cause::Https(why) | Cause::Quic(why) => why.to_string(),
        }
    }
}

/// The text of an error number in lower case and without the number.
fn system_text(number: i32) -> String {
    let mut text = io::Error::from_raw_os_error(number).to_string();
    if let Some(at) = text.find(" (os error") {
        text.truncate(at);
    }
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    use Operation::*;

    type Row<'a> = (
        Operation,
        Transport,
        Option<&'a str>,
        &'a str,
        Cause,
        &'a str,
    );

    const LOCAL: Option<&str> = Some("10.0.0.5:4321");

    fn assert_said<const ROWS: usize>(rows: [Row<'_>; ROWS]) {
        for (operation, transport, from, to, cause, expected) in rows {
            let unanswered = Unanswered {
                operation,
                transport,
                from: from.map(|from| from.parse().unwrap()),
                to: to.parse().unwrap(),
                cause,
            };
            assert_eq!(unanswered.to_string(), expected);
        }
    }

    #[test]
    fn what_failed_is_said_as_coredns_says_it() {
        assert_said([
            (
                Read,
                Transport::Udp,
                LOCAL,
                "8.8.8.8:53",
                Cause::Timeout,
                "read udp 10.0.0.5:4321->8.8.8.8:53: i/o timeout",
            ),
            (
                Read,
                Transport::Udp,
                LOCAL,
                "8.8.8.8:53",
                Cause::System(libc::ECONNREFUSED),
                "read udp 10.0.0.5:4321->8.8.8.8:53: read: connection refused",
            ),
            (
                Dial,
                Transport::Tcp,
                None,
                "[2001:db8::1]:53",
                Cause::System(libc::ECONNREFUSED),
                "dial tcp [2001:db8::1]:53: connect: connection refused",
            ),
            (
                Write,
                Transport::Tcp,
                LOCAL,
                "8.8.8.8:53",
                Cause::System(libc::EPIPE),
                "write tcp 10.0.0.5:4321->8.8.8.8:53: write: broken pipe",
            ),
            (
                Read,
                Transport::Tcp,
                LOCAL,
                "8.8.8.8:53",
                Cause::Closed,
                "read tcp 10.0.0.5:4321->8.8.8.8:53: EOF",
            ),
            (
                Read,
                Transport::Udp,
                LOCAL,
                "8.8.8.8:53",
                Cause::TimeoutAmong(NonZeroU32::new(2).unwrap()),
                "read udp 10.0.0.5:4321->8.8.8.8:53: 2 discarded, not answers to this query: i/o timeout",
            ),
        ]);
    }

    #[test]
    fn an_answer_of_no_use_and_a_protocol_that_failed_are_named() {
        assert_said([
            (
                Read,
                Transport::Tcp,
                LOCAL,
                "8.8.8.8:53",
                Cause::Malformed(MessageError::Cut),
                "read tcp 10.0.0.5:4321->8.8.8.8:53: message is cut off",
            ),
            (
                Read,
                Transport::Tcp,
                LOCAL,
                "8.8.8.8:443",
                Cause::OtherReply,
                "read tcp 10.0.0.5:4321->8.8.8.8:443: message is no reply to the query",
            ),
            (
                Dial,
                Transport::Tcp,
                None,
                "8.8.8.8:853",
                Cause::Tls("certificate expired 3 days ago".into()),
                "tls 8.8.8.8:853: certificate expired 3 days ago",
            ),
            (
                Read,
                Transport::Tcp,
                LOCAL,
                "8.8.8.8:443",
                Cause::Https("status 503".into()),
                "https 8.8.8.8:443: status 503",
            ),
            (
                Dial,
                Transport::Udp,
                None,
                "8.8.8.8:853",
                Cause::Quic("closed".into()),
                "quic 8.8.8.8:853: closed",
            ),
        ]);
    }
}
