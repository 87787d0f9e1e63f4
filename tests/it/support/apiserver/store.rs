//! The objects of the cluster with all their past, as etcd keeps them: every write has a resourceVersion of its own, so
//! that a list can be read as it was, and a watch can continue from any version that is not compacted away.
//!
//! Plain data: no lock, no socket, no clock. What is written stays in memory for the life of the fixture; compaction
//! only forbids what it would have removed, so that a watch that is already open never misses an event.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::resource::Resource;

/// One state of one object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Without `kind` and `apiVersion`.
    pub(super) value: Value,
    text: String,
}

impl Object {
    fn new(mut value: Value, version: u64) -> Self {
        value["metadata"]["resourceVersion"] = json!(version.to_string());
        let part = |name: &str| {
            value["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            namespace: part("namespace"),
            name: part("name"),
            text: value.to_string(),
            value,
        }
    }

    /// The same state under another resourceVersion, as events about objects that are gone carry it.
    pub(super) fn at(&self, version: u64) -> Self {
        Self::new(self.value.clone(), version)
    }

    /// JSON as an item of a list.
    pub(super) fn item(&self, resource: &Resource) -> String {
        if resource.built_in {
            self.text.clone()
        } else {
            self.whole(resource)
        }
    }

    /// JSON with `kind` and `apiVersion`, as it stands alone.
    pub(super) fn whole(&self, resource: &Resource) -> String {
        format!(
            r#"{{"kind":"{}","apiVersion":"{}",{}"#,
            resource.kind,
            resource.api_version(),
            &self.text[1..]
        )
    }
}

/// Namespace (empty for cluster-scoped) and name, in the order of lists.
pub(super) type Key = (String, String);

/// What a write did.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) version: u64,
    /// The state before it; None: the object was created.
    pub(super) before: Option<Arc<Object>>,
    /// The state after it; None: the object was deleted.
    pub(super) after: Option<Arc<Object>>,
}

/// What an object is from this version on; None: deleted.
#[derive(Debug)]
struct Since(u64, Option<Arc<Object>>);

#[derive(Debug, Default)]
struct Collection {
    /// States by object, oldest first.
    history: BTreeMap<Key, Vec<Since>>,
    /// All writes, oldest first.
    log: Vec<Arc<Write>>,
}

/// All collections and the one counter that orders their writes.
#[derive(Debug)]
pub(super) struct Store {
    version: u64,
    compacted: u64,
    uids: u64,
    collections: BTreeMap<&'static str, Collection>,
}

impl Default for Store {
    /// Version 0 means "any" in requests, so an empty store is at 1.
    fn default() -> Self {
        Self {
            version: 1,
            compacted: 0,
            uids: 0,
            collections: BTreeMap::new(),
        }
    }
}

impl Store {
    /// The newest resourceVersion.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether the state at `version`, and the events after it, are still to be had.
    pub(super) fn remembers(&self, version: u64) -> bool {
        version >= self.compacted
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.version;
    }

    /// All is as it was at `version`, and goes on from there.
    pub(super) fn put_back(&mut self, version: u64) {
        self.version = version;
        self.compacted = self.compacted.min(version);
        for collection in self.collections.values_mut() {
            collection.log.retain(|write| write.version <= version);
            for states in collection.history.values_mut() {
                states.retain(|Since(written, _)| *written <= version);
            }
        }
    }

    /// Creates or replaces; every call is a new version, also where nothing differs. Panics on an object of no known
    /// kind or without a name. Returns its resourceVersion.
    pub(super) fn apply(&mut self, mut value: Value) -> u64 {
        let resource = Resource::of(&value).unwrap_or_else(|| {
            panic!(
                "no resource holds {} of {}",
                value["kind"], value["apiVersion"]
            )
        });
        assert!(
            value["metadata"]["name"].is_string(),
            "a {} without metadata.name",
            resource.kind
        );
        let fields = value.as_object_mut().expect("an object: it has a kind");
        fields.remove("kind");
        fields.remove("apiVersion");
        let metadata = fields["metadata"]
            .as_object_mut()
            .expect("an object: it has a name");
        if resource.namespaced {
            metadata
                .entry("namespace")
                .or_insert_with(|| json!("default"));
        }
        let key = (text(metadata.get("namespace")), text(metadata.get("name")));
        let before = self.object(resource, &key, self.version);
        if !metadata.contains_key("uid") {
            let uid = before.as_ref().map_or_else(
                || self.next_uid(),
                |object| object.value["metadata"]["uid"].clone(),
            );
            value["metadata"]["uid"] = uid;
        }
        let after = Arc::new(Object::new(value, self.version + 1));
        self.write(resource, key, before, Some(after));
        self.version
    }

    /// Deletes; returns the resourceVersion of the deletion. Panics where there is nothing to delete.
    pub(super) fn delete(&mut self, resource: &Resource, namespace: &str, name: &str) -> u64 {
        let key = (namespace.to_owned(), name.to_owned());
        let before = self.object(resource, &key, self.version);
        assert!(
            before.is_some(),
            "there is no {} {namespace}/{name} to delete",
            resource.kind
        );
        self.write(resource, key, before, None);
        self.version
    }

    /// One object as it was at `version`.
    pub(super) fn object(
        &self,
        resource: &Resource,
        key: &Key,
        version: u64,
    ) -> Option<Arc<Object>> {
        at(
            self.collections.get(resource.plural)?.history.get(key)?,
            version,
        )
        .cloned()
    }

    /// The collection as it was at `version`, in the order of lists, from `start` on.
    pub(super) fn snapshot(
        &self,
        resource: &Resource,
        version: u64,
        start: Key,
    ) -> impl Iterator<Item = &Arc<Object>> {
        self.collections
            .get(resource.plural)
            .into_iter()
            .flat_map(move |collection| collection.history.range(start.clone()..))
            .filter_map(move |(_, states)| at(states, version))
    }

    /// The writes in `after < version <= until`, oldest first.
    pub(super) fn writes(&self, resource: &Resource, after: u64, until: u64) -> &[Arc<Write>] {
        let log = self
            .collections
            .get(resource.plural)
            .map_or(&[][..], |collection| &collection.log);
        let place = |version| log.partition_point(|write| write.version <= version);
        &log[place(after)..place(until).max(place(after))]
    }

    fn write(
        &mut self,
        resource: &Resource,
        key: Key,
        before: Option<Arc<Object>>,
        after: Option<Arc<Object>>,
    ) {
        self.version += 1;
        let collection = self
            .collections
            .entry(Resource::named(resource.plural).plural)
            .or_default();
        collection
            .history
            .entry(key)
            .or_default()
            .push(Since(self.version, after.clone()));
        collection.log.push(Arc::new(Write {
            version: self.version,
            before,
            after,
        }));
    }

    fn next_uid(&mut self) -> Value {
        self.uids += 1;
        json!(format!("00000000-0000-4000-8000-{:012x}", self.uids))
    }
}

fn at(states: &[Since], version: u64) -> Option<&Arc<Object>> {
    let known = states.partition_point(|Since(written, _)| *written <= version);
    states[..known].last()?.1.as_ref()
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}
