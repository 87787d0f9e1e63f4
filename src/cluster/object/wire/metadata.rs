//! What every object says of itself: name, labels, and the one annotation that is served.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{fault, filled};
use crate::cluster::object::{Fault, Labels, Metadata, Resource, Wrong};

const LAST_CHANGE_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Where kubectl puts an object whose manifest names no namespace.
const NAMESPACE_DEFAULT: &str = "default";

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MetaWire {
    name: Option<Box<str>>,
    namespace: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<LabelMap>,
    annotations: Option<Annotations>,
}

/// All labels; a `null` value is an empty one, as Go reads it.
struct LabelMap(Labels);

/// The one annotation that we read; the others (kubectl's copy of the whole object among them) are not kept for a moment.
struct Annotations {
    last_change: Option<Box<str>>,
}

pub(super) fn metadata(resource: Resource, wire: Option<MetaWire>) -> Result<Metadata, Fault> {
    let wire = wire.unwrap_or_default();
    let namespace = match resource {
        Resource::Namespaces => Box::default(),
        Resource::Services | Resource::EndpointSlices | Resource::Pods => {
            filled(wire.namespace).unwrap_or_else(|| NAMESPACE_DEFAULT.into())
        }
    };
    let metadata = Metadata {
        namespace,
        name: wire.name.unwrap_or_default(),
        resource_version: wire.resource_version.unwrap_or_default(),
        labels: wire.labels.map(|map| map.0).unwrap_or_default(),
        deleting: wire.deletion_timestamp.is_some(),
    };
    if metadata.name.is_empty() {
        return Err(fault(resource, metadata, Wrong::NoName));
    }
    Ok(metadata)
}

/// A time that cannot be read is no time: it feeds a histogram and no answer.
pub(super) fn last_change(meta: &mut MetaWire) -> Option<SystemTime> {
    let text = meta.annotations.take()?.last_change?;
    text.parse::<Timestamp>().ok().map(SystemTime::from)
}

impl<'de> Deserialize<'de> for LabelMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = LabelMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LabelMap, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(LabelMap(Labels::new(pairs)))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut last_change = None;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == LAST_CHANGE_ANNOTATION {
                        last_change = map.next_value::<Option<Box<str>>>()?;
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Annotations { last_change })
            }
        }
        deserializer.deserialize_map(One)
    }
}
