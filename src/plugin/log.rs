//! `log`: a line for each query whose name and outcome the Corefile asks for.
//!
//! The first rule whose zone the name is in decides alone. A query that no rule wants costs a comparison of names
//! and is never formatted; lines go to a [`Sink`], and what becomes of them there is not known here.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chain::Answer;
use crate::dns::{Outcome, Query};

mod config;
mod format;

pub use config::{Classes, Config, Rule, parse};
pub use format::Format;

/// Takes lines of the query log: calls what it is given once, with the buffer that the text of a line is to be
/// appended to. Level, line end and whatever else makes a line of it are the sink's.
pub type Sink = dyn Fn(&mut dyn FnMut(&mut Vec<u8>)) + Send + Sync;

/// The plugin.
pub struct Log {
    config: Config,
    sink: Arc<Sink>,
}

impl Log {
    /// A plugin that writes to `sink`.
    pub fn new(config: Config, sink: Arc<Sink>) -> Log {
        Log { config, sink }
    }

    /// Writes a line about the query and its reply, if one is wanted.
    #[inline]
    pub(crate) fn up(&self, query: &Query, answer: &Answer) {
        let name = &query.question.name;
        let rule = self
            .config
            .rules
            .iter()
            .find(|rule| name.is_within(&rule.zone));
        let Some(rule) =
            rule.filter(|rule| rule.classes.wants(|| Outcome::of(query, &answer.reply)))
        else {
            return;
        };
        let elapsed = Instant::now().saturating_duration_since(query.received);
        self.write(rule, query, answer, elapsed);
    }

    fn write(&self, rule: &Rule, query: &Query, answer: &Answer, elapsed: Duration) {
        (self.sink)(&mut |line| rule.format.append(query, &answer.reply, elapsed, line));
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::dns::{Class, Question, Rcode, Reply, Type};
    use crate::plugin::case;

    fn lines(directives: &str, name: &str, rcode: Rcode) -> Vec<String> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let written = written.clone();
            move |format: &mut dyn FnMut(&mut Vec<u8>)| {
                let mut line = Vec::new();
                format(&mut line);
                written
                    .lock()
                    .unwrap()
                    .push(String::from_utf8(line).unwrap());
            }
        };
        let config = case::read("log", directives, parse).unwrap();
        let log = Log::new(config, Arc::new(sink));
        let mut query = Query::empty();
        query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
        let answer = Answer {
            reply: Reply::new(&mut query, rcode),
            by: None,
            failure: None,
        };
        log.up(&query, &answer);
        std::mem::take(&mut *written.lock().unwrap())
    }

    #[test]
    fn the_first_rule_whose_zone_matches_decides_alone() {
        let rules = "log b.a.test \"1 {name}\" {\n class denial\n }\nlog a.test \"2 {name}\"";
        for (name, expected) in [
            ("x.b.a.test", None),
            ("X.A.test", Some("2 x.a.test.")),
            ("a.test", Some("2 a.test.")),
            ("ba.test", None),
        ] {
            let expected: Vec<&str> = expected.into_iter().collect();
            assert_eq!(lines(rules, name, Rcode::NOERROR), expected, "{name}");
        }
    }

    #[test]
    fn classes_choose_by_outcome() {
        for (class, rcode, wanted) in [
            ("all", Rcode::NOERROR, true),
            ("success", Rcode::NOERROR, true),
            ("success", Rcode::SERVFAIL, false),
            ("error", Rcode::SERVFAIL, true),
            ("error", Rcode::REFUSED, true),
            ("denial error", Rcode::NOERROR, false),
            ("denial success", Rcode::NOERROR, true),
        ] {
            let rules = format!("log {{\n class {class}\n }}");
            let written = lines(&rules, "a.test", rcode);
            assert_eq!(written.len(), usize::from(wanted), "{class}, {rcode}");
        }
    }
}
