//! Names of objects, thousands to a file: each is one text, and all of a file are one text again.

use crate::cluster::object::{Metadata, Object, Resource};

/// The names of a file's objects, sorted, each once.
#[derive(Debug, Default)]
pub(super) struct Names(Gathered);

/// Names in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    text: String,
    /// Where each ends in the text.
    ends: Vec<usize>,
}

/// Resource, namespace and name of an object in one text.
pub(super) fn name_of(object: &Object) -> String {
    let code = match object.resource() {
        Resource::Services => 's',
        Resource::EndpointSlices => 'e',
        Resource::Pods => 'p',
        Resource::Namespaces => 'n',
    };
    let Metadata {
        namespace, name, ..
    } = object.metadata();
    format!("{code}{namespace}/{name}")
}

/// An object that is nothing but this name.
pub(super) fn object_of(name: &str) -> Object {
    let (code, name) = name.split_at(1);
    let resource = match code {
        "s" => Resource::Services,
        "e" => Resource::EndpointSlices,
        "p" => Resource::Pods,
        _ => Resource::Namespaces,
    };
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let metadata = Metadata {
        namespace: namespace.into(),
        name: name.into(),
        ..Metadata::default()
    };
    Object::bare(resource, metadata)
}

impl Gathered {
    pub(super) fn push(&mut self, name: &str) {
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    fn get(&self, at: usize) -> &str {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[from..self.ends[at]]
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|at| self.get(at))
    }

    pub(super) fn sorted(self) -> Names {
        let mut names: Vec<&str> = self.iter().collect();
        names.sort_unstable();
        names.dedup();
        let mut sorted = Gathered {
            text: String::with_capacity(names.iter().map(|name| name.len()).sum()),
            ends: Vec::with_capacity(names.len()),
        };
        names.into_iter().for_each(|name| sorted.push(name));
        Names(sorted)
    }
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.0.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.0.get(middle).cmp(name) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_in_one_text_and_come_back() {
        for resource in Resource::ALL {
            let namespace = if resource == Resource::Namespaces {
                ""
            } else {
                "demo"
            };
            let metadata = Metadata {
                namespace: namespace.into(),
                name: "web".into(),
                ..Metadata::default()
            };
            let object = Object::bare(resource, metadata);
            assert_eq!(object_of(&name_of(&object)), object, "{resource}");
        }
    }

    #[test]
    fn names_are_found_however_they_were_gathered() {
        let mut gathered = Gathered::default();
        for name in ["sb/x", "sa/x", "eb/x", "sb/x", "sb/"] {
            gathered.push(name);
        }
        let names = gathered.sorted();
        let all: Vec<&str> = names.iter().collect();
        assert_eq!(all, ["eb/x", "sa/x", "sb/", "sb/x"]);
        for (name, known) in [
            ("eb/x", true),
            ("sa/x", true),
            ("sb/", true),
            ("sb/x", true),
            ("ea/x", false),
            ("sb", false),
            ("sb/xx", false),
        ] {
            assert_eq!(names.has(name), known, "{name}");
        }
        assert!(!Names::default().has("sb/x"));
    }
}
