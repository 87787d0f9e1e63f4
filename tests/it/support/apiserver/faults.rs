//! Faults that the test orders for requests to come: which requests, how many, what happens to them.
//!
//! Only the bookkeeping; the faults are made real by `server`, `stream` and `wire`.

use std::{collections::VecDeque, time::Duration};

use super::{
    ledger::{Request, Verb},
    resource::Resource,
};

/// How an answer ends before it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The body ends as HTTP says it ends: what a watch does at its timeout.
    End,
    /// The connection is closed between two frames; HTTP is left unfinished.
    Fin,
    /// The connection is reset (SO_LINGER 0).
    Reset,
    /// Half an event, or half a list, then the connection is closed.
    MidFrame,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub(super) enum Action {
    Answer { code: u16, retry_after: Option<u32> },
    Cut { cut: Cut, after: usize },
    Hold,
    Garbage { after: usize },
    Trickle { bytes: usize, every: Duration },
}

/// A fault to inject: for the next request of any kind, unless narrowed or repeated.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    action: Action,
    resource: Option<&'static Resource>,
    verb: Option<Verb>,
    initial_events: bool,
    /// None: until the faults are cleared.
    times: Option<usize>,
}

impl Fault {
    /// Answers with this HTTP code, and a Status as a real server words it (429: plain text, as it does, too).
    pub(crate) fn answer(code: u16) -> Self {
        Self::new(Action::Answer {
            code,
            retry_after: None,
        })
    }

    /// Answers 429 with `Retry-After` in seconds.
    pub(crate) fn too_many_requests(retry_after: u32) -> Self {
        Self::new(Action::Answer {
            code: 429,
            retry_after: Some(retry_after),
        })
    }

    /// Cuts the answer short: before its first byte (`Fin`, `Reset`) or in its first frame (`MidFrame`).
    pub(crate) fn cut(cut: Cut) -> Self {
        Self::new(Action::Cut { cut, after: 0 })
    }

    /// Takes the request and does not answer until `ApiServer::release`.
    pub(crate) fn hold() -> Self {
        Self::new(Action::Hold)
    }

    /// A list is answered 200 with no JSON in it; a watch gets a line that is no JSON, and goes on.
    pub(crate) fn garbage() -> Self {
        Self::new(Action::Garbage { after: 0 })
    }

    /// Sends the body in pieces of `bytes`, `every` so often.
    pub(crate) fn trickle(bytes: usize, every: Duration) -> Self {
        Self::new(Action::Trickle { bytes, every })
    }

    /// Lets so many events of a watch pass whole before the cut or the garbage. A list is one frame.
    pub(crate) fn after_events(mut self, events: usize) -> Self {
        match &mut self.action {
            Action::Cut { after, .. } | Action::Garbage { after } => *after = events,
            Action::Answer { .. } | Action::Hold | Action::Trickle { .. } => {
                panic!("only a cut and garbage wait for events")
            }
        }
        self
    }

    /// Only requests for this resource.
    pub(crate) fn of(mut self, resource: &str) -> Self {
        self.resource = Some(Resource::named(resource));
        self
    }

    /// Only lists.
    pub(crate) fn lists(mut self) -> Self {
        self.verb = Some(Verb::List);
        self
    }

    /// Only watches.
    pub(crate) fn watches(mut self) -> Self {
        self.verb = Some(Verb::Watch);
        self
    }

    /// Only watches that ask for the initial events: lists that are streamed.
    pub(crate) fn streamed_lists(mut self) -> Self {
        self.initial_events = true;
        self.watches()
    }

    /// The next so many requests.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Every request, until `ApiServer::clear_faults`.
    pub(crate) fn always(mut self) -> Self {
        self.times = None;
        self
    }

    fn new(action: Action) -> Self {
        Self {
            action,
            resource: None,
            verb: None,
            initial_events: false,
            times: Some(1),
        }
    }

    fn hits(&self, request: &Request) -> bool {
        self.resource
            .is_none_or(|resource| request.resource() == Some(resource.plural))
            && self.verb.is_none_or(|verb| request.verb == verb)
            && (!self.initial_events || request.parameter("sendInitialEvents").is_some())
    }
}

/// The faults that are still to happen, in the order in which they were ordered.
#[derive(Debug, Default)]
pub(super) struct Faults {
    waiting: VecDeque<Fault>,
    /// How often the test released what was held; a request is held until this grows.
    pub(super) releases: u64,
}

impl Faults {
    pub(super) fn inject(&mut self, fault: Fault) {
        self.waiting.push_back(fault);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// What happens to `request`: the first fault that it matches, used up once.
    pub(super) fn take(&mut self, request: &Request) -> Option<Action> {
        let place = self.waiting.iter().position(|fault| fault.hits(request))?;
        let fault = &mut self.waiting[place];
        let action = fault.action.clone();
        if let Some(times) = &mut fault.times {
            *times -= 1;
            if *times == 0 {
                self.waiting.remove(place);
            }
        }
        Some(action)
    }
}
