//! What becomes of one query, told step by step to a person who wants to know why it is answered as it is.
//!
//! A client's query has no trace: [`Query::note`](super::Query::note) is then one look at a pointer, and nothing is
//! formatted. A query that is traced is nobody's: what counts and logs clients' queries leaves it out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Notes that are kept of a query: ten chains of thirty plugins. What is beyond is counted.
const NOTES_MAX: usize = 512;
/// Octets of the words of a note; what is beyond is cut.
const WORDS_MAX: usize = 1024;

/// The notes of a query; clones write to the same list.
#[derive(Debug, Clone)]
pub struct Trace {
    began: Instant,
    /// Aliases that were followed to here.
    depth: u8,
    notes: Arc<Mutex<Notes>>,
}

/// What was noted.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// In the order in which it happened.
    pub notes: Vec<Note>,
    /// Notes that there was no room for.
    pub left_out: usize,
}

/// One thing that was decided, or looked at on the way to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How long after the query came.
    pub after: Duration,
    /// Aliases that were followed to here.
    pub depth: u8,
    /// Who says it: a plugin, or `server`.
    pub by: &'static str,
    /// What it comes to.
    pub verdict: Verdict,
    /// The reason, for people; may be empty.
    pub words: String,
}

/// What a note comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet: something that a decision rests on.
    Looks,
    /// Not mine: the next plugin is asked.
    Next,
    /// This is the reply.
    Answers,
    /// There is no reply, and this is why.
    Fails,
    /// There shall be no reply.
    Drops,
    /// The network must be asked.
    Waits,
    /// An alias: the question goes on with its target.
    Follows,
    /// Something was done about a reply on its way up.
    Shapes,
}

impl Verdict {
    /// As it is written for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Looks => "looks",
            Verdict::Next => "next",
            Verdict::Answers => "answers",
            Verdict::Fails => "fails",
            Verdict::Drops => "drops",
            Verdict::Waits => "waits",
            Verdict::Follows => "follows",
            Verdict::Shapes => "shapes",
        }
    }
}

impl Trace {
    /// Nothing noted, of a query that came at this time.
    pub fn new(began: Instant) -> Trace {
        Trace {
            began,
            depth: 0,
            notes: Arc::default(),
        }
    }

    /// The same list, for a query behind one more alias.
    pub fn deeper(&self) -> Trace {
        Trace {
            depth: self.depth.saturating_add(1),
            ..self.clone()
        }
    }

    /// Appends a note, if there is room.
    pub fn note(&self, by: &'static str, verdict: Verdict, mut words: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.notes.len() >= NOTES_MAX {
            notes.left_out += 1;
            return;
        }
        let mut end = words.len().min(WORDS_MAX);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        words.truncate(end);
        notes.notes.push(Note {
            after: self.began.elapsed(),
            depth: self.depth,
            by,
            verdict,
            words,
        });
    }

    /// What was noted until now.
    pub fn notes(&self) -> Notes {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_bounded_in_notes_and_in_words() {
        let trace = Trace::new(Instant::now());
        let deeper = trace.deeper();
        for _ in 0..NOTES_MAX + 3 {
            deeper.note("cache", Verdict::Looks, "é".repeat(WORDS_MAX));
        }
        let Notes { notes, left_out } = trace.notes();
        assert_eq!((notes.len(), left_out), (NOTES_MAX, 3));
        assert_eq!((notes[0].depth, notes[0].words.len()), (1, WORDS_MAX));
    }
}
