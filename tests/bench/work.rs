//! The works, in the order in which they are done.

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
];
