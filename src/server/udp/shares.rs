//! Whose datagrams are lost when more come than a thread can read.
//!
//! Left to itself the kernel loses whatever comes while its queue is full, whoever sent it. While it does, it is counted
//! here who sends how much, and what is lost is made to be that of the clients which send the most:
//!
//! ```text
//!  Calm ── the kernel lost some ─▶ Watching ── and some clients send far more ─▶ Limiting
//!   ▲◀─────── it lost none ───────────┘                                            │
//!   └──────── all would be read without a limit ◀──────────────────────────────────┘
//! ```
//!
//! A client that is limited keeps the share that every one could have (max-min fairness: what the small do not use is for
//! the large). Where there are more than a few that send much there is no limit, because then nobody floods.
//! Plain data: times and counts are arguments.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::filter::{LIMITED_MAX, Limited};

/// How often it is looked at. Long enough to tell who sends how much, and short enough that others lose little before a
/// flood is limited, which takes two looks, and that a flood which is over is not held against anybody. With it a client
/// beside a flood of five times what can be answered has 97 % of its answers for 24 % (with 50 ms; most of the rest
/// was lost before the second look).
pub(super) const WINDOW: Duration = Duration::from_millis(20);
/// Clients that are told apart; what is left over is nobody's flood.
const CLIENTS_MAX: usize = 4096;
/// The part of what can be read that is given out, so that the queue of the kernel can empty.
const GIVEN_OUT: f64 = 0.9;
/// With less than this part of what can be read on offer, nobody needs a limit.
const ENOUGH: f64 = 0.8;
/// What a limit grows by while all is read, so that it ends up at what the thread can do.
const GROWTH: f64 = 1.1;

/// What one thread knows of those that send to it.
#[derive(Debug)]
pub(super) struct Shares {
    until: Instant,
    window: Window,
    state: State,
    /// What the kernel had lost, when it was last asked.
    lost: u32,
}

/// What came since the last look.
#[derive(Debug, Default)]
struct Window {
    read: u32,
    /// A read has filled its batch.
    was_full: bool,
    /// A read has not: all that there was has been read.
    was_emptied: bool,
}

#[derive(Debug)]
enum State {
    Calm,
    Watching(Seen),
    Limiting {
        seen: Seen,
        limited: Vec<Limited>,
        /// What was read in a window when that was all the thread could.
        most: f64,
    },
}

/// How many datagrams of each client were read.
type Seen = HashMap<IpAddr, u32, RandomState>;

/// What a look comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Look {
    /// Datagrams that were lost since the last one.
    pub(super) lost: u32,
    pub(super) order: Option<Order>,
}

/// What the kernel is to be told.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// These clients have these shares of what they send.
    Limit(Vec<Limited>),
    /// Every one has all.
    Lift,
}

impl Shares {
    /// Of a socket of which so many datagrams have been lost before.
    pub(super) fn new(now: Instant, lost: u32) -> Shares {
        Shares {
            until: now + WINDOW,
            window: Window::default(),
            state: State::Calm,
            lost,
        }
    }

    /// Whether it matters who sent what is read.
    #[inline]
    pub(super) fn are_counted(&self) -> bool {
        !matches!(self.state, State::Calm)
    }

    /// A datagram of this client was read.
    pub(super) fn count(&mut self, client: IpAddr) {
        let (State::Watching(seen) | State::Limiting { seen, .. }) = &mut self.state else {
            return;
        };
        if let Some(count) = seen.get_mut(&client) {
            *count += 1;
        } else if seen.len() < CLIENTS_MAX {
            seen.insert(client, 1);
        }
    }

    /// A batch was read, and filled its memory or not. `lost` tells how many datagrams the socket has lost in its life,
    /// those included that were over a limit.
    #[inline]
    pub(super) fn read(
        &mut self,
        now: Instant,
        count: usize,
        is_full: bool,
        lost: impl FnOnce() -> u32,
    ) -> Look {
        self.window.read += count as u32;
        self.window.was_full |= is_full;
        self.window.was_emptied |= !is_full;
        if now < self.until {
            return Look::default();
        }
        self.look(now, lost)
    }

    /// Nothing was read, for some time or because others go first. Without it a limit would outlast the flood that it is
    /// for, as long as the client that it falls on sends little.
    pub(super) fn rest(&mut self, now: Instant, lost: impl FnOnce() -> u32) -> Look {
        if now < self.until {
            return Look::default();
        }
        self.window.was_emptied |= self.window.read == 0;
        self.look(now, lost)
    }

    fn look(&mut self, now: Instant, lost: impl FnOnce() -> u32) -> Look {
        self.until = now + WINDOW;
        let window = std::mem::take(&mut self.window);
        // A queue that never filled a batch has not overflowed: the kernel need not be asked.
        if !window.was_full && !self.are_counted() {
            return Look::default();
        }
        let lost = lost();
        let since = lost.wrapping_sub(std::mem::replace(&mut self.lost, lost));
        Look {
            lost: since,
            order: self.decide(&window, since),
        }
    }

    fn decide(&mut self, window: &Window, lost: u32) -> Option<Order> {
        let read = f64::from(window.read);
        let all = read + f64::from(lost);
        match &mut self.state {
            State::Calm if lost > 0 => {
                self.state = State::Watching(Seen::default());
                None
            }
            State::Calm => None,
            State::Watching(_) if lost == 0 => {
                self.state = State::Calm;
                None
            }
            State::Watching(seen) => {
                let seen = std::mem::take(seen);
                let offered = offered(&seen, &[], all);
                let limited = share_out(offered, read * GIVEN_OUT);
                if limited.is_empty() {
                    return None;
                }
                self.state = State::Limiting {
                    seen: Seen::default(),
                    limited: limited.clone(),
                    most: read,
                };
                Some(Order::Limit(limited))
            }
            State::Limiting {
                seen,
                limited,
                most,
            } => {
                let seen = std::mem::take(seen);
                if window.was_emptied {
                    let offered = offered(&seen, limited, 0.0);
                    if offered.iter().map(|(_, count)| count).sum::<f64>() < *most * ENOUGH {
                        self.state = State::Calm;
                        return Some(Order::Lift);
                    }
                    limited
                        .iter_mut()
                        .for_each(|limited| limited.share = (limited.share * GROWTH).min(1.0));
                } else {
                    *most = read;
                    *limited = share_out(offered(&seen, limited, all), read * GIVEN_OUT);
                }
                if limited.iter().all(|limited| limited.share >= 1.0) {
                    self.state = State::Calm;
                    return Some(Order::Lift);
                }
                Some(Order::Limit(limited.clone()))
            }
        }
    }
}

/// How many datagrams each client sent, by how many of its were read: more by what its limit left out, and all more by
/// the same if in all there were more.
fn offered(seen: &Seen, limited: &[Limited], all: f64) -> Vec<(IpAddr, f64)> {
    let share = |client| {
        let of_client = limited.iter().find(|limited| limited.client == client);
        of_client.map_or(1.0, |limited| limited.share)
    };
    let sent = seen
        .iter()
        .map(|(client, count)| (*client, f64::from(*count) / share(*client)));
    let mut sent: Vec<(IpAddr, f64)> = sent.collect();
    let known: f64 = sent.iter().map(|(_, count)| count).sum();
    if all > known {
        sent.iter_mut().for_each(|(_, count)| *count *= all / known);
    }
    sent
}

/// The clients that send more than is left for them when those that send less have all, and the share that each has.
fn share_out(mut offered: Vec<(IpAddr, f64)>, room: f64) -> Vec<Limited> {
    offered.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut of_others: f64 = offered.iter().map(|(_, count)| count).sum();
    for large in 1..=offered.len().min(LIMITED_MAX) {
        of_others -= offered[large - 1].1;
        let level = (room - of_others) / large as f64;
        let next = offered.get(large).map_or(0.0, |(_, count)| *count);
        if level > 0.0 && level >= next {
            let large = offered[..large].iter();
            let limited = large.map(|(client, count)| Limited {
                client: *client,
                share: level / count,
            });
            return limited.filter(|limited| limited.share < 1.0).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
