//! What stanzas say that their author cannot have meant: it is served as it stands, and told with the Corefile.

use crate::corefile::reader::Reader;
use crate::corefile::{Directive, Faults};
use crate::dns::Name;

use super::{Next, Stanza};

/// Tells of stanzas that no query reaches, and of those that lead on to none.
pub(super) fn of_order(occurrences: &[&Directive], stanzas: &[Stanza], faults: &Faults) {
    for (at, (stanza, directive)) in stanzas.iter().zip(occurrences).enumerate() {
        let reader = Reader::new(directive, faults);
        let (before, behind) = (&stanzas[..at], &stanzas[at + 1..]);
        if let Some(first) = before.iter().find(|first| first.leaves_nothing_of(stanza)) {
            let message = format!(
                "is never asked: all its names go to the forward of {} above",
                first.from
            );
            reader.warn(reader.args().first().unwrap_or(reader.name()), message);
        }
        let leads_on = stanza.next != Next::default();
        if leads_on
            && !behind
                .iter()
                .any(|other| overlap(&other.from, &stanza.from))
        {
            let next = reader
                .lines()
                .find(|line| line.name().text.starts_with("next"));
            let word = next.as_ref().map_or(reader.name(), Reader::name);
            let message = "leads nowhere: no forward behind this one is for the same names";
            reader.warn(word, format!("{} {message}", word.text));
        }
    }
}

impl Stanza {
    /// Whether no name of the other's zone comes past this one.
    fn leaves_nothing_of(&self, other: &Stanza) -> bool {
        let mut except = self.except.iter();
        other.from.is_within(&self.from)
            && self.next == Next::default()
            && !except.any(|zone| overlap(zone, &other.from))
    }
}

/// Whether some names are in both zones.
fn overlap(one: &Name, other: &Name) -> bool {
    one.is_within(other) || other.is_within(one)
}
