//! What unit tests of several rooms share: numbers that are the same in every run, and what was logged.

use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// Numbers without a pattern (xorshift64) from a seed that is not 0, so that what failed can be done again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// A place in what has so many.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.place(of.len())]
    }
}

/// Remembers the events of a thread, as `LEVEL target: message`, if it listens: else it is asked whether it does, each
/// time, and does not.
#[derive(Clone)]
pub(crate) struct Lines(pub(crate) Arc<Mutex<Vec<String>>>, bool);

impl Lines {
    /// Nothing yet; to be made the default of a thread.
    pub(crate) fn new() -> Lines {
        // A place that logs first on another thread, with nobody listening, is silenced for all threads, and a listener
        // that comes at this very moment does not undo it. So there is always somebody who might listen.
        static MIGHT_LISTEN: Once = Once::new();
        MIGHT_LISTEN.call_once(|| {
            drop(tracing::subscriber::set_global_default(Lines(
                Arc::default(),
                false,
            )))
        });
        Lines(Arc::default(), true)
    }
}

impl Subscriber for Lines {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        self.1
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let metadata = event.metadata();
        let line = format!("{} {}: {}", metadata.level(), metadata.target(), message.0);
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}
