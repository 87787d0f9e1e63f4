//! Label selectors: `labels` and `namespace_labels` of a stanza, for the API's query parameter and for sources that must select themselves.
//!
//! The grammar is that of the Kubernetes API ("Labels and Selectors"); `>` and `<` are refused, as CoreDNS does, because a LabelSelector
//! object has no such operators. Faults are worded as client-go words them, because operators search for those words.

use std::fmt;
use std::str::FromStr;

use crate::cluster::object::{Labels, Object, Resource};

mod parse;
#[cfg(test)]
mod tests;

/// Requirements that must all hold; none of them selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    /// Sorted by key, as the canonical form has them.
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requirement {
    key: Box<str>,
    test: Test,
}

/// What is asked of the value of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Test {
    Exists,
    Absent,
    Equals(Box<str>),
    /// Holds where the label is absent.
    Differs(Box<str>),
    /// Values are sorted and distinct.
    In(Vec<Box<str>>),
    /// Values are sorted and distinct. Holds where the label is absent.
    NotIn(Vec<Box<str>>),
}

/// What of a cluster is wanted: a resource and which of its objects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The collection, over all namespaces.
    pub resource: Resource,
    /// Which of its objects.
    pub labels: Selector,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse the selector string {text:?}: {what}")]
pub struct SelectorError {
    /// The text as written.
    pub text: String,
    /// What the parser met.
    pub what: String,
}

impl Selector {
    /// Whether every requirement holds for these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels.value(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Target {
    /// Whether the object is wanted. Pods that have come to their end are not: their addresses may be others' by now.
    pub fn wants(&self, object: &Object) -> bool {
        let ended = matches!(object, Object::Pod(pod) if pod.ended);
        self.resource == object.resource()
            && !ended
            && self.labels.matches(&object.metadata().labels)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        match parse::requirements(text) {
            Ok(mut requirements) => {
                requirements.sort_by(|a, b| a.key.cmp(&b.key));
                Ok(Selector { requirements })
            }
            Err(what) => Err(SelectorError {
                text: text.to_owned(),
                what,
            }),
        }
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed =
            |values: &[Box<str>], value: &str| values.iter().any(|listed| **listed == *value);
        match &self.test {
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Equals(wanted) => value == Some(wanted),
            Test::Differs(unwanted) => value != Some(unwanted),
            Test::In(values) => value.is_some_and(|value| listed(values, value)),
            Test::NotIn(values) => !value.is_some_and(|value| listed(values, value)),
        }
    }
}

/// The canonical form, as the API takes it.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Requirement { key, test }) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match test {
                Test::Exists => write!(f, "{key}"),
                Test::Absent => write!(f, "!{key}"),
                Test::Equals(value) => write!(f, "{key}={value}"),
                Test::Differs(value) => write!(f, "{key}!={value}"),
                Test::In(values) => write!(f, "{key} in ({})", values.join(",")),
                Test::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            }?;
        }
        Ok(())
    }
}
