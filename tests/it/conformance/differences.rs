//! Where Cairn means to differ from CoreDNS, because CoreDNS harms its users there. Everything else agrees.
//!
//! A row of this list that no longer differs fails the tests, as does a difference that is not in it.

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::EdnsOption;

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

/// The difference that is a rule and no row: where there is no answer, a client with EDNS is told why (RFC 8914). Rows hold
/// no options, because no query of theirs has any. Returns what of a reply's options is against the rule.
pub(super) fn misplaced_options(reply: &Message) -> Vec<String> {
    let words = |data: &[u8]| String::from_utf8(data[2..].to_vec()).expect("words are UTF-8");
    options(reply)
        .filter(|(code, data)| {
            *code != EXTENDED_ERROR || !reply.answers.is_empty() || words(data).len() > WORDS_MAX
        })
        .map(|(code, data)| format!("option {code} in this reply: {data:02x?}"))
        .collect()
}

/// Whether a reply says why it is no better.
pub(super) fn is_explained(reply: &Message) -> bool {
    options(reply).any(|(code, _)| code == EXTENDED_ERROR)
}

const EXTENDED_ERROR: u16 = 15;
/// A line of `dig`, so that a denial stays a small packet.
const WORDS_MAX: usize = 60;

fn options(reply: &Message) -> impl Iterator<Item = (u16, Vec<u8>)> {
    let edns = reply.edns.iter();
    let options = edns.flat_map(|edns| edns.options().as_ref().iter());
    options.map(|(code, option)| match option {
        EdnsOption::Unknown(code, data) => (*code, data.clone()),
        _ => (u16::from(*code), Vec::new()),
    })
}

/// Collects what differs in one set and holds it against the list.
pub(super) struct Findings {
    set: &'static str,
    asked: usize,
    explained: usize,
    differing: Vec<(String, String)>,
}

impl Findings {
    pub(super) fn of(set: &'static str) -> Findings {
        Findings {
            set,
            asked: 0,
            explained: 0,
            differing: Vec::new(),
        }
    }

    /// The reply to a row says why there is no answer.
    pub(super) fn explained(&mut self) {
        self.explained += 1;
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
        let is_of_cluster = self.set == "default";
        assert!(!is_of_cluster || self.explained > 0, "the rule is dead");
    }
}
