//! The TCP connection under TLS and HTTP, with the two powers that a peer must not expect: to fall silent without
//! closing (the valve, for the whole server or for the connections that are open), and to break off at a chosen byte
//! (the line, for one connection).

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::Notify,
};

/// Which way of a connection leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mute {
    /// Nothing is read and nothing is written.
    Both,
    /// What the client says is heard; it hears nothing.
    Answers,
}

/// Stops all bytes of all connections while it is shut: they stay open, the kernel still acknowledges. And for good those
/// of the connections that are open when it is told so.
#[derive(Debug, Default)]
pub(super) struct Valve {
    inside: Mutex<ValveState>,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct ValveState {
    shut: bool,
    /// Connections with a smaller number read nothing any more …
    deaf_before: u64,
    /// … or write nothing.
    mute_before: u64,
    waiting: Vec<Waker>,
}

impl Valve {
    pub(super) fn shut(&self) {
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .shut = true;
    }

    pub(super) fn open(&self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.shut = false;
        inside.waiting.drain(..).for_each(Waker::wake);
    }

    /// Lets the connections that are open now lead nowhere, for good.
    pub(super) fn mute(&self, mute: Mute) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = self.connections.load(Ordering::Relaxed);
        inside.mute_before = opened;
        if mute == Mute::Both {
            inside.deaf_before = opened;
        }
    }

    fn poll_open(&self, context: &Context<'_>, connection: u64, reads: bool) -> Poll<()> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let nowhere_before = match reads {
            true => inside.deaf_before,
            false => inside.mute_before,
        };
        if !inside.shut && connection >= nowhere_before {
            return Poll::Ready(());
        }
        inside.waiting.push(context.waker().clone());
        Poll::Pending
    }
}

/// How a connection is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    Fin,
    Reset,
}

/// The end of one connection, as those who answer on it order it.
#[derive(Debug, Default)]
pub(super) struct Line {
    inside: Mutex<LineState>,
    broken: Notify,
}

#[derive(Debug, Default)]
struct LineState {
    broken: Option<Break>,
    armed: Option<Break>,
    /// Bytes went out since the line was armed.
    wrote: bool,
}

impl Line {
    /// Breaks the connection off at once.
    pub(super) fn cut(&self, how: Break) {
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .broken
            .get_or_insert(how);
        self.broken.notify_one();
    }

    /// Breaks the connection off as soon as the bytes that the caller is about to write are on the wire.
    pub(super) fn arm(&self, how: Break) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.armed = Some(how);
        inside.wrote = false;
    }

    /// Returns when the connection must be dropped.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    fn wrote(&self) {
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wrote = true;
    }

    fn flushed(&self) {
        let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(how), true) = (inside.armed, inside.wrote) {
            drop(inside);
            self.cut(how);
        }
    }

    fn ending(&self) -> Option<Break> {
        self.inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .broken
    }
}

/// A TCP stream that obeys its line and the valve.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    line: Arc<Line>,
    valve: Arc<Valve>,
    number: u64,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>, valve: Arc<Valve>) -> Self {
        Self {
            number: valve.connections.fetch_add(1, Ordering::Relaxed),
            stream,
            line,
            valve,
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A socket that is already gone cannot be closed more rudely.
        if self.line.ending() == Some(Break::Reset) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.valve.poll_open(context, self.number, true));
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.valve.poll_open(context, self.number, false));
        let written = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.line.wrote();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.valve.poll_open(context, self.number, false));
        let flushed = std::task::ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.line.flushed();
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.valve.poll_open(context, self.number, false));
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
