//! A query that waits at a plugin, and how it goes on.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Below, Chain, Progress, Walk, joined};
use crate::dns::{Query, Reply};
use crate::server::router::Router;

/// A query that waits at a plugin; [`Waiting::finish`] takes it to its end.
#[derive(Debug)]
pub struct Waiting {
    chain: Arc<Chain>,
    router: Arc<Router>,
    at: usize,
    followed: u8,
    top: usize,
    reason: Wait,
}

/// What a query waits for.
#[derive(Debug)]
pub(super) enum Wait {
    /// For the plugin to ask.
    Ask,
    /// For the target of an alias.
    Target {
        reply: Reply,
        query: Box<Query>,
        waiting: Box<Waiting>,
    },
    /// For those below, but not for long.
    Within { limit: Duration, below: Below },
}

impl Waiting {
    pub(super) fn new(walk: &Walk<'_>, at: usize, reason: Wait) -> Waiting {
        Waiting {
            chain: walk.chain.clone(),
            router: walk.router.clone(),
            at,
            followed: walk.followed,
            top: walk.top,
            reason,
        }
    }

    /// Takes the query, which must be the one that was run, to its end. `None` is silence.
    pub async fn finish(self, query: &mut Query) -> Option<Answer> {
        let mut waiting = self;
        loop {
            match waiting.go_on(query).await {
                Progress::Answered(answer) => return Some(answer),
                Progress::Dropped => return None,
                Progress::Waiting(next) => waiting = next,
            }
        }
    }

    /// What can be said to the query at once after all, if there is no room to wait: a plugin that has a reply for
    /// when those below take too long has it now too.
    pub fn instead(self, query: &mut Query) -> Option<Answer> {
        let Wait::Within { .. } = self.reason else {
            return None;
        };
        let walk = Walk {
            chain: &self.chain,
            router: &self.router,
            followed: self.followed,
            top: self.top,
        };
        let step = self.chain.plugins[self.at].overdue(query)?;
        match walk.settle(query, self.at, step) {
            Progress::Answered(answer) => Some(answer),
            Progress::Dropped | Progress::Waiting(_) => None,
        }
    }

    async fn go_on(self, query: &mut Query) -> Progress {
        let Waiting {
            chain,
            router,
            at,
            followed,
            top,
            reason,
        } = self;
        let walk = Walk {
            chain: &chain,
            router: &router,
            followed,
            top,
        };
        match reason {
            Wait::Ask => {
                let step = chain.plugins[at].ask(query).await;
                if query.trace.is_some() {
                    chain.plugins[at].note(query, &step);
                }
                walk.settle(query, at, step)
            }
            Wait::Target {
                reply,
                query: mut asked,
                waiting,
            } => {
                let found = Box::pin(waiting.finish(&mut asked)).await;
                walk.settle(
                    query,
                    at,
                    joined(reply, found.as_ref(), &asked, chain.plugins[at].id()),
                )
            }
            Wait::Within { limit, below } => walk.finish_within(query, at, limit, below).await,
        }
    }
}

impl Walk<'_> {
    async fn finish_within(
        &self,
        query: &mut Query,
        at: usize,
        limit: Duration,
        mut below: Below,
    ) -> Progress {
        let plugin = &self.chain.plugins[at];
        let answer = match tokio::time::timeout(limit, below.answer()).await {
            Ok(answer) => answer,
            Err(_) => match plugin.overdue(query) {
                Some(step) => {
                    if query.trace.is_some() {
                        plugin.note(query, &step);
                    }
                    plugin.refresh(query, below);
                    return self.settle(query, at, step);
                }
                None => below.answer().await,
            },
        };
        match answer {
            (asked, Some(answer)) => {
                *query = *asked;
                self.up(query, at + 1, answer)
            }
            (_, None) => Progress::Dropped,
        }
    }
}
