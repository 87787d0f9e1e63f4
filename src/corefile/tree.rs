//! The Corefile as written, after imports and the environment: syntax and nothing more.

use super::Span;

/// One word as its reader shall see it, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The text: quotes gone, environment variables replaced.
    pub text: String,
    /// Where it was written, quotes included; for a word of a snippet, inside the snippet.
    pub span: Span,
    /// Whether it was written in quotes.
    pub quoted: bool,
}

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corefile {
    /// The server blocks, in written order.
    pub blocks: Vec<ServerBlock>,
}

/// `key key, key { directives }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlock {
    /// The keys, commas taken off; never empty.
    pub keys: Vec<Word>,
    /// The directives in written order; one that is repeated stands here as often.
    pub directives: Vec<Directive>,
}

/// A line of a server block: a plugin's name, what it is given, and its own block.
pub type Directive = Line;

/// A name, the words after it on the same line, and the block that `{` at the end of the line opens.
///
/// A line of a plugin's own block has the same shape. A `}` that closes a block from behind other words on a line
/// is both: it closes, and it is the last of these words, because that is what a plugin of CoreDNS sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The first word.
    pub name: Word,
    /// The further words of the line, without `{`.
    pub args: Vec<Word>,
    /// The block, if the line opens one.
    pub body: Option<Body>,
}

/// What stands between `{` and `}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The opening brace.
    pub open: Span,
    /// The lines, in written order.
    pub lines: Vec<Line>,
}

impl Corefile {
    /// The words and how they are grouped, without comments, blanks and places: equal for two texts exactly if they
    /// configure the same. What `reload` hashes.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for block in &self.blocks {
            out.push(b'B');
            block.keys.iter().for_each(|key| key.canonical(&mut out));
            Line::canonical_all(&block.directives, &mut out);
        }
        out
    }
}

impl ServerBlock {
    /// All occurrences of one directive, in written order: CoreDNS sets a plugin up once with all of them.
    pub fn occurrences<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives
            .iter()
            .filter(move |directive| directive.name.text == name)
    }
}

impl Line {
    /// All words of the line, the name first: for lines that have no property name, such as those of `hosts`.
    pub fn words(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.name).chain(&self.args)
    }

    fn canonical_all(lines: &[Self], out: &mut Vec<u8>) {
        out.push(b'{');
        for line in lines {
            out.push(b'L');
            line.words().for_each(|word| word.canonical(out));
            if let Some(body) = &line.body {
                Self::canonical_all(&body.lines, out);
            }
        }
        out.push(b'}');
    }
}

impl Word {
    /// With its length in front, so that no two sequences of words come to the same bytes.
    fn canonical(&self, out: &mut Vec<u8>) {
        out.push(b'W');
        out.extend((self.text.len() as u64).to_be_bytes());
        out.extend(self.text.as_bytes());
    }
}
