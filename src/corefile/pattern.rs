//! Import patterns: how a path in a Corefile is resolved, and which names a glob matches.
//!
//! Go's `path/filepath` rules: `*` any characters of one component, `?` one of them, `\` takes the next one
//! literally. Classes (`[a-z]`) are refused before matching.

use std::path::Path;

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// More than one `*`, more than one `?`, or a class: matching may take too long.
    TooManyWildcards,
    /// A class that is not closed, or a backslash at the end.
    Unfinished,
}

/// The path that `import` means, from the file that it stands in.
pub(super) fn resolve(importing: &Path, pattern: &str) -> String {
    let directory = importing.parent().unwrap_or_else(|| Path::new(""));
    if pattern.starts_with('/') || directory.as_os_str().is_empty() {
        return clean(pattern);
    }
    clean(&format!("{}/{pattern}", directory.to_string_lossy()))
}

/// Refuses patterns that CoreDNS refuses; the directory of the importing file counts too.
pub(super) fn check(pattern: &str) -> Result<(), Malformed> {
    let count = |wildcard| pattern.matches(wildcard).count();
    if count('*') > 1 || count('?') > 1 || (pattern.contains('[') && pattern.contains(']')) {
        return Err(Malformed::TooManyWildcards);
    }
    let trailing = pattern.len() - pattern.trim_end_matches('\\').len();
    if pattern.contains('[') || trailing % 2 == 1 {
        return Err(Malformed::Unfinished);
    }
    Ok(())
}

/// Whether this must be matched against names, and not only looked up.
pub(super) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '\\'])
}

/// Whether finding nothing is normal. CoreDNS counts `]` as well.
pub(super) fn may_be_empty(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', ']'])
}

/// Whether one path component matches.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    // Patterns hold at most one `*`: what stands before it must begin the name, what stands after it end it.
    let Some((head, tail)) = split_star(pattern) else {
        return literal(pattern, name) == Some("");
    };
    let Some(rest) = literal(head, name) else {
        return false;
    };
    let starts = rest.char_indices().map(|(at, _)| at);
    starts
        .chain(std::iter::once(rest.len()))
        .any(|at| literal(tail, &rest[at..]) == Some(""))
}

/// The pattern around its first unescaped `*`.
fn split_star(pattern: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, character) in pattern.char_indices() {
        match character {
            '*' if !escaped => return Some((&pattern[..at], &pattern[at + 1..])),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// What is left of the name after a pattern without `*`; none if it does not match.
fn literal<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let mut rest = name.chars();
    let mut pattern = pattern.chars();
    while let Some(character) = pattern.next() {
        match character {
            '?' => drop(rest.next()?),
            '\\' => {
                if rest.next() != pattern.next() {
                    return None;
                }
            }
            _ if rest.next()? == character => {}
            _ => return None,
        }
    }
    Some(rest.as_str())
}

/// Removes `.`, doubled slashes and `a/..`, by the text alone, as Go does: `a/..` is gone even if `a` is a link.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match() {
        let rows = [
            ("*.override", "log.override", true),
            ("*.override", ".override", true),
            ("*.override", "log.overrides", false),
            ("*", "..data", true),
            ("*", "", true),
            ("a*", "b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("?", "é", true),
            ("?", "", false),
            ("?*", "", false),
            ("a?*b", "axb", true),
            ("*?b", "ab", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"a\\*", r"a\x", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("]", "]", true),
        ];
        for (pattern, name, expected) in rows {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn paths_resolve_from_the_importing_file() {
        let rows = [
            ("Corefile", "inc", "inc"),
            ("Corefile", "./custom/*.x", "custom/*.x"),
            (
                "/etc/coredns/Corefile",
                "custom/*.x",
                "/etc/coredns/custom/*.x",
            ),
            ("/etc/coredns/Corefile", "../a", "/etc/a"),
            ("/etc/coredns/Corefile", "/opt//x", "/opt/x"),
            ("/Corefile", "../../a", "/a"),
            ("a/Corefile", "../../b", "../b"),
            ("a/Corefile", "..", "."),
        ];
        for (file, pattern, expected) in rows {
            assert_eq!(
                resolve(Path::new(file), pattern),
                expected,
                "{file} {pattern}"
            );
        }
    }

    #[test]
    fn patterns_are_checked() {
        let rows = [
            ("a*b?c", Ok(())),
            ("a*b*c", Err(Malformed::TooManyWildcards)),
            ("??", Err(Malformed::TooManyWildcards)),
            ("[a]", Err(Malformed::TooManyWildcards)),
            ("[a", Err(Malformed::Unfinished)),
            ("a]", Ok(())),
            (r"a\", Err(Malformed::Unfinished)),
            (r"a\\", Ok(())),
        ];
        for (pattern, expected) in rows {
            assert_eq!(check(pattern), expected, "{pattern}");
        }
    }
}
