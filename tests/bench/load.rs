//! The generator over UDP and kept TCP connections, on the thread that calls it: as fast as replies come (closed loop), or at a rate of its own
//! (open loop). A latency counts from when a query was due, so that a generator that is held up hides nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::batch::{BATCH, Batch};
use crate::link::{Link, Transport};
use crate::numbers::Histogram;
use crate::process::own_cpu;
use crate::questions::{Expect, Questions};

/// Sockets, and so clients, by which a server with several threads spreads the load.
const LANES: usize = 16;
/// Queries under way in a closed loop, in all.
const WINDOW: usize = 200;
/// Queries that a lane remembers; a power of two.
const SLOTS: usize = 4096;
/// After the last query: what has not come by then is lost.
const GRACE: Duration = Duration::from_millis(500);
/// In a closed loop, silence for so long means that what is under way is lost.
const SILENCE: Duration = Duration::from_millis(250);

/// How the generator waits for the next query to be due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The core is its own.
    Spin,
    /// It shares the core with an upstream or an API server.
    Sleep,
}

/// Whether replies are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    Answers,
    /// An echo knows nothing.
    Nothing,
}

/// What came of a load.
#[derive(Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Answered with something else than what is so.
    pub(crate) wrong: u64,
    /// Answers a second while queries were sent.
    pub(crate) qps: f64,
    pub(crate) latency: Histogram,
    /// Share of its core that the generator used.
    pub(crate) busy: f64,
}

impl Outcome {
    pub(crate) fn lost(&self) -> u64 {
        self.sent - self.answered
    }
}

pub(crate) struct Load<'a> {
    questions: &'a mut Questions,
    check: Check,
    lanes: Vec<Lane>,
    batch: Batch,
    packets: Vec<Vec<u8>>,
    outcome: Outcome,
}

struct Lane {
    link: Link,
    next: u16,
    slots: Vec<Slot>,
    open: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    id: u16,
    expect: Expect,
    open: bool,
    due: Instant,
}

impl Lane {
    fn new(link: Link, now: Instant) -> Lane {
        let slot = Slot {
            id: 0,
            expect: Expect::Records,
            open: false,
            due: now,
        };
        Lane {
            link,
            next: rand::random(),
            slots: vec![slot; SLOTS],
            open: 0,
        }
    }
}

impl<'a> Load<'a> {
    pub(crate) fn new(
        server: SocketAddr,
        transport: Transport,
        questions: &'a mut Questions,
        check: Check,
    ) -> io::Result<Load<'a>> {
        Load::from(Ipv4Addr::LOCALHOST, server, transport, questions, check)
    }

    /// Likewise, from another address of this host.
    pub(crate) fn from(
        client: Ipv4Addr,
        server: SocketAddr,
        transport: Transport,
        questions: &'a mut Questions,
        check: Check,
    ) -> io::Result<Load<'a>> {
        let now = Instant::now();
        let lane = |_| Link::new(server, transport, client).map(|link| Lane::new(link, now));
        Ok(Load {
            questions,
            check,
            lanes: (0..LANES).map(lane).collect::<io::Result<_>>()?,
            batch: Batch::new(),
            packets: vec![Vec::new(); BATCH],
            outcome: Outcome::default(),
        })
    }

    /// Keeps a number of queries under way.
    pub(crate) fn closed(mut self, duration: Duration) -> io::Result<Outcome> {
        let (began, cpu) = (Instant::now(), own_cpu());
        for lane in 0..LANES {
            self.send(lane, WINDOW / LANES, began)?;
        }
        let (mut heard, mut now) = (began, began);
        while now - began < duration {
            let mut received = 0;
            for lane in 0..LANES {
                let came = self.receive(lane)?;
                if came > 0 {
                    now = Instant::now();
                    self.send_all(lane, came, now)?;
                }
                received += came;
            }
            now = Instant::now();
            if received > 0 {
                heard = now;
            } else if now - heard > SILENCE {
                for lane in 0..LANES {
                    self.lanes[lane].open = 0;
                    self.lanes[lane]
                        .slots
                        .iter_mut()
                        .for_each(|slot| slot.open = false);
                    self.send(lane, WINDOW / LANES, now)?;
                }
                heard = now;
            } else {
                self.wait(Duration::from_millis(50));
                now = Instant::now();
            }
        }
        let took = (now - began).as_secs_f64();
        self.outcome.qps = self.outcome.answered as f64 / took;
        self.outcome.busy = (own_cpu() - cpu).as_secs_f64() / took;
        self.drain()?;
        Ok(self.outcome)
    }

    /// Sends so many queries a second, whatever comes back.
    pub(crate) fn open(mut self, rate: f64, duration: Duration, wait: Wait) -> io::Result<Outcome> {
        let (began, cpu) = (Instant::now(), own_cpu());
        let total = (rate * duration.as_secs_f64()) as u64;
        let due = |n: u64| began + Duration::from_secs_f64(n as f64 / rate);
        let mut lane = 0;
        while self.outcome.sent < total {
            let now = Instant::now();
            let ripe = (((now - began).as_secs_f64() * rate) as u64 + 1).min(total);
            let behind = ripe.saturating_sub(self.outcome.sent);
            // A part of what is behind from each lane, so that none of them is a burst of its own.
            let mut left = usize::try_from(behind).unwrap_or(usize::MAX);
            while left > 0 {
                let count = left.min(BATCH);
                let at = due(self.outcome.sent);
                self.send(lane, count, at)?;
                lane = (lane + 1) % LANES;
                left -= count;
                if lane == 0 {
                    break;
                }
            }
            let received = self.receive_all()?;
            if received == 0 && wait == Wait::Sleep {
                let next = due(self.outcome.sent).saturating_duration_since(Instant::now());
                self.wait(next.min(Duration::from_millis(5)));
            }
        }
        let took = began.elapsed().as_secs_f64();
        self.outcome.qps = self.outcome.answered as f64 / took;
        self.outcome.busy = (own_cpu() - cpu).as_secs_f64() / took;
        self.drain()?;
        Ok(self.outcome)
    }

    /// Over TCP more may have been answered at once than a batch holds.
    fn send_all(&mut self, lane: usize, mut count: usize, due: Instant) -> io::Result<()> {
        while count > 0 {
            self.send(lane, count.min(BATCH), due)?;
            count -= count.min(BATCH);
        }
        Ok(())
    }

    fn send(&mut self, lane: usize, count: usize, due: Instant) -> io::Result<()> {
        let lane = &mut self.lanes[lane];
        for packet in &mut self.packets[..count] {
            let id = lane.next;
            lane.next = id.wrapping_add(1);
            let slot = &mut lane.slots[usize::from(id) % SLOTS];
            lane.open += usize::from(!slot.open);
            let expect = self.questions.next(id, packet);
            *slot = Slot {
                id,
                expect,
                open: true,
                due,
            };
        }
        self.outcome.sent += count as u64;
        lane.link.send(&mut self.batch, &self.packets[..count])
    }

    fn receive_all(&mut self) -> io::Result<usize> {
        let mut received = 0;
        for lane in 0..LANES {
            if self.lanes[lane].open > 0 {
                received += self.receive(lane)?;
            }
        }
        Ok(received)
    }

    /// Returns how many queries were answered. Replies that come at once are as late as the first of them: reading
    /// the clock for each would cost more than the difference.
    fn receive(&mut self, lane: usize) -> io::Result<usize> {
        let Lane {
            link, slots, open, ..
        } = &mut self.lanes[lane];
        let Outcome { wrong, latency, .. } = &mut self.outcome;
        let (check, mut answered, mut heard) = (self.check, 0, None);
        link.receive(&mut self.batch, |reply| {
            let now = *heard.get_or_insert_with(Instant::now);
            let Some([high, low]) = reply.first_chunk() else {
                return;
            };
            let id = u16::from_be_bytes([*high, *low]);
            let slot = &mut slots[usize::from(id) % SLOTS];
            if !slot.open || slot.id != id {
                return;
            }
            slot.open = false;
            *open -= 1;
            answered += 1;
            if check == Check::Answers && !slot.expect.is_met(reply) {
                *wrong += 1;
            }
            latency.add(now.saturating_duration_since(slot.due));
        })?;
        self.outcome.answered += answered as u64;
        Ok(answered)
    }

    fn drain(&mut self) -> io::Result<()> {
        let until = Instant::now() + GRACE;
        while self.outcome.lost() > 0 && Instant::now() < until {
            if self.receive_all()? == 0 {
                self.wait(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// Waits for a reply.
    fn wait(&self, most: Duration) {
        let sockets = self.lanes.iter().map(|lane| lane.link.as_fd());
        let mut polled: Vec<PollFd> = sockets
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = TimeSpec::from(most);
        let _ = ppoll(&mut polled, Some(timeout), None);
    }
}
