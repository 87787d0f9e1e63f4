//! What may be answered. Everything that is true of the cluster is told here before the API server hears of it, so an
//! answer is right if it is a state that was told, and not one from before the state that was answered last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// What is known of each name that is asked for.
#[derive(Default)]
pub(super) struct Oracle {
    names: Mutex<BTreeMap<String, Truth>>,
}

enum Truth {
    /// One object says it all: the code and the data of the answer.
    Whole(Timeline<String>),
    /// Several objects say it together, and each address comes and goes by itself.
    Addresses(BTreeMap<Ipv4Addr, Timeline<bool>>),
}

/// The states of one fact, in their order.
struct Timeline<T> {
    states: Vec<T>,
    /// The state that was answered last.
    answered: usize,
}

impl Oracle {
    /// From now on this may be answered for the name.
    pub(super) fn becomes(&self, name: &str, answer: String) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get_mut(name) {
            Some(Truth::Whole(timeline)) => timeline.states.push(answer),
            Some(Truth::Addresses(_)) => panic!("{name} has addresses"),
            None => drop(names.insert(name.to_owned(), Truth::Whole(Timeline::new(answer)))),
        }
    }

    /// From now on this address may be among those of the name, or may be missing.
    pub(super) fn has(&self, name: &str, ip: Ipv4Addr, present: bool) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let truth = names
            .entry(name.to_owned())
            .or_insert_with(|| Truth::Addresses(BTreeMap::new()));
        let Truth::Addresses(addresses) = truth else {
            panic!("{name} is answered whole");
        };
        let timeline = addresses.entry(ip).or_insert_with(|| Timeline::new(false));
        timeline.states.push(present);
    }

    /// The names to ask for.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.keys().cloned().collect()
    }

    /// Takes an answer, `None` if there was none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(&self, name: &str, answer: Option<&str>) -> Result<(), String> {
        let answer = answer.ok_or_else(|| format!("{name}: no answer"))?;
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.get_mut(name).expect("only these are asked for") {
            Truth::Whole(timeline) => timeline
                .answered(&answer.to_owned())
                .map_err(|states| format!("{name}: {answer}, not one of {states:?}")),
            Truth::Addresses(addresses) => {
                let told = told(answer).ok_or_else(|| format!("{name}: {answer}"))?;
                if let Some(never) = told.iter().find(|ip| !addresses.contains_key(ip)) {
                    return Err(format!("{name}: {never} was never an endpoint"));
                }
                for (ip, timeline) in addresses {
                    timeline
                        .answered(&told.contains(ip))
                        .map_err(|states| format!("{name}: {answer}; {ip} was {states:?}"))?;
                }
                Ok(())
            }
        }
    }

    /// A name whose last answer was not its last state.
    pub(super) fn stale(&self) -> Option<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let stale = |truth: &Truth| match truth {
            Truth::Whole(timeline) => timeline.is_behind(),
            Truth::Addresses(addresses) => addresses.values().any(Timeline::is_behind),
        };
        let mut names = names.iter();
        names.find_map(|(name, truth)| stale(truth).then(|| name.clone()))
    }
}

impl<T: PartialEq + Clone> Timeline<T> {
    fn new(state: T) -> Timeline<T> {
        Timeline {
            states: vec![state],
            answered: 0,
        }
    }

    /// Goes on to the first state that was answered so, from the one that was answered last.
    fn answered(&mut self, state: &T) -> Result<(), Vec<T>> {
        let left = &self.states[self.answered..];
        match left.iter().position(|known| known == state) {
            Some(further) => {
                self.answered += further;
                Ok(())
            }
            None => Err(left.to_vec()),
        }
    }

    /// Whether the last state is other than the one that was answered.
    fn is_behind(&self) -> bool {
        self.states.last() != self.states.get(self.answered)
    }
}

/// The addresses of an answer; `None` if it is neither that nor NXDOMAIN.
fn told(answer: &str) -> Option<BTreeSet<Ipv4Addr>> {
    match answer.split_once(' ') {
        None if answer == "NXDOMAIN" => Some(BTreeSet::new()),
        Some(("NOERROR", data)) => data.split(' ').map(|ip| ip.parse().ok()).collect(),
        _ => None,
    }
}

#[test]
fn the_oracle_takes_what_was_true_and_nothing_that_went_before() {
    let oracle = Oracle::default();
    for answer in ["NOERROR 10.0.0.1", "NXDOMAIN", "NOERROR 10.0.0.2"] {
        oracle.becomes("a.", answer.to_owned());
    }
    assert!(oracle.judge("a.", Some("NOERROR 10.0.0.3")).is_err());
    assert!(oracle.judge("a.", Some("NXDOMAIN")).is_ok());
    assert!(oracle.judge("a.", Some("NOERROR 10.0.0.1")).is_err());
    assert!(oracle.judge("a.", Some("SERVFAIL")).is_err());
    assert!(oracle.judge("a.", None).is_err());
    assert_eq!(oracle.stale().as_deref(), Some("a."));
    assert!(oracle.judge("a.", Some("NOERROR 10.0.0.2")).is_ok());
    assert_eq!(oracle.stale(), None);

    let [one, two] = [1, 2].map(|last| Ipv4Addr::new(10, 0, 0, last));
    oracle.has("b.", one, true);
    oracle.has("b.", two, true);
    assert!(oracle.judge("b.", Some("NXDOMAIN")).is_ok());
    assert!(oracle.judge("b.", Some("NOERROR 10.0.0.2")).is_ok());
    assert!(
        oracle
            .judge("b.", Some("NOERROR 10.0.0.1 10.0.0.2"))
            .is_ok()
    );
    assert!(oracle.judge("b.", Some("NOERROR 10.0.0.1")).is_err());
    oracle.has("b.", two, false);
    assert!(oracle.judge("b.", Some("NOERROR 10.0.0.1")).is_ok());
    assert!(
        oracle
            .judge("b.", Some("NOERROR 10.0.0.1 10.0.0.9"))
            .is_err()
    );
    assert!(oracle.judge("b.", Some("NOERROR")).is_err());
}
