//! What the answers about a Service are made of: for whoever must explain one.
//!
//! Asked of the task that owns the index, which answers between two batches of events.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::freshness::Heard;
use super::object::Resource;
use super::records::ServiceKey;

/// Questions that may wait for the owner of an index; whoever asks more waits for room.
pub(super) const QUESTIONS_QUEUED_MAX: usize = 16;

/// An index that does not answer within this time is being made anew.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// What a Service is answered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The Service, if it exists.
    pub service: Option<Traced>,
    /// Its EndpointSlices, in no order.
    pub slices: Vec<Traced>,
    /// How fresh each resource is that the cluster is followed in; of one that is served from a snapshot, how far the process
    /// had come that left it.
    pub resources: Vec<(Resource, Heard)>,
}

/// An object that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    /// Its `resourceVersion`, if that is a number. (The name of an EndpointSlice is not kept: it names nothing in DNS, and
    /// the names of 10,000 slices would cost half a megabyte.)
    pub version: Option<u64>,
    /// When it was told last.
    pub told: SystemTime,
}

/// Why there is no answer: the cluster is no longer followed, or its index is being made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster is not followed at the moment")]
pub struct NotFollowed;

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) key: ServiceKey,
    pub(super) answer: oneshot::Sender<Inspection>,
}

/// Asks the owner behind `questions`.
pub(super) async fn ask(
    questions: &mpsc::Sender<Question>,
    key: ServiceKey,
) -> Result<Inspection, NotFollowed> {
    let (answer, answered) = oneshot::channel();
    let question = Question { key, answer };
    let asking = async {
        questions.send(question).await.map_err(|_| NotFollowed)?;
        answered.await.map_err(|_| NotFollowed)
    };
    timeout(ANSWERED_WITHIN, asking)
        .await
        .unwrap_or(Err(NotFollowed))
}
