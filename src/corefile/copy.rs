//! A tree as one text that says the same and needs nothing around it: no imports, no snippets, no environment.

use std::path::Path;

use super::{Corefile, Line, Memory, Word, parse};

/// Of a word in the tree, what closes the block that it stands in, from behind other words of its line.
const CLOSING: &str = "}";

impl Corefile {
    /// The text of a Corefile that is read as this tree, wherever it is read. `None` if no text says the same: a word
    /// that came out of the environment may be one that cannot be written.
    pub fn copy(&self) -> Option<String> {
        let mut text = String::new();
        for block in &self.blocks {
            let keys: Vec<String> = block.keys.iter().map(written).collect();
            text.push_str(&keys.join(" "));
            text.push(' ');
            write_block(&block.directives, 0, &mut text);
        }
        let copied = parse(&Memory::new(), Path::new("copy"), text.as_bytes());
        let is_same = !copied.is_refused() && copied.corefile.canonical() == self.canonical();
        is_same.then_some(text)
    }
}

/// Writes lines between braces, the first of which ends the line that it is appended to.
fn write_block(lines: &[Line], depth: usize, text: &mut String) {
    text.push_str("{\n");
    for line in lines {
        text.push_str(&"    ".repeat(depth + 1));
        let words: Vec<String> = line.words().map(written).collect();
        text.push_str(&words.join(" "));
        match &line.body {
            Some(body) => {
                text.push(' ');
                write_block(&body.lines, depth + 1, text);
            }
            None => text.push('\n'),
        }
    }
    let is_closed = |line: &Line| line.body.is_none() && line.args.last().is_some_and(is_closing);
    if depth == 0 || !lines.last().is_some_and(is_closed) {
        text.push_str(&"    ".repeat(depth));
        text.push_str("}\n");
    }
}

fn is_closing(word: &Word) -> bool {
    word.text == CLOSING
}

/// The word as the lexer reads it back, if there is a way. A backslash means itself in both forms, except before a
/// quote inside quotes.
fn written(word: &Word) -> String {
    let text = &word.text;
    let is_bare = |character: char| !character.is_whitespace() && character != '#';
    match !text.is_empty() && !text.starts_with('"') && text.chars().all(is_bare) {
        true => text.clone(),
        false => format!("\"{}\"", text.replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_the_same_without_what_was_imported() {
        let outside = Memory::new()
            .file("parts/one", "errors\nlog . \"a b\"\n")
            .set("UPSTREAM", "10.0.0.53")
            .set("WORD", "with \"quotes\" and # more");
        let text = "(snippet) {\n prometheus :9153\n}\na.test, b.test:54 {\n import parts/*\n import snippet\n forward . {$UPSTREAM} {\n  except \"\" {$WORD} back\\slash\n  max_fails 2 }\n reload\n}\n.:53 {\n whoami\n}\n";
        let parsed = parse(&outside, Path::new("Corefile"), text.as_bytes());
        assert!(!parsed.is_refused(), "{:?}", parsed.diagnostics);
        let copy = parsed.corefile.copy().expect("it can be written");
        let expected = "a.test b.test:54 {\n    errors\n    log . \"a b\"\n    prometheus :9153\n    forward . 10.0.0.53 {\n        except \"\" \"with \\\"quotes\\\" and # more\" back\\slash\n        max_fails 2 }\n    reload\n}\n.:53 {\n    whoami\n}\n";
        assert_eq!(copy, expected);
    }

    #[test]
    fn what_no_text_says_is_not_copied() {
        for (fact, value) in [
            ("a brace that opens nothing", "{"),
            ("a quote behind a backslash and a blank", "a b\\\""),
        ] {
            let outside = Memory::new().set("WORD", value);
            let text = ". {\n log {$WORD} x\n}\n";
            let parsed = parse(&outside, Path::new("Corefile"), text.as_bytes());
            let words = &parsed.corefile.blocks[0].directives[0].args;
            assert_eq!(words[0].text, value, "{fact}");
            assert_eq!(parsed.corefile.copy(), None, "{fact}");
        }
    }
}
