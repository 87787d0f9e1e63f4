//! Requests and responses, as they are in JSON. Client and server are the same program.
//!
//! Names are in presentation form (RFC 1035 section 5.1), so that whatever a client of the server has asked for is
//! printable here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, Type};

/// `POST /explain`: what becomes of this question?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The name; a final dot may be missing.
    pub name: String,
    /// The type, by its mnemonic or as `TYPE65`.
    pub rtype: String,
    /// Who asks.
    pub from: IpAddr,
    /// Of several listeners the one that has this address.
    pub server: Option<IpAddr>,
    /// Of several listeners the one that has this port.
    pub port: Option<u16>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The name.
    pub name: String,
    /// The type.
    pub rtype: String,
    /// Who asked.
    pub from: IpAddr,
    /// The listener, as metrics name it.
    pub server: String,
    /// The zone whose server block answers; `None` if no block does.
    pub zone: Option<String>,
    /// What was decided on the way, in order.
    pub steps: Vec<Step>,
    /// Steps that there was no room for.
    pub steps_left_out: usize,
    /// The Kubernetes objects that the answer is made of.
    pub objects: Vec<ObjectText>,
    /// How fresh what is known of each resource is.
    pub resources: Vec<ResourceText>,
    /// The reply; `None` for silence.
    pub reply: Option<ReplyText>,
    /// Microseconds from the query to the reply.
    pub elapsed_us: u64,
}

/// A Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectText {
    /// The resource, as `kubectl` names it.
    pub resource: String,
    /// Namespace and name of the Service that it is, or belongs to.
    pub service: String,
    /// Its `resourceVersion`; `None` if it has none that is a number.
    pub resource_version: Option<u64>,
    /// Seconds since it was told last.
    pub age: u64,
}

/// What is known of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceText {
    /// The resource, as `kubectl` names it.
    pub resource: String,
    /// The `resourceVersion` up to which everything was told; empty if there is none.
    pub resource_version: String,
    /// Seconds since its source was last heard; `None`: never.
    pub heard: Option<u64>,
}

/// One thing that was decided, or looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Microseconds since the query.
    pub after_us: u64,
    /// Aliases that were followed to here.
    pub depth: u8,
    /// The plugin, or `server`.
    pub by: String,
    /// `looks`, `next`, `answers`, `fails`, `drops`, `waits`, `follows` or `shapes`.
    pub verdict: String,
    /// The reason; may be empty.
    pub words: String,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyText {
    /// The response code.
    pub rcode: String,
    /// The flags, as `dig` writes them.
    pub flags: String,
    /// Octets of the message.
    pub octets: usize,
    /// The answer section.
    pub answer: Vec<RecordText>,
    /// The authority section.
    pub authority: Vec<RecordText>,
    /// The additional section, without OPT.
    pub additional: Vec<RecordText>,
    /// Extended errors (RFC 8914).
    pub extended_errors: Vec<ExtendedErrorText>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordText {
    /// The owner.
    pub name: String,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// The class.
    pub class: String,
    /// The type.
    pub rtype: String,
    /// The data, in master file format.
    pub data: String,
}

/// An extended error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedErrorText {
    /// The info-code.
    pub code: u16,
    /// The extra text.
    pub text: String,
}

/// `POST /top`: who asks most?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopRequest {
    /// So many of each kind.
    pub count: usize,
}

/// Who asks most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopReport {
    /// The time that it is of, in seconds.
    pub seconds: f64,
    /// Queries that were looked at.
    pub samples: u64,
    /// Queries since the start that were to be looked at and were not, because others were being told of.
    pub left_out: u64,
    /// Of so many queries one is looked at, in the long run.
    pub sampled_every: u32,
    /// By name.
    pub names: Vec<TopEntry>,
    /// By Namespace.
    pub namespaces: Vec<TopEntry>,
    /// By address of the client.
    pub clients: Vec<TopEntry>,
    /// By response code.
    pub rcodes: Vec<TopEntry>,
}

/// One of those who ask most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopEntry {
    /// Who, or what.
    pub what: String,
    /// Samples at least.
    pub at_least: u64,
    /// Samples at most.
    pub at_most: u64,
}

/// `POST /cache/show` and `POST /cache/flush`: what of the caches is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheRequest {
    /// Entries of this name.
    Name(String),
    /// Entries of all names in this zone.
    Zone(String),
    /// All.
    All,
}

/// What the caches keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheReport {
    /// A cache a server block.
    pub caches: Vec<CacheText>,
}

/// What one cache keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheText {
    /// The keys of its server block.
    pub server: String,
    /// Why nothing of this name is ever kept, if so.
    pub never: Option<String>,
    /// The entries, as far as there is room for them.
    pub entries: Vec<CacheEntry>,
    /// How many there are.
    pub count: usize,
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEntry {
    /// The name.
    pub name: String,
    /// The type that was asked for.
    pub rtype: String,
    /// The class.
    pub class: String,
    /// What else of a query it is for: `do`, `cd`, `rd`.
    pub flags: String,
    /// The response code.
    pub rcode: String,
    /// Seconds since it was kept.
    pub age: u64,
    /// Seconds that it was good for then.
    pub ttl: u32,
    /// Seconds that it is still good for; `None` after its time.
    pub left: Option<u32>,
    /// It may be given after its time.
    pub stale: bool,
    /// Octets that it takes.
    pub octets: usize,
    /// Its records, as far as there is room for them.
    pub records: Vec<RecordText>,
    /// Why nobody could be asked; empty for what an upstream said.
    pub why: String,
}

/// How many entries were taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Of all caches.
    pub entries: usize,
    /// Caches that there are.
    pub caches: usize,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In words.
    pub error: String,
}

/// A name as it is asked for; or why it is none.
pub fn name(text: &str) -> Result<Name, String> {
    text.parse()
        .map_err(|fault| format!("{text:?} is no name: {fault}"))
}

/// A type as it is asked for; or why it is none.
pub fn rtype(text: &str) -> Result<Type, String> {
    let number = || {
        let (prefix, digits) = text.split_at_checked(4)?;
        if !prefix.eq_ignore_ascii_case("type") {
            return None;
        }
        digits.parse().ok().map(Type)
    };
    Type::from_mnemonic(text)
        .or_else(number)
        .ok_or_else(|| format!("{text:?} is no type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_read_by_its_mnemonic_or_its_number() {
        for (text, expected) in [
            ("A", Some(Type::A)),
            ("aaaa", Some(Type::AAAA)),
            ("TYPE65", Some(Type::HTTPS)),
            ("type1", Some(Type::A)),
            ("TYPE", None),
            ("TYPE65536", None),
            ("é", None),
            ("tyé1", None),
            ("", None),
        ] {
            assert_eq!(rtype(text).ok(), expected, "{text}");
        }
    }
}
