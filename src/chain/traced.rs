//! What a chain tells of a query that is traced.

use std::sync::Arc;

use super::{Chain, Step, Walk};
use crate::dns::{Query, Reply, Section, Verdict};
use crate::plugin::Plugin;

/// Who speaks where no plugin does.
pub(super) const SERVER: &str = "server";

impl Plugin {
    /// Notes what the plugin has said to a query.
    #[cold]
    pub(super) fn note(&self, query: &Query, step: &Step) {
        let (verdict, words) = match step {
            Step::Next if self.only_tells() => {
                let words = "is not told of a query that no client has sent".to_owned();
                (Verdict::Next, words)
            }
            Step::Next => (Verdict::Next, String::new()),
            Step::NextWithin(limit) => {
                let words = format!("those below have {} ms", limit.as_millis());
                (Verdict::Next, words)
            }
            Step::Reply(reply) => (Verdict::Answers, summary(reply)),
            Step::ReplyAndRefresh(reply, _) => {
                let words = format!("{}; those below are asked again", summary(reply));
                (Verdict::Answers, words)
            }
            Step::Fail(failure) => (Verdict::Fails, failure.to_string()),
            Step::Drop => (Verdict::Drops, String::new()),
            Step::Follow { target, .. } => {
                let words = format!("the alias leads to {target}");
                (Verdict::Follows, words)
            }
            Step::Ask => (Verdict::Waits, String::new()),
        };
        query.note(self.id().name(), verdict, || words);
    }
}

impl Walk<'_> {
    /// Notes where the target of an alias is asked for, and has what comes of it noted below that.
    #[cold]
    pub(super) fn note_followed(&self, asked: &mut Query, chain: Option<&Arc<Chain>>) {
        asked.trace = asked.trace.take().map(|trace| Box::new(trace.deeper()));
        let zone = chain.and_then(|chain| self.router.zone_of(chain));
        let (verdict, words) = match zone {
            Some(zone) => (Verdict::Looks, format!("zone {zone}")),
            None => (
                Verdict::Answers,
                "REFUSED: in no zone of this server, or behind too many aliases".to_owned(),
            ),
        };
        asked.note(SERVER, verdict, || words);
    }
}

/// A reply in a few words.
fn summary(reply: &Reply) -> String {
    match reply.records.count(Section::Answer) {
        0 => reply.rcode.to_string(),
        1 => format!("{}, 1 record", reply.rcode),
        count => format!("{}, {count} records", reply.rcode),
    }
}
