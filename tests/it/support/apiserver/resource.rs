//! The resources that the server knows, as a table, and which of them a path names.
//!
//! A new resource is a new row. Nothing here knows objects, requests or answers.

use serde_json::Value;

/// One resource of the Kubernetes API.
#[derive(Debug)]
pub(crate) struct Resource {
    /// API group, empty for core.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    /// Plural name, as in paths; the key of the resource everywhere in the fixture.
    pub(super) plural: &'static str,
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    /// Compiled into a real server. Such lists leave `kind` and `apiVersion` out of their items, those of custom
    /// resources do not; and a custom resource answers 404 until it is installed.
    pub(super) built_in: bool,
    /// What `fieldSelector` may name, besides `metadata.name` and (where there is one) `metadata.namespace`.
    pub(super) fields: &'static [&'static str],
}

static RESOURCES: [Resource; 5] = [
    Resource {
        group: "",
        version: "v1",
        plural: "services",
        kind: "Service",
        namespaced: true,
        built_in: true,
        fields: &["spec.clusterIP", "spec.type"],
    },
    Resource {
        group: "",
        version: "v1",
        plural: "pods",
        kind: "Pod",
        namespaced: true,
        built_in: true,
        fields: &[
            "spec.nodeName",
            "spec.restartPolicy",
            "status.phase",
            "status.podIP",
        ],
    },
    Resource {
        group: "",
        version: "v1",
        plural: "namespaces",
        kind: "Namespace",
        namespaced: false,
        built_in: true,
        fields: &["status.phase"],
    },
    Resource {
        group: "discovery.k8s.io",
        version: "v1",
        plural: "endpointslices",
        kind: "EndpointSlice",
        namespaced: true,
        built_in: true,
        fields: &[],
    },
    Resource {
        group: "multicluster.x-k8s.io",
        version: "v1alpha1",
        plural: "serviceimports",
        kind: "ServiceImport",
        namespaced: true,
        built_in: false,
        fields: &[],
    },
];

impl Resource {
    /// The row called `name`, by plural or by kind. Panics on a name that is not in the table: a typing error in a test.
    pub(super) fn named(name: &str) -> &'static Self {
        RESOURCES
            .iter()
            .find(|row| row.plural == name || row.kind == name)
            .unwrap_or_else(|| panic!("the fixture API server has no resource {name:?}"))
    }

    /// The row that `apiVersion` and `kind` of an object name.
    pub(super) fn of(object: &Value) -> Option<&'static Self> {
        RESOURCES
            .iter()
            .find(|row| object["kind"] == row.kind && object["apiVersion"] == row.api_version())
    }

    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        RESOURCES.iter()
    }

    /// `v1`, `discovery.k8s.io/v1`.
    pub(super) fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether `fieldSelector` may name `field`.
    pub(super) fn selects_by(&self, field: &str) -> bool {
        field == "metadata.name"
            || (field == "metadata.namespace" && self.namespaced)
            || self.fields.contains(&field)
    }
}

/// What a path points at.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// None: the whole cluster.
    pub(super) namespace: Option<String>,
    /// None: the collection.
    pub(super) name: Option<String>,
}

impl Target {
    /// `/api/v1/…` and `/apis/GROUP/VERSION/…`; None for whatever is not a resource of the table.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, plural, name) = match rest {
            [plural] => (None, *plural, None),
            ["namespaces", name] => (None, "namespaces", Some(*name)),
            ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
            ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
            _ => return None,
        };
        let resource = Resource::all()
            .find(|row| row.group == group && row.version == version && row.plural == plural)?;
        Some(Self {
            resource,
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
        })
    }
}
