//! `labelSelector` and `fieldSelector`: text → terms → whether an object matches.

use serde_json::Value;

use super::{resource::Resource, status::Status};

/// Both selectors of a request; an object must satisfy every term.
#[derive(Debug, Default)]
pub(super) struct Selector {
    terms: Vec<Term>,
}

#[derive(Debug)]
struct Term {
    place: Place,
    test: Test,
}

#[derive(Debug)]
enum Place {
    Label(String),
    /// A JSON pointer; a field that is absent counts as the empty string.
    Field(String),
}

/// The negative tests hold also where the label is absent.
#[derive(Debug)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Selector {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = split_terms(labels).map(label_term);
        let fields = split_terms(fields).map(|term| field_term(resource, term));
        Ok(Self {
            terms: labels.chain(fields).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn selects_all(&self) -> bool {
        self.terms.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| term.matches(object))
    }
}

impl Term {
    fn matches(&self, object: &Value) -> bool {
        let found = match &self.place {
            Place::Label(key) => object["metadata"]["labels"]
                .get(key)
                .and_then(Value::as_str),
            Place::Field(pointer) => Some(
                object
                    .pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default(),
            ),
        };
        match &self.test {
            Test::Exists => found.is_some(),
            Test::Absent => found.is_none(),
            Test::In(values) => found.is_some_and(|value| values.iter().any(|one| one == value)),
            Test::NotIn(values) => {
                !found.is_some_and(|value| values.iter().any(|one| one == value))
            }
        }
    }
}

/// Commas inside `( )` belong to a set, not between terms.
fn split_terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let terms = text.split(move |letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        letter == ',' && depth == 0
    });
    terms.map(str::trim).filter(|term| !term.is_empty())
}

fn label_term(term: &str) -> Result<Term, Status> {
    let (key, test) = if let Some((key, value)) = term.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = split_equals(term) {
        (key, Test::In(vec![value.to_owned()]))
    } else if let Some((head, set)) = term.split_once('(') {
        match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => (*key, Test::In(set_values(set)?)),
            [key, "notin"] => (*key, Test::NotIn(set_values(set)?)),
            _ => return Err(unreadable(term)),
        }
    } else if let Some(key) = term.strip_prefix('!') {
        (key, Test::Absent)
    } else {
        (term, Test::Exists)
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(unreadable(term));
    }
    Ok(Term {
        place: Place::Label(key.to_owned()),
        test,
    })
}

fn field_term(resource: &Resource, term: &str) -> Result<Term, Status> {
    let (field, test) = if let Some((field, value)) = term.split_once("!=") {
        (field, Test::NotIn(vec![value.to_owned()]))
    } else if let Some((field, value)) = split_equals(term) {
        (field, Test::In(vec![value.to_owned()]))
    } else {
        return Err(Status::bad_request(format!(
            "invalid field selector: {term:?}"
        )));
    };
    if !resource.selects_by(field) {
        return Err(Status::bad_request(format!(
            "field label not supported: {field}"
        )));
    }
    Ok(Term {
        place: Place::Field(format!("/{}", field.replace('.', "/"))),
        test,
    })
}

/// `a=b` and `a==b` mean the same.
fn split_equals(term: &str) -> Option<(&str, &str)> {
    let (key, value) = term.split_once('=')?;
    Some((key, value.strip_prefix('=').unwrap_or(value).trim()))
}

fn set_values(set: &str) -> Result<Vec<String>, Status> {
    let inside = set
        .trim_end()
        .strip_suffix(')')
        .ok_or_else(|| unreadable(set))?;
    Ok(inside
        .split(',')
        .map(|value| value.trim().to_owned())
        .collect())
}

fn unreadable(term: &str) -> Status {
    Status::bad_request(format!("unable to parse requirement: {term:?}"))
}
