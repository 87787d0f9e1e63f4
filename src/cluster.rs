//! What is known of a Kubernetes cluster, from the source that tells it to the view that queries read.
//!
//! ```text
//!     watch ─────┐                       (API server, over a `connection`)
//!                ├─ Event ─▶ index ─▶ view
//!     manifests ─┘                       (files and folders)
//! ```
//!
//! A source speaks in [`object::Event`]s only: objects cut to the fields that we serve, and the state of each list. It does not know who
//! listens; the index does not know which source speaks.

pub mod connection;
mod list;
pub mod manifests;
pub mod object;
pub mod selector;
pub mod watch;
