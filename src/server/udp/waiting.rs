//! A thread whose queries wait: it goes on reading, and takes those that wait to their ends meanwhile.
//!
//! What waits runs on a runtime of the thread's own, which turns while something waits and only then. So a query meets
//! one thread from its first octet to its last, and the sockets it is forwarded through belong to that thread. With the
//! waiting queries on other threads a query that is forwarded took 21.0 µs of CPU for 17.9 here, each batch being two
//! switches between threads (medians in one run in which Unbound took 33.3; one core, 200 queries under way).
//!
//! A thread that has more to do than it can reads on all the same, because what is known shall be answered: what must wait
//! stands in the [`super::backlog`] until there is time to begin it. Should reading alone be too much, the kernel loses
//! what comes, and [`super::shares`] sees to it that a client which floods is the one to lose.

use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::time::{Interval, interval, sleep};

use super::outbox::{Ended, Place};
use super::{BACK_OFF, BATCH, Buffers, Leaving, SPARE_MAX, Spare, Worker, batch, shares};
use crate::server::handle::Service;

/// Batches that are read before those who wait go on: what is known goes before what must be asked for. It is about what
/// the kernel has queued.
const BATCHES_AHEAD: usize = 32;
/// Queries that are begun before more is read: a batch's, or an eighth of what was read if that is more. To begin one and
/// take it to its end costs about eight times what it does to read one: so no more than half of the time goes into reading
/// what is not begun.
const BEGUN_AT_ONCE: usize = BATCH;
const READ_FOR_ONE_BEGUN: usize = 8;

/// The socket, watched by the runtime.
type Watched = AsyncFd<Arc<UdpSocket>>;

impl Worker {
    /// Reads on until nothing waits any more. The runtime must be the thread's.
    pub(super) async fn read_on(self: Arc<Self>, mut buffers: Buffers) -> Buffers {
        self.begin(0, &mut buffers);
        // Watched only now: that the poller of a thread hears of each datagram costs those that need not wait.
        let Ok(watched) = batch::watch(self.socket.clone()) else {
            self.look_once(&mut buffers).await;
            return buffers;
        };
        let mut look = None;
        poll_fn(|context| self.poll(context, &watched, &mut look, &mut buffers)).await;
        drop(watched);
        buffers
    }

    /// Looks again and again who sends how much, as long as that matters, while there is nothing to read.
    fn look(&self, context: &mut Context<'_>, timer: &mut Option<Interval>, buffers: &mut Buffers) {
        if !buffers.shares.are_counted() {
            *timer = None;
            return;
        }
        let timer = timer.get_or_insert_with(|| interval(shares::WINDOW));
        while timer.poll_tick(context).is_ready() {
            self.rest(buffers);
        }
    }

    /// Does without the poller, which has no room for this socket: looks after a while whether there is anything.
    async fn look_once(&self, buffers: &mut Buffers) {
        sleep(BACK_OFF).await;
        let ended = poll_fn(|context| Poll::Ready(self.outbox.poll(context))).await;
        if let Poll::Ready(Some(ended)) = ended {
            self.send(ended, buffers);
        }
        // Whatever is wrong, it is tried again in a while.
        let received = self.read_batch(buffers).unwrap_or(0);
        self.begin(received, buffers);
    }

    fn poll(
        &self,
        context: &mut Context<'_>,
        watched: &Watched,
        look: &mut Option<Interval>,
        buffers: &mut Buffers,
    ) -> Poll<()> {
        while let Poll::Ready(ended) = self.outbox.poll(context) {
            match ended {
                Some(ended) => self.send(ended, buffers),
                None if buffers.backlog.is_empty() => return Poll::Ready(()),
                None => break,
            }
        }
        if self.is_stopping() {
            return Poll::Ready(());
        }
        let received = match watched.poll_read_ready(context) {
            Poll::Ready(Ok(readable)) => Some(self.read_ahead(readable, buffers)),
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => {
                self.look(context, look, buffers);
                None
            }
        };
        if received.is_some() || !buffers.backlog.is_empty() {
            self.begin(received.unwrap_or(0), buffers);
            // Behind those who can go on now.
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Handles the datagrams that are there, or as many as those who wait may be kept from going on for, and says how
    /// many that were.
    fn read_ahead(
        &self,
        mut readable: AsyncFdReadyGuard<'_, Arc<UdpSocket>>,
        buffers: &mut Buffers,
    ) -> usize {
        let mut all = 0;
        while all < BATCHES_AHEAD * BATCH {
            match self.read_batch(buffers) {
                Ok(BATCH) => all += BATCH,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                // All that was there: the next one is news again. After a failure it is tried again with the next one,
                // whatever it was.
                received => {
                    readable.clear_ready();
                    return all + received.unwrap_or(0);
                }
            }
        }
        all
    }

    /// Handles the datagrams that are there, and says how many that were.
    fn read_batch(&self, buffers: &mut Buffers) -> io::Result<usize> {
        let received = buffers.batch.receive(&self.socket, false)?;
        self.answer(buffers, received);
        Ok(received)
    }

    /// Makes tasks of the next ones that must wait, after so many datagrams were read.
    fn begin(&self, received: usize, buffers: &mut Buffers) {
        let most = BEGUN_AT_ONCE.max(received / READ_FOR_ONE_BEGUN);
        for leaving in std::iter::from_fn(|| buffers.backlog.pop()).take(most) {
            tokio::spawn(end(self.service.clone(), self.outbox.enter(), leaving));
        }
    }

    fn send(&self, mut ended: Vec<Ended>, buffers: &mut Buffers) {
        let replies = ended.iter_mut().filter(|ended| !ended.reply.is_empty());
        let replies = replies.map(|ended| (&mut ended.peer, ended.reply.as_slice()));
        let unsent = batch::send(&self.socket, replies);
        if unsent > 0 {
            self.service.hooks.unsent(unsent);
        }
        let room = SPARE_MAX.saturating_sub(buffers.spare.len());
        let ended = ended.into_iter().take(room);
        buffers
            .spare
            .extend(ended.map(|ended| Spare::of(ended.query, ended.reply)));
    }
}

/// Takes a query to its end.
async fn end(service: Arc<Service>, place: Place, leaving: Leaving) {
    let Leaving {
        pending,
        mut query,
        mut reply,
        peer,
    } = leaving;
    let waited_in = service.finish(pending, &mut query, &mut reply).await;
    place.leave(Ended {
        peer,
        query,
        reply,
        _waited_in: waited_in,
    });
}
