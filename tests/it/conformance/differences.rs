//! Where Cairn means to differ from CoreDNS, because CoreDNS harms its users there. Everything else agrees.
//!
//! A row of this list that no longer differs fails the tests, as does a difference that is not in it.

/// A row that is answered otherwise.
pub(super) struct Difference {
    /// The set that the row is in: its file without the ending.
    pub(super) set: &'static str,
    /// The row, as the tests print it.
    pub(super) row: &'static str,
    /// Whom it helps.
    pub(super) reason: &'static str,
}

/// Whom an answer in the case of the question helps.
const OWN_CASE: &str = "a client that mixes the case of its questions gets its own case back, and not that of whoever asked before it";

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        set: "seed-domain",
        row: "DNS-Version.cali-cluster.tclocal. TXT",
        reason: OWN_CASE,
    },
    Difference {
        set: "seed-domain",
        row: "KuberNetes.Default.svc.Cali-Cluster.Tclocal. A",
        reason: OWN_CASE,
    },
    Difference {
        set: "seed-domain",
        row: "KuberNetes.Default.svc.Cali-Cluster.Tclocal. AAAA",
        reason: OWN_CASE,
    },
    Difference {
        set: "seed-domain",
        row: "WWW.Example.COM. A",
        reason: OWN_CASE,
    },
];

/// Collects what differs in one set and holds it against the list.
pub(super) struct Findings {
    set: &'static str,
    asked: usize,
    differing: Vec<(String, String)>,
}

impl Findings {
    pub(super) fn of(set: &'static str) -> Findings {
        let (asked, differing) = (0, Vec::new());
        Findings {
            set,
            asked,
            differing,
        }
    }

    /// A row was asked; `differences` is empty if it agrees.
    pub(super) fn add(&mut self, row: String, differences: &[String]) {
        self.asked += 1;
        if !differences.is_empty() {
            self.differing.push((row, differences.join("\n")));
        }
    }

    /// Panics with every row that differs and is not listed, and every one that is listed and does not differ.
    pub(super) fn judge(self, asked: usize) {
        let listed = || DIFFERENCES.iter().filter(|entry| entry.set == self.set);
        let unknown = self
            .differing
            .iter()
            .filter(|(row, _)| listed().all(|entry| entry.row != row));
        let mut faults: Vec<String> = unknown
            .map(|(row, differences)| format!("{row}\n{differences}"))
            .collect();
        let settled =
            listed().filter(|entry| self.differing.iter().all(|(row, _)| entry.row != row));
        faults.extend(settled.map(|Difference { row, reason, .. }| {
            format!("{row}: agrees, but is listed as a difference: {reason}")
        }));
        let count = faults.len();
        assert!(
            faults.is_empty(),
            "{}: {count} of {} rows\n\n{}\n",
            self.set,
            self.asked,
            faults.join("\n\n")
        );
        assert_eq!(self.asked, asked, "{}: rows", self.set);
    }
}
