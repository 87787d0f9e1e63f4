//! `{$NAME}` and `{%NAME%}`: environment variables inside a word.
//!
//! A value stays inside its word whatever blanks it holds. Values are searched for variables again, as CoreDNS
//! does; a value that leads back to itself is a fault here where CoreDNS would hang.

use super::{FILE_BYTES_MAX, Outside};

/// Different variables of one word, those inside values included. A word with more is a value that refers to
/// itself, or a test.
const SUBSTITUTIONS_MAX: usize = 256;

/// The values lead back to themselves, or to more than a file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// The word with all variables replaced; an unset one is empty.
pub(super) fn substitute(outside: &dyn Outside, text: String) -> Result<String, Endless> {
    let text = replace(outside, text, "{%", "%}")?;
    replace(outside, text, "{$", "}")
}

/// The first variable in the text of a word that is not set.
pub(super) fn unset<'t>(outside: &dyn Outside, text: &'t str) -> Option<&'t str> {
    let names = |open: &'static str, close: &'static str| {
        let behind = text.split(open).skip(1);
        behind.filter_map(move |rest| rest.split_once(close).map(|(name, _)| name))
    };
    names("{%", "%}")
        .chain(names("{$", "}"))
        .find(|name| !name.is_empty() && outside.variable(name).is_none())
}

fn replace(
    outside: &dyn Outside,
    mut text: String,
    open: &str,
    close: &str,
) -> Result<String, Endless> {
    for _ in 0..SUBSTITUTIONS_MAX {
        let Some(start) = text.find(open) else {
            return Ok(text);
        };
        // `{$}` and `{%}` have no name and end the search, also for what follows them.
        let Some(length) = text[start..].find(close).filter(|&at| at > open.len()) else {
            return Ok(text);
        };
        let reference = text[start..start + length + close.len()].to_owned();
        let name = &reference[open.len()..length];
        let value = outside.variable(name).unwrap_or_default();
        let count = text.matches(&reference).count();
        if count.saturating_mul(value.len()).saturating_add(text.len()) > 2 * FILE_BYTES_MAX {
            return Err(Endless);
        }
        text = text.replace(&reference, &value);
    }
    match text.contains(open) {
        true => Err(Endless),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[test]
    fn variables_are_replaced() {
        let outside = Memory::new()
            .set("PORT", "53")
            .set("HOST", "a.test")
            .set("TWO", "1.1.1.1 2.2.2.2")
            .set("LOOP", "x{$LOOP}")
            .set("GROW", "{$GROW}{$GROW}")
            .set("INNER", "{$PORT}");
        let rows = [
            ("plain", "plain", Ok("plain")),
            ("unix", ".:{$PORT}", Ok(".:53")),
            ("windows", ".:{%PORT%}", Ok(".:53")),
            ("both", "{%HOST%}:{$PORT}", Ok("a.test:53")),
            ("twice", "{$PORT}{$PORT}", Ok("5353")),
            ("unset", "a{$NOPE}b", Ok("ab")),
            ("blanks stay", "{$TWO}", Ok("1.1.1.1 2.2.2.2")),
            ("no end", "{$PORT", Ok("{$PORT")),
            ("wrong end", "{%PORT}", Ok("{%PORT}")),
            ("no name", "{$}{$PORT}", Ok("{$}{$PORT}")),
            ("no name, percent", "{%}{$PORT}", Ok("{%}53")),
            ("dollar in name", ":{$PORT$}", Ok(":")),
            ("template", "{{ .Name }} {$PORT}", Ok("{{ .Name }} 53")),
            ("template variable", "{{$x := 1}}", Ok("{}")),
            ("value of a value", "{$INNER}", Ok("53")),
            ("itself", "{$LOOP}", Err(Endless)),
            ("itself twice", "{$GROW}", Err(Endless)),
        ];
        for (name, text, expected) in rows {
            let actual = substitute(&outside, text.to_owned());
            assert_eq!(actual.as_deref().map_err(|e| *e), expected, "{name}");
        }
    }
}
