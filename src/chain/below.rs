//! The plugins below one of a chain, asked for its own sake: no client waits for what they say.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;

use super::{Answer, Progress, Waiting, Walk};
use crate::dns::{Query, Transport};

/// The payload size of EDNS for replies that no client gets: with its headers it fits the least MTU of IPv6, and so is
/// not fragmented.
const PAYLOAD: u16 = 1232;

/// A query on its way through the plugins below one of a chain. It owns what it needs, so that it can be run as a task;
/// dropped, it ends.
pub struct Below {
    asking: Pin<Box<dyn Future<Output = Found> + Send>>,
}

/// What a plugin does with those below it when they are asked again behind its reply.
pub struct Refresher(Box<dyn FnOnce(Below) + Send>);

/// The query as those below left it, and what they say; `None` is silence.
pub(crate) type Found = (Box<Query>, Option<Answer>);

impl Below {
    /// Asks those below the plugin at `at` what `query` asked, for nobody: no client is told of, whose options are its
    /// own affair too, and nothing is cut. AD is asked for, so that the answer serves all; RD, CD and DO stay, because
    /// the answer depends on them.
    pub(super) fn again(walk: &Walk<'_>, query: &Query, at: usize) -> Below {
        let mut asked = Box::new(query.clone());
        asked.client = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        asked.transport = Transport::Tcp;
        asked.is_background = true;
        // Whoever had the query explained does not wait for this.
        asked.trace = None;
        asked.asks_authentic = true;
        asked.received = tokio::time::Instant::now().into_std();
        if let Some(edns) = &mut asked.edns {
            edns.options.clear();
            edns.payload = PAYLOAD;
        }
        let (chain, router, followed) = (walk.chain.clone(), walk.router.clone(), walk.followed);
        let asking = async move {
            let walk = Walk {
                chain: &chain,
                router: &router,
                followed,
                top: at + 1,
            };
            let answer = match walk.down(&mut asked, at + 1) {
                Progress::Answered(answer) => Some(answer),
                Progress::Dropped => None,
                Progress::Waiting(waiting) => waiting.finish(&mut asked).await,
            };
            (asked, answer)
        };
        Below {
            asking: Box::pin(asking),
        }
    }

    /// Goes on with a query that waits below.
    pub(super) fn waiting(waiting: Waiting, query: &Query) -> Below {
        let mut asked = Box::new(query.clone());
        let asking = async move {
            let answer = waiting.finish(&mut asked).await;
            (asked, answer)
        };
        Below {
            asking: Box::pin(asking),
        }
    }

    /// What those below say. May be left and waited for again until it is there.
    pub(crate) async fn answer(&mut self) -> Found {
        self.asking.as_mut().await
    }
}

impl Refresher {
    /// `run` is called once, on the thread that read the query, and must not wait.
    pub(crate) fn new(run: impl FnOnce(Below) + Send + 'static) -> Refresher {
        Refresher(Box::new(run))
    }

    pub(super) fn run(self, below: Below) {
        self.0(below);
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresher")
    }
}

impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Below")
    }
}
