//! What a Corefile needs and is not built, as diagnostics say it.

use cairn_dns::corefile::Diagnostic;

/// What a diagnostic says that refuses a word of CoreDNS's because it is not built.
const ABSENT: &str = " is known but not supported yet";

/// The directive, property or scheme that is not built, if that is the fault.
pub(super) fn absent(fault: &Diagnostic) -> Option<&str> {
    let (named, _) = fault.message.split_once(ABSENT)?;
    let word = named.rsplit(' ').next()?;
    Some(word.trim_matches('\''))
}
