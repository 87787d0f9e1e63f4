//! For tests of plugins: a directive as text and what came of it.

use std::path::Path;

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
