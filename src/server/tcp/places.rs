//! The places of a listener's connections: how many there are, whose they are, and what they hold.
//!
//! When all are taken, the client that has gone longest without asking makes room, unless an answer is on its way to
//! it; RFC 7766 section 6.2.3 lets a server end idle connections at any time, and clients connect anew. No client gets
//! more than a share of the places, nor of the memory, so that one that misbehaves is not a fault of the others.
//! Nothing here reads or writes: a connection asks its [`Place`] what it is told.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// The share of one client address is one of this many, of places as well as of memory. A cache on a node that sends
/// each query on a connection of its own, or a node whose Pods share its address, needs hundreds of places.
const SHARES: usize = 4;
/// Octets that all connections together may hold: messages that are not whole, and replies that are not taken. Idle
/// connections hold none, and those that ask what is known hold none for longer than a system call.
const HELD_MAX: usize = 32 << 20;
/// Connections looked at to find one that makes room, so that a storm of new ones costs little each: the next ones
/// after those looked at before.
const LOOKED_AT: usize = 64;
/// When all places are taken and nobody can go, how soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What connections are told about their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(in crate::server) enum Phase {
    /// Serving.
    Open,
    /// Serving, but no longer for those that ask nothing; the others are asked to go.
    Leaving,
    /// What was read is answered, and nothing more is read.
    Draining,
    /// Another client needs the place.
    MakingRoom,
    /// Time is up.
    Closed,
}

/// The places of a listener.
pub(in crate::server) struct Places {
    slots: Arc<Semaphore>,
    slots_max: usize,
    table: Mutex<Table>,
    began: Instant,
    held: AtomicUsize,
}

struct Table {
    phase: Phase,
    taken: Vec<Arc<Seat>>,
    /// Where the search for one that makes room goes on.
    next: usize,
    clients: HashMap<IpAddr, Arc<Client>>,
}

/// What is known of all connections from one address.
#[derive(Default)]
struct Client {
    /// Changed with the table locked.
    connections: AtomicUsize,
    held: AtomicUsize,
}

/// What a connection and the table share.
struct Seat {
    /// Where in the table; changed with the table locked.
    at: AtomicUsize,
    phase: AtomicU8,
    /// Whether an answer is on its way to the client.
    is_busy: AtomicBool,
    /// When the client last asked, in milliseconds since `Places::began`.
    asked: AtomicU64,
    /// Of the connection's task.
    waker: AtomicWaker,
}

/// The place of one connection, which dropped is free.
pub(super) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    client: Arc<Client>,
    ip: IpAddr,
    held: usize,
    _slot: OwnedSemaphorePermit,
}

impl Places {
    pub(in crate::server) fn new(connections_max: usize) -> Places {
        Places {
            slots: Arc::new(Semaphore::new(connections_max)),
            slots_max: connections_max,
            table: Mutex::new(Table {
                phase: Phase::Open,
                taken: Vec::new(),
                next: 0,
                clients: HashMap::new(),
            }),
            began: Instant::now(),
            held: AtomicUsize::new(0),
        }
    }

    /// A place for this client, unless it has its share. Waits while all are taken by clients that wait themselves.
    pub(super) async fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        if !self.lock().has_share_left(ip, self.slots_max) {
            return None;
        }
        let slot = loop {
            if let Ok(slot) = self.slots.clone().try_acquire_owned() {
                break slot;
            }
            self.make_room();
            if let Ok(slot) = timeout(LOOK_AGAIN, self.slots.clone().acquire_owned()).await {
                break slot.expect("the semaphore is never closed");
            }
        };
        let mut table = self.lock();
        let client = table.clients.entry(ip).or_default().clone();
        client.connections.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat {
            at: AtomicUsize::new(table.taken.len()),
            phase: AtomicU8::new(table.phase as u8),
            is_busy: AtomicBool::new(false),
            asked: AtomicU64::new(self.milliseconds(Instant::now())),
            waker: AtomicWaker::new(),
        });
        table.taken.push(seat.clone());
        Some(Place {
            places: self.clone(),
            seat,
            client,
            ip,
            held: 0,
            _slot: slot,
        })
    }

    /// Ends the connection that has not asked for the longest time, of those looked at. That it is gone shows in its
    /// place being free.
    pub(super) fn make_room(&self) {
        let mut table = self.lock();
        if let Some(seat) = table.idlest() {
            seat.tell(Phase::MakingRoom);
        }
    }

    /// Tells all connections, and those to come.
    pub(in crate::server) fn enter(&self, phase: Phase) {
        let mut table = self.lock();
        if table.phase < phase {
            table.phase = phase;
            table.taken.iter().for_each(|seat| seat.tell(phase));
        }
    }

    /// Waits until no connection is open.
    pub(in crate::server) async fn all_free(&self) {
        let all = u32::try_from(self.slots_max).unwrap_or(u32::MAX);
        let _ = self.slots.acquire_many(all).await;
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        (now - self.began).as_millis() as u64
    }
}

impl Table {
    fn has_share_left(&self, ip: IpAddr, slots_max: usize) -> bool {
        let share = slots_max.div_ceil(SHARES);
        let client = self.clients.get(&ip);
        client.is_none_or(|client| client.connections.load(Ordering::Relaxed) < share)
    }

    fn idlest(&mut self) -> Option<&Arc<Seat>> {
        let count = self.taken.len().min(LOOKED_AT);
        let (from, all) = (self.next, self.taken.len());
        self.next = from.wrapping_add(count);
        let looked_at = (0..count).map(|at| &self.taken[from.wrapping_add(at) % all]);
        looked_at
            .filter(|seat| seat.can_go())
            .min_by_key(|seat| seat.asked.load(Ordering::Relaxed))
    }

    fn leave(&mut self, place: &Place) {
        let at = place.seat.at.load(Ordering::Relaxed);
        self.taken.swap_remove(at);
        if let Some(moved) = self.taken.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
        if place.client.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.clients.remove(&place.ip);
        }
        // A crowd that is gone leaves no room behind.
        if self.taken.capacity() > 4 * self.taken.len() + LOOKED_AT {
            self.taken.shrink_to(2 * self.taken.len());
            self.clients.shrink_to(2 * self.clients.len());
        }
    }
}

impl Seat {
    fn can_go(&self) -> bool {
        !self.is_busy.load(Ordering::Relaxed)
            && self.phase.load(Ordering::Relaxed) <= Phase::Leaving as u8
    }

    fn tell(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Release);
        self.waker.wake();
    }
}

impl Place {
    /// What the connection is told; `waker` is woken when that changes.
    pub(super) fn phase(&self, waker: &Waker) -> Phase {
        self.seat.waker.register(waker);
        let phase = self.seat.phase.load(Ordering::Acquire);
        let all = [
            Phase::Open,
            Phase::Leaving,
            Phase::Draining,
            Phase::MakingRoom,
            Phase::Closed,
        ];
        all[usize::from(phase)]
    }

    /// The client has asked something.
    pub(super) fn asked(&self, now: Instant) {
        let now = self.places.milliseconds(now);
        self.seat.asked.store(now, Ordering::Relaxed);
    }

    /// Whether an answer is on its way to the client, so that the connection cannot go.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.seat.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// The connection holds this many octets from now on. False if they are more than are left for it.
    pub(super) fn hold(&mut self, octets: usize) -> bool {
        let (before, now) = (self.held, octets);
        self.held = now;
        if now <= before {
            let less = before - now;
            self.client.held.fetch_sub(less, Ordering::Relaxed);
            self.places.held.fetch_sub(less, Ordering::Relaxed);
            return true;
        }
        let more = now - before;
        let of_client = self.client.held.fetch_add(more, Ordering::Relaxed) + more;
        let of_all = self.places.held.fetch_add(more, Ordering::Relaxed) + more;
        of_client <= HELD_MAX / SHARES && of_all <= HELD_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hold(0);
        self.places.lock().leave(self);
    }
}
