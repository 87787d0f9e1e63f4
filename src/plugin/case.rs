//! For tests of plugins: a directive as text and what came of it, and what was logged.

use std::path::Path;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

use crate::config::Scope;
use crate::corefile::{self, Diagnostic, Directive, Faults, Memory};
use crate::dns::Name;

/// Reads the directives of `name` from the text of a server block of `example.org`: the configuration, or the
/// messages of all faults. A warning does not refuse.
pub(crate) fn read<C>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&[&Directive], &Scope<'_>, &Faults) -> Option<C>,
) -> Result<C, String> {
    read_doubted(name, text, parse).map(|(config, _)| config)
}

/// Reads likewise; the configuration comes with the messages of all warnings.
pub(crate) fn read_doubted<C>(
    name: &str,
    text: &str,
    parse: impl FnOnce(&[&Directive], &Scope<'_>, &Faults) -> Option<C>,
) -> Result<(C, Vec<String>), String> {
    let outside = Memory::new();
    let corefile = format!("example.org {{\n{text}\n}}\n");
    let parsed = corefile::parse(&outside, Path::new("Corefile"), corefile.as_bytes());
    let zones: [Name; 1] = ["example.org.".parse().unwrap()];
    let scope = Scope {
        zones: &zones,
        outside: &outside,
        snapshots: &super::kubernetes::Snapshots::default(),
    };
    let faults = Faults::new();
    let directives = &parsed.corefile.blocks[0];
    let occurrences: Vec<&Directive> = directives.occurrences(name).collect();
    let config = parse(&occurrences, &scope, &faults);
    let mut told: Vec<Diagnostic> = parsed.diagnostics;
    told.extend(faults.into_sorted());
    let (errors, warnings): (Vec<_>, Vec<_>) = told.into_iter().partition(Diagnostic::is_error);
    let said = |told: Vec<Diagnostic>| told.into_iter().map(|fault| fault.message).collect();
    let errors: Vec<String> = said(errors);
    match config {
        Some(config) if errors.is_empty() => Ok((config, said(warnings))),
        _ => Err(errors.join("; ")),
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
            fn record_debug(&mut self, _field: &Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
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
