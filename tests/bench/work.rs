//! The works, in the order in which they are done.

mod connections;
mod flood;
mod instructions;
mod memory;
mod overload;
mod startup;
mod storm;
mod threads;
mod udp;

use crate::report::Report;
use crate::world::World;

pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// What it tells, for `--list`.
    pub(crate) about: &'static str,
    pub(crate) run: fn(&World, &mut Report) -> std::io::Result<()>,
}

pub(crate) const ALL: &[Work] = &[
    Work {
        name: "hits",
        about: "records of the cluster: A, no AAAA, SRV, PTR, headless",
        run: udp::hits,
    },
    Work {
        name: "walk",
        about: "what a pod sends: its search list with ndots:5, A and AAAA",
        run: udp::walk,
    },
    Work {
        name: "external",
        about: "names outside of the cluster, cached",
        run: udp::external,
    },
    Work {
        name: "miss",
        about: "names never asked before, from an upstream on loopback",
        run: udp::misses,
    },
    Work {
        name: "tcp",
        about: "A of a service over kept connections",
        run: udp::tcp,
    },
    Work {
        name: "tcp-once",
        about: "a connection for each query",
        run: connections::one_shot,
    },
    Work {
        name: "tcp-idle",
        about: "10,000 connections that wait",
        run: connections::idle,
    },
    Work {
        name: "threads",
        about: "two data threads beside one",
        run: threads::run,
    },
    Work {
        name: "overload",
        about: "ten times what can be answered",
        run: overload::run,
    },
    Work {
        name: "flood",
        about: "one client asks for far more than can be answered, another for a little",
        run: flood::run,
    },
    Work {
        name: "storm",
        about: "services and slices that change while queries run",
        run: storm::run,
    },
    Work {
        name: "start",
        about: "exec to the first answer, exec to synced",
        run: startup::run,
    },
    Work {
        name: "memory",
        about: "at rest, under load, during a full relist",
        run: memory::run,
    },
    Work {
        name: "instructions",
        about: "instructions a query, by callgrind",
        run: instructions::run,
    },
];
