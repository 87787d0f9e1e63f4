//! Lists of ports, each kept once: a cluster has a dozen of them, and every Service and every slice has one.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::object::Port;

/// Lists that were unused are looked for when there are twice as many as were in use the last time, but not below this.
const SWEEP_MIN: usize = 256;

/// The lists that are in use, and some that were.
#[derive(Debug, Default)]
pub(super) struct PortLists {
    known: HashSet<Arc<[Port]>, foldhash::fast::RandomState>,
    /// In use after the last sweep.
    used: usize,
}

impl PortLists {
    /// The list with these ports that is held already, or a new one.
    pub(super) fn shared(&mut self, ports: &[Port]) -> Arc<[Port]> {
        if let Some(known) = self.known.get(ports) {
            return known.clone();
        }
        if self.known.len() >= SWEEP_MIN.max(2 * self.used) {
            self.known.retain(|ports| Arc::strong_count(ports) > 1);
            self.used = self.known.len();
        }
        let ports: Arc<[Port]> = ports.into();
        self.known.insert(ports.clone());
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::Protocol;

    fn ports(name: &str) -> [Port; 1] {
        [Port {
            name: name.into(),
            protocol: Protocol::Tcp,
            number: None,
        }]
    }

    #[test]
    fn equal_lists_are_one_and_lists_that_nobody_has_do_not_pile_up() {
        let mut lists = PortLists::default();
        let kept: Vec<_> = (0..SWEEP_MIN)
            .map(|n| lists.shared(&ports(&n.to_string())))
            .collect();
        for n in 0..100 * SWEEP_MIN {
            lists.shared(&ports(&format!("short-lived {n}")));
            assert!(lists.known.len() <= 2 * kept.len());
        }
        for (n, held) in kept.iter().enumerate() {
            assert!(Arc::ptr_eq(held, &lists.shared(&ports(&n.to_string()))));
        }
    }
}
