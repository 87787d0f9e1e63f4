//! What goes wrong with the API server, in an order that the seed says.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::support::apiserver::{ApiServer, Cut, Fault};

const RESOURCES: [&str; 4] = ["services", "endpointslices", "pods", "namespaces"];
/// Those whose watches may lie. An address that lives is moved between slices in two events, and is gone for whoever is told
/// of one.
const LYING: [&str; 3] = ["services", "pods", "namespaces"];
const CUTS: [Cut; 4] = [Cut::End, Cut::Fin, Cut::Reset, Cut::MidFrame];
const REFUSALS: [u16; 5] = [410, 429, 500, 503, 504];

/// How long a trouble that lasts does so; the next one comes soon after.
const LASTS: Duration = Duration::from_millis(150);
/// Between two troubles: long enough for some that are answered at once to be over, too short for others.
const PAUSE: Duration = Duration::from_millis(60);
/// Events that a lying watch leaves out at most.
const LIES_MAX: usize = 3;
/// How many versions a lagging server is behind.
const LAG: u64 = 12;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// The watch of a resource ends.
    Cut(&'static str, Cut),
    /// The next watch of a resource ends within its events, or the next list within an item.
    CutLater(&'static str, Cut, usize),
    /// The next requests are refused, then the watch ends.
    Refuse(&'static str, u16),
    /// The versions of the past are forgotten, and the watch ends as too old.
    Expire(&'static str),
    /// No byte moves, and connections stay open; they are gone when it ends.
    Silence,
    /// The server is killed and begins again; it may have forgotten the past.
    Restart { forgets: bool },
    /// A server that lags behind takes over, with all watches cut.
    Lag,
    /// Another token is asked for.
    Token,
    /// The cluster has another authority, and a certificate of it.
    Authority,
    /// An event, or a list, that is no JSON.
    Garbage(&'static str),
    /// The watch of a resource leaves out what happens next, and goes on as if nothing were.
    Lie(&'static str, usize),
}

/// How many of each.
pub(super) struct Count {
    cuts: usize,
    silences: usize,
    restarts: usize,
    others: usize,
    lies: usize,
}

impl Count {
    pub(super) const FEW: Count = Count {
        cuts: 24,
        silences: 1,
        restarts: 2,
        others: 2,
        lies: 2,
    };
    /// For a program that audits every ten minutes: what a watch has left out is found too late.
    pub(super) const FEW_HONEST: Count = Count {
        lies: 0,
        ..Count::FEW
    };
    pub(super) const MANY: Count = Count {
        cuts: 1_000,
        silences: 100,
        restarts: 50,
        others: 50,
        lies: 50,
    };
}

/// What goes wrong in a run.
pub(super) struct Plan(Count);

/// A run of troubles.
pub(super) struct Troubles {
    left: Vec<Trouble>,
    tokens: usize,
}

impl Plan {
    pub(super) fn of(count: Count) -> Plan {
        Plan(count)
    }

    /// All troubles in the order of this seed.
    pub(super) fn troubles(&self, seed: u64) -> Troubles {
        let mut random = StdRng::seed_from_u64(seed ^ 0x7472_6f75_626c_6521);
        let Plan(count) = self;
        let resource = |random: &mut StdRng| *RESOURCES.choose(random).expect("there are four");
        let mut left = Vec::new();
        for number in 0..count.cuts {
            let (of, cut) = (resource(&mut random), CUTS[number % CUTS.len()]);
            left.push(match random.random_range(0..3) {
                0 => Trouble::CutLater(of, cut, random.random_range(0..3)),
                _ => Trouble::Cut(of, cut),
            });
        }
        left.extend((0..count.silences).map(|_| Trouble::Silence));
        left.extend((0..count.restarts).map(|number| Trouble::Restart {
            forgets: number % 2 == 0,
        }));
        for number in 0..count.others {
            left.push(Trouble::Refuse(
                resource(&mut random),
                REFUSALS[number % REFUSALS.len()],
            ));
            left.push(Trouble::Expire(resource(&mut random)));
            left.push(Trouble::Garbage(resource(&mut random)));
            left.push(Trouble::Lag);
            left.push(Trouble::Token);
            left.push(Trouble::Authority);
        }
        for _ in 0..count.lies {
            let of = *LYING.choose(&mut random).expect("there are three");
            left.push(Trouble::Lie(of, random.random_range(1..=LIES_MAX)));
        }
        left.shuffle(&mut random);
        Troubles { left, tokens: 0 }
    }
}

impl Troubles {
    /// Lets the next one happen, and says which it was.
    pub(super) fn next(&mut self, api: &ApiServer) -> Option<Trouble> {
        let trouble = self.left.pop()?;
        std::thread::sleep(PAUSE);
        match trouble {
            Trouble::Cut(of, cut) => api.cut_watches(of, cut),
            Trouble::CutLater(of, cut, events) => {
                api.inject(Fault::cut(cut).of(of).after_events(events));
                api.cut_watches(of, Cut::End);
            }
            Trouble::Refuse(of, code) => {
                api.inject(Fault::answer(code).of(of).times(2));
                api.cut_watches(of, Cut::End);
            }
            Trouble::Expire(of) => {
                api.compact();
                api.expire_watches(of);
            }
            Trouble::Silence => {
                api.pause();
                std::thread::sleep(LASTS);
                RESOURCES
                    .iter()
                    .for_each(|of| api.cut_watches(of, Cut::Reset));
                api.resume();
            }
            Trouble::Restart { forgets } => {
                api.stop();
                if forgets {
                    api.compact();
                }
                std::thread::sleep(LASTS);
                api.start_again();
            }
            Trouble::Lag => {
                api.time_travel(api.version().saturating_sub(LAG).max(1));
                RESOURCES
                    .iter()
                    .for_each(|of| api.cut_watches(of, Cut::End));
                std::thread::sleep(LASTS);
                api.catch_up();
            }
            Trouble::Token => {
                self.tokens += 1;
                api.rotate_token(&format!("token-{}", self.tokens));
                api.cut_watches("services", Cut::Reset);
            }
            Trouble::Authority => api.rotate_authority(),
            Trouble::Lie(of, events) => api.skip_events(of, events),
            Trouble::Garbage(of) => {
                api.inject(Fault::garbage().of(of));
                api.cut_watches(of, Cut::End);
            }
        }
        Some(trouble)
    }

    /// From now on all is well.
    pub(super) fn mend(&self, api: &ApiServer) {
        api.clear_faults();
        api.catch_up();
        api.resume();
        api.release();
    }
}
