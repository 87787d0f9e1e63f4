//! The nouns of the DNS: names, types, queries, replies, and their wire form (RFC 1035 section 4).
//!
//! Everything here is plain data and pure functions. This room knows no socket, no Corefile and no
//! Kubernetes, decides nothing by the time, and imports no other room. Packets come in through [`query::Query::parse`] and
//! [`message::decode`]; they leave through [`encode`] alone.
//!
//! The wire format is our own because it is the data path: a query is parsed once into a reused struct, a
//! reply is a list of ranges into one reused buffer, and neither allocates once warm. The tests read what we
//! write with a codec that we did not write.

pub mod edns;
pub mod encode;
pub mod message;
pub mod name;
pub mod outcome;
pub mod query;
pub mod rdata;
pub mod reply;
pub mod reverse;
pub mod rr;
pub mod text;
pub mod trace;
pub mod zone;

pub use edns::Edns;
pub use name::Name;
pub use outcome::Outcome;
pub use query::{Query, Question, Reject, Transport};
pub use reply::{Records, Reply, Section};
pub use rr::{Class, Rcode, Type};
pub use trace::{Trace, Verdict};
pub use zone::Zones;
