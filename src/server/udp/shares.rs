//! Whose datagrams are lost when more come than a thread can read.
//!
//! Left to itself the kernel loses whatever comes while its queue is full, whoever sent it. While it does, it is counted
//! here who sends how much, and what is lost is made to be that of the clients which send the most:
//!
//! ```text
//!  Calm ── the queue overflows and is never empty ─▶ Watching ── still, and some clients send far more ─▶ Limiting
//!   ▲◀──────────── otherwise ───────────────────────────┘                                                    │
//!   └──────────── all would be read without a limit ◀────────────────────────────────────────────────────────┘
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
/// flood is limited, which takes two looks beyond the one in which it began, and that a flood which is over is not held
/// against anybody.
pub(super) const WINDOW: Duration = Duration::from_millis(10);
/// Clients that are told apart; what is left over is nobody's flood.
const CLIENTS_MAX: usize = 4096;
/// The part of what can be read that is given out, so that the queue of the kernel can empty.
const GIVEN_OUT: f64 = 0.9;
/// With less than this part of what can be read on offer, nobody needs a limit.
const ENOUGH: f64 = 0.8;
/// What a limit grows by while all is read, so that it ends up at what the thread can do.
const GROWTH: f64 = 1.1;

/// So many windows long, a window tells of the machine and not of the clients.
const LATE: f64 = 3.0;
/// What the kernel may lose beyond what a limit explains before it counts as an overflow: that part of it, since lots are
/// drawn, and a batch.
const BY_CHANCE: f64 = 0.2;
const BY_CHANCE_MIN: f64 = 32.0;

/// What one thread knows of those that send to it.
#[derive(Debug)]
pub(super) struct Shares {
    window: Window,
    state: State,
    /// What the kernel had lost, when it was last asked.
    lost: u32,
    /// The kernel takes filters.
    can_limit: bool,
}

/// What came since the last look.
#[derive(Debug)]
struct Window {
    began: Instant,
    read: u32,
    /// All that there was has been read.
    was_emptied: bool,
}

#[derive(Debug)]
enum State {
    Calm,
    Watching(Seen),
    Limiting {
        seen: Seen,
        limited: Vec<Limited>,
        /// What was read in the time of a window when that was all the thread could.
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
    /// It is the first limit after there was none.
    pub(super) begins: bool,
}

/// What the kernel is to be told.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// These clients have these shares of what they send.
    Limit(Vec<Limited>),
    /// Every one has all.
    Lift,
}

impl Window {
    fn new(began: Instant) -> Window {
        Window {
            began,
            read: 0,
            was_emptied: false,
        }
    }
}

impl Shares {
    /// Of a socket of which so many datagrams have been lost before.
    pub(super) fn new(now: Instant, lost: u32) -> Shares {
        Shares {
            window: Window::new(now),
            state: State::Calm,
            lost,
            can_limit: true,
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

    /// The kernel, or a sandbox in its place, takes no filter: it goes on losing whatever comes.
    pub(super) fn cannot_limit(&mut self) {
        self.can_limit = false;
        self.state = State::Calm;
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
        self.window.was_emptied |= !is_full;
        if now < self.window.began + WINDOW {
            return Look::default();
        }
        self.look(now, lost)
    }

    /// There is nothing to read. Without it a limit would outlast the flood that it is for, as long as the client that it
    /// falls on sends little.
    pub(super) fn rest(&mut self, now: Instant, lost: impl FnOnce() -> u32) -> Look {
        self.window.was_emptied = true;
        if now < self.window.began + WINDOW {
            return Look::default();
        }
        self.look(now, lost)
    }

    fn look(&mut self, now: Instant, lost: impl FnOnce() -> u32) -> Look {
        let window = std::mem::replace(&mut self.window, Window::new(now));
        let lost = lost();
        let since = lost.wrapping_sub(std::mem::replace(&mut self.lost, lost));
        let was_limiting = matches!(self.state, State::Limiting { .. });
        let order = match self.can_limit {
            true => self.decide(&window, since, now),
            false => None,
        };
        Look {
            lost: since,
            begins: !was_limiting && matches!(order, Some(Order::Limit(_))),
            order,
        }
    }

    fn decide(&mut self, window: &Window, lost: u32, now: Instant) -> Option<Order> {
        // A thread that was kept from running looks late.
        let windows = (now - window.began).div_duration_f64(WINDOW).max(1.0);
        let (read, lost) = (f64::from(window.read), f64::from(lost));
        // A queue that overflowed while the thread was kept from running is no client's doing: then it is emptied, or the
        // look is late.
        let is_flooded = lost > 0.0 && !window.was_emptied && windows < LATE;
        match &mut self.state {
            State::Calm if is_flooded => {
                self.state = State::Watching(Seen::default());
                None
            }
            State::Calm => None,
            State::Watching(_) if !is_flooded => {
                self.state = State::Calm;
                None
            }
            State::Watching(seen) => {
                let seen = std::mem::take(seen);
                let limited = share_out(offered(&seen, &[], read + lost), read * GIVEN_OUT);
                if limited.is_empty() {
                    return None;
                }
                self.state = State::Limiting {
                    seen: Seen::default(),
                    limited: limited.clone(),
                    most: read / windows,
                };
                Some(Order::Limit(limited))
            }
            State::Limiting {
                seen,
                limited,
                most,
            } => {
                let seen = std::mem::take(seen);
                if !window.was_emptied {
                    *most = read / windows;
                    *limited = share_out(offered(&seen, limited, read + lost), read * GIVEN_OUT);
                } else if (read + lost) / windows < *most * ENOUGH {
                    limited.clear();
                } else if lost <= lost_by(&seen, limited) * (1.0 + BY_CHANCE) + BY_CHANCE_MIN {
                    // Nothing overflows.
                    let room = *most * windows * GIVEN_OUT;
                    let needed = share_out(offered(&seen, limited, 0.0), room);
                    limited.retain_mut(|limited| {
                        let needed = needed.iter().find(|needed| needed.client == limited.client);
                        let needed = needed.map_or(1.0, |needed| needed.share);
                        limited.share = (limited.share * GROWTH).max(needed);
                        limited.share < 1.0
                    });
                }
                if limited.is_empty() {
                    self.state = State::Calm;
                    return Some(Order::Lift);
                }
                Some(Order::Limit(limited.clone()))
            }
        }
    }
}

/// How many datagrams these limits have kept from being read.
fn lost_by(seen: &Seen, limited: &[Limited]) -> f64 {
    let lost = limited.iter().map(|limited| {
        let read = seen.get(&limited.client).copied().unwrap_or(0);
        f64::from(read) * (1.0 / limited.share - 1.0)
    });
    lost.sum()
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
