//! What the Corefile says about the query log.

use super::Format;
use crate::config::Scope;
use crate::corefile::reader::{Reader, Row};
use crate::corefile::{Directive, Faults, Word};
use crate::dns::{Name, Outcome};

/// What the Corefile says about the query log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The rules, in the order in which they are tried.
    pub rules: Vec<Rule>,
}

/// What is logged of the queries of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The zone, in lower case.
    pub zone: Name,
    /// What a line looks like.
    pub format: Format,
    /// Which queries have one.
    pub classes: Classes,
}

/// Which outcomes are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Classes {
    /// Answers and delegations.
    pub success: bool,
    /// NXDOMAIN and NODATA.
    pub denial: bool,
    /// Everything else.
    pub error: bool,
}

impl Classes {
    /// All outcomes.
    pub const ALL: Classes = Classes {
        success: true,
        denial: true,
        error: true,
    };

    /// Whether this outcome is logged; it is found out only if it matters.
    #[inline]
    pub(super) fn wants(self, outcome: impl FnOnce() -> Outcome) -> bool {
        self == Classes::ALL
            || match outcome() {
                Outcome::Answer | Outcome::Incomplete | Outcome::Delegation => self.success,
                Outcome::NoData | Outcome::NxDomain | Outcome::AliasNxDomain => self.denial,
                Outcome::Failure | Outcome::Meta | Outcome::Other => self.error,
            }
    }
}

const PROPERTIES: &[Row<Classes>] = &[Row::Line("class", class)];

/// Reads `log [NAMES...] [FORMAT] { class CLASSES... }`, as often as it stands there.
pub fn parse(occurrences: &[&Directive], _scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let mut rules = Vec::new();
    let mut sound = Some(());
    for directive in occurrences {
        let reader = Reader::new(directive, faults);
        let mut classes = Classes::default();
        sound = reader.block(&mut classes, PROPERTIES).and(sound);
        if classes == Classes::default() {
            classes = Classes::ALL;
        }
        let (zones, format) = head(&reader);
        rules.extend(zones.into_iter().map(|zone| Rule {
            zone,
            format: format.clone(),
            classes,
        }));
    }
    sound.map(|()| Config { rules })
}

/// The names and the format. The last word is a format only behind a name and with a brace in it.
fn head(reader: &Reader<'_>) -> (Vec<Name>, Format) {
    let is_format = |word: &Word| word.text.contains('{');
    let (names, format) = match reader.args() {
        [] => return (vec![Name::root()], Format::common()),
        [names @ .., last] if !names.is_empty() && is_format(last) => {
            (names, Format::compile(&last.text))
        }
        names => (names, Format::common()),
    };
    for word in names.iter().filter(|word| is_format(word)) {
        let message = "taken for a name: a format stands behind at least one name";
        reader.warn(word, message);
    }
    let zones = names.iter().filter_map(|word| zone(word, reader));
    (zones.collect(), format)
}

/// CoreDNS takes any text; what is no name matches none.
fn zone(word: &Word, reader: &Reader<'_>) -> Option<Name> {
    let name: Result<Name, _> = word.text.parse();
    match name {
        Ok(name) => Some(name.lower()),
        Err(why) => {
            reader.warn(
                word,
                format!("not a domain name, so nothing is logged: {why}"),
            );
            None
        }
    }
}

fn class(classes: &mut Classes, line: &Reader<'_>) -> Option<()> {
    for word in line.at_least(1)? {
        match word.text.as_str() {
            "all" => *classes = Classes::ALL,
            "success" => classes.success = true,
            "denial" => classes.denial = true,
            "error" => classes.error = true,
            other => return line.refuse(word, format!("invalid Class: {other}")),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::case;

    fn read(text: &str) -> Result<Config, String> {
        case::read("log", text, parse)
    }

    #[test]
    fn names_and_format_are_told_apart_as_coredns_does() {
        for (text, zones, format) in [
            ("log", &["."][..], "{common}"),
            ("log Example.org", &["example.org."], "{common}"),
            ("log a.test b.test", &["a.test.", "b.test."], "{common}"),
            ("log . {combined}", &["."], "{combined}"),
            (
                "log a.test b.test \"{name}\"",
                &["a.test.", "b.test."],
                "{name}",
            ),
            ("log {common}", &["{common}."], "{common}"),
            ("log a..b", &[], "{common}"),
            ("log a.test\nlog", &["a.test.", "."], "{common}"),
        ] {
            let rules = read(text).unwrap().rules;
            let got: Vec<String> = rules.iter().map(|rule| rule.zone.to_string()).collect();
            assert_eq!(got, zones, "{text}");
            let format = Format::compile(format);
            assert!(rules.iter().all(|rule| rule.format == format), "{text}");
        }
    }

    #[test]
    fn faults_are_told_as_coredns_tells_them() {
        for (text, fault) in [
            (
                "log {\n class\n }",
                "Wrong argument count or unexpected line ending after 'class'",
            ),
            ("log {\n class loud\n }", "invalid Class: loud"),
            ("log {\n foo\n }", "unknown property 'foo'"),
        ] {
            assert_eq!(read(text), Err(fault.to_owned()), "{text}");
        }
    }

    #[test]
    fn classes_add_up_over_lines_and_belong_to_all_names_of_their_line() {
        let rules = read("log a.test b.test {\n class denial\n class error\n }\nlog")
            .unwrap()
            .rules;
        let both = Classes {
            success: false,
            ..Classes::ALL
        };
        let got: Vec<Classes> = rules.iter().map(|rule| rule.classes).collect();
        assert_eq!(got, [both, both, Classes::ALL]);
    }
}
