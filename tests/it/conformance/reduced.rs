//! A Corefile without the directives that are not built, so that the rest of its questions is asked all the same.
//!
//!     Corefile → tree → what is built, as text again
//!                     → what is dropped, by which rows are left out

use std::path::Path;

use cairn_dns::{
    config::is_built,
    corefile::{self, Corefile, Directive, Line, Memory, Word},
};

/// A directive that is not built, and what of its Corefile tells which rows depend on it.
#[derive(Debug)]
pub(super) struct Dropped {
    pub(super) directive: Directive,
    /// The zones of its server block: where it stands if it names none itself.
    pub(super) zones: Vec<String>,
    /// The TTLs of records made from objects of the cluster, as they are written.
    pub(super) object_ttls: Vec<String>,
}

/// What `kubernetes` and `k8s_external` take without a `ttl`.
const OBJECT_TTL: &str = "5";

/// The Corefile without what is not built; as it was if all is built.
pub(super) fn reduced(outside: &Memory, text: &str) -> String {
    let corefile = parsed(outside, text);
    let mut directives = corefile.blocks.iter().flat_map(|block| &block.directives);
    if directives.all(|directive| is_built(&directive.name.text)) {
        return text.to_owned();
    }
    let blocks = corefile.blocks.iter().map(|block| {
        let built = |directive: &&Directive| is_built(&directive.name.text);
        let lines = block.directives.iter().filter(built).map(written);
        let keys: Vec<String> = block.keys.iter().map(quoted).collect();
        format!("{} {{\n{}}}\n", keys.join(" "), lines.collect::<String>())
    });
    blocks.collect()
}

/// What [`reduced`] takes away.
pub(super) fn dropped(text: &str) -> Vec<Dropped> {
    let corefile = parsed(&Memory::new(), text);
    let mut dropped = Vec::new();
    for block in &corefile.blocks {
        let zones: Vec<String> = block.keys.iter().map(zone).collect();
        let directives = block.directives.iter();
        let absent = directives.filter(|directive| !is_built(&directive.name.text));
        dropped.extend(absent.map(|directive| Dropped {
            directive: directive.clone(),
            zones: zones.clone(),
            object_ttls: object_ttls(&corefile),
        }));
    }
    dropped
}

/// Whether some block has the directive.
pub(super) fn has(text: &str, directive: &str) -> bool {
    let corefile = parsed(&Memory::new(), text);
    let mut blocks = corefile.blocks.iter();
    blocks.any(|block| block.occurrences(directive).next().is_some())
}

impl Dropped {
    /// The properties of its block.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        lines(&self.directive)
    }

    /// The words after its name.
    pub(super) fn args(&self) -> impl Iterator<Item = &str> {
        self.directive.args.iter().map(|word| word.text.as_str())
    }
}

fn parsed(outside: &Memory, text: &str) -> Corefile {
    let parsed = corefile::parse(outside, Path::new("Corefile"), text.as_bytes());
    assert!(!parsed.is_refused(), "{:?}", parsed.diagnostics);
    parsed.corefile
}

fn object_ttls(corefile: &Corefile) -> Vec<String> {
    let directives = corefile.blocks.iter().flat_map(|block| &block.directives);
    let of_objects = directives
        .filter(|directive| ["kubernetes", "k8s_external"].contains(&directive.name.text.as_str()));
    let ttls = of_objects.map(|directive| {
        let ttl = lines(directive).find(|line| line.name.text == "ttl");
        ttl.map_or(OBJECT_TTL, |line| line.args[0].text.as_str())
            .to_owned()
    });
    ttls.collect()
}

fn lines(directive: &Directive) -> impl Iterator<Item = &Line> {
    directive.body.iter().flat_map(|body| &body.lines)
}

/// A key without its port.
fn zone(key: &Word) -> String {
    let zone = key.text.rsplit_once(':');
    zone.map_or(key.text.as_str(), |(zone, _)| zone).to_owned()
}

/// A line as text, with the block that it opens.
fn written(line: &Line) -> String {
    let words: Vec<String> = line.words().map(quoted).collect();
    let block = line.body.as_ref().map(|body| {
        let lines: String = body.lines.iter().map(written).collect();
        format!(" {{\n{lines}}}")
    });
    format!("{}{}\n", words.join(" "), block.unwrap_or_default())
}

fn quoted(word: &Word) -> String {
    match word.quoted {
        true => format!("\"{}\"", word.text.replace('"', "\\\"")),
        false => word.text.clone(),
    }
}

#[test]
fn a_corefile_loses_exactly_what_is_not_built() {
    let outside = Memory::new().set("PORT", "1053");
    let text =
        "a.test:{$PORT} b.test {\n view x {\n expr a\n }\n errors\n log a.test \"{common} x\"\n}\n";
    let kept = "a.test:1053 b.test {\nerrors\nlog a.test \"{common} x\"\n}\n";
    assert!(!is_built("view"), "another directive has to stand here");
    assert_eq!(reduced(&outside, text), kept);
    assert_eq!(reduced(&outside, kept), kept);
    let names = dropped(text).into_iter().map(|dropped| {
        let zones = dropped.zones.join(" ");
        format!("{} in {zones}", dropped.directive.name.text)
    });
    assert_eq!(names.collect::<Vec<_>>(), ["view in a.test b.test"]);
}
