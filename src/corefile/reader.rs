//! How a plugin's parser reads its directive: counts arguments, walks its block, and reports what it cannot use.
//!
//! Every method reports its fault where the word stands and returns `None`, so that a parser reads on and all faults
//! are told at once. A block is a table: one row a property.
//!
//! ```
//! use cairn_dns::corefile::reader::{Reader, Row};
//! use cairn_dns::corefile::{Directive, Faults};
//!
//! #[derive(Default)]
//! struct Health { address: Option<String>, lameduck: Option<String> }
//!
//! const PROPERTIES: &[Row<Health>] = &[Row::Line("lameduck", |health, line| {
//!     health.lameduck = Some(line.one()?.text.clone());
//!     Some(())
//! })];
//!
//! fn health(directive: &Directive, faults: &Faults) -> Option<Health> {
//!     let reader = Reader::new(directive, faults);
//!     let mut health = Health::default();
//!     health.address = reader.optional()?.map(|word| word.text.clone());
//!     reader.block(&mut health, PROPERTIES)?;
//!     Some(health)
//! }
//! ```

use std::fmt::Display;

use super::diagnostic::quoted;
use super::{Diagnostic, Directive, Faults, Line, Span, Word, nearest};

/// Reads one line: a directive, or a property in its block.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    line: &'a Line,
    plugin: &'a str,
    faults: &'a Faults,
}

/// What a row of a table does with its line: `None` says that a fault was reported.
pub type Set<C> = fn(&mut C, &Reader<'_>) -> Option<()>;

/// A row of a table of properties.
#[derive(Debug)]
pub enum Row<C> {
    /// A property that is one line; a block on it is refused.
    Line(&'static str, Set<C>),
    /// A property that may have a block of its own.
    Block(&'static str, Set<C>),
    /// A property of CoreDNS that is not built here: refused by name, so that nobody thinks it has an effect.
    Absent(&'static str),
}

impl<C> Row<C> {
    /// The property.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Line(name, _) | Self::Block(name, _) | Self::Absent(name) => name,
        }
    }
}

impl<'a> Reader<'a> {
    /// A reader for a directive; faults are reported under its name.
    pub fn new(directive: &'a Directive, faults: &'a Faults) -> Self {
        Self {
            line: directive,
            plugin: &directive.name.text,
            faults,
        }
    }

    /// The directive or property itself.
    pub fn name(&self) -> &'a Word {
        &self.line.name
    }

    /// The words after it, uncounted.
    pub fn args(&self) -> &'a [Word] {
        &self.line.args
    }

    /// Takes no argument.
    pub fn none(&self) -> Option<()> {
        self.between(0, 0).map(drop)
    }

    /// Takes exactly one argument.
    pub fn one(&self) -> Option<&'a Word> {
        self.exactly().map(|[word]| word)
    }

    /// Takes at most one argument: `None` is a fault, `Some(None)` is no argument.
    pub fn optional(&self) -> Option<Option<&'a Word>> {
        self.at_most(1).map(<[Word]>::first)
    }

    /// Takes exactly `N` arguments.
    pub fn exactly<const N: usize>(&self) -> Option<&'a [Word; N]> {
        self.between(N, N)?.try_into().ok()
    }

    /// Takes up to `most` arguments.
    pub fn at_most(&self, most: usize) -> Option<&'a [Word]> {
        self.between(0, most)
    }

    /// Takes `least` or more arguments.
    pub fn at_least(&self, least: usize) -> Option<&'a [Word]> {
        self.between(least, usize::MAX)
    }

    /// Takes `least` to `most` arguments.
    pub fn between(&self, least: usize, most: usize) -> Option<&'a [Word]> {
        let args = self.args();
        if args.len() < least {
            return self.wrong_count(args.last().unwrap_or(self.name()));
        }
        match args.get(most) {
            Some(extra) => self.wrong_count(extra),
            None => Some(args),
        }
    }

    /// Reports that the arguments end too early or go on too long after `word`, as CoreDNS words it.
    pub fn wrong_count<T>(&self, word: &Word) -> Option<T> {
        let message = format!(
            "Wrong argument count or unexpected line ending after {}",
            quoted(&word.text)
        );
        let fault = Diagnostic::error(message, word.span);
        self.report(match word.text.as_str() {
            "}" => fault.with_hint("put '}' on a line of its own"),
            "{}" => fault.with_hint("an empty block is written '{ }' or left out"),
            _ => fault,
        })
    }

    /// Whether a block follows, be it empty.
    pub fn has_block(&self) -> bool {
        self.line.body.is_some()
    }

    /// Takes no block.
    pub fn no_block(&self) -> Option<()> {
        match &self.line.body {
            None => Some(()),
            Some(body) => {
                let message = "Unexpected token '{', expecting argument";
                let hint = format!("{} takes no block", quoted(&self.name().text));
                self.report(Diagnostic::error(message, body.open).with_hint(hint))
            }
        }
    }

    /// The lines of the block as they are, for a plugin whose lines are not all properties; none without a block.
    /// A line that must not open a block is to be asked [`Reader::no_block`].
    pub fn lines(&self) -> impl Iterator<Item = Reader<'a>> + use<'a> {
        let reader = *self;
        let lines = self.line.body.as_ref().map_or(&[][..], |body| &body.lines);
        lines.iter().map(move |line| Reader { line, ..reader })
    }

    /// Reads the block by a table, every line of it even after faults. A missing or empty block is fine.
    pub fn block<C>(&self, config: &mut C, rows: &[Row<C>]) -> Option<()> {
        let mut sound = Some(());
        for line in self.lines() {
            sound = line.property(config, rows).and(sound);
        }
        sound
    }

    /// Reads this line, a property, by a table. For plugins that mix properties with other lines.
    pub fn property<C>(&self, config: &mut C, rows: &[Row<C>]) -> Option<()> {
        match rows.iter().find(|row| row.name() == self.name().text) {
            Some(Row::Line(_, set)) => self.no_block().and_then(|()| set(config, self)),
            Some(Row::Block(_, set)) => set(config, self),
            Some(Row::Absent(_)) => self.absent(),
            None => self.unknown(rows.iter().map(Row::name)),
        }
    }

    /// Reports that this line begins with no known property.
    pub fn unknown<T>(&self, known: impl IntoIterator<Item = &'static str>) -> Option<T> {
        let word = self.name();
        let message = format!("unknown property {}", quoted(&word.text));
        let nearest = nearest(&word.text, known);
        self.report(Diagnostic::error(message, word.span).with_nearest(nearest))
    }

    /// Reports that CoreDNS has this directive or property and this server has not.
    pub fn absent<T>(&self) -> Option<T> {
        let word = self.name();
        let message = format!("{} is known but not supported yet", quoted(&word.text));
        self.report(Diagnostic::error(message, word.span))
    }

    /// Reads a word as a value; what `parse` says is the fault.
    pub fn value<T, E: Display>(
        &self,
        word: &Word,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(&word.text) {
            Ok(value) => Some(value),
            Err(why) => self.refuse(word, why.to_string()),
        }
    }

    /// Reads a word as one of a table; `what` names them in the fault, as in `unknown policy 'best'`.
    pub fn choice<T: Copy>(
        &self,
        word: &Word,
        what: &str,
        table: &[(&'static str, T)],
    ) -> Option<T> {
        if let Some((_, value)) = table.iter().find(|(name, _)| *name == word.text) {
            return Some(*value);
        }
        let message = format!("unknown {what} {}", quoted(&word.text));
        let fault = Diagnostic::error(message, word.span);
        self.report(
            match nearest(&word.text, table.iter().map(|(name, _)| *name)) {
                None => {
                    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
                    fault.with_hint(format!("one of: {}", names.join(", ")))
                }
                nearest => fault.with_nearest(nearest),
            },
        )
    }

    /// Reports a fault at a word.
    pub fn refuse<T>(&self, word: &Word, message: impl Into<String>) -> Option<T> {
        self.report(Diagnostic::error(message, word.span))
    }

    /// Reports a doubt at a word.
    pub fn warn(&self, word: &Word, message: impl Into<String>) {
        self.report::<()>(Diagnostic::warning(message, word.span));
    }

    /// Reports under the plugin's name.
    pub fn report<T>(&self, diagnostic: Diagnostic) -> Option<T> {
        self.faults.push(diagnostic.with_plugin(self.plugin));
        None
    }

    /// Where the line begins.
    pub fn span(&self) -> Span {
        self.name().span
    }
}

/// The one occurrence of a directive that may stand once in a server block; the others are reported. None without a
/// report if there is no occurrence at all.
pub fn once<'a>(occurrences: &[&'a Directive], faults: &'a Faults) -> Option<Reader<'a>> {
    let (first, others) = occurrences.split_first()?;
    for other in others {
        let message = "this plugin can only be used once per Server Block";
        Reader::new(other, faults).refuse::<()>(&other.name, message);
    }
    others.is_empty().then(|| Reader::new(first, faults))
}

#[cfg(test)]
mod tests;
