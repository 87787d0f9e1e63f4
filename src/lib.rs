//! Cairn: a cluster DNS server for Kubernetes, a drop-in replacement for CoreDNS.
//!
//! # Three lifetimes
//!
//! Ask of any line how long the thing that it touches lives; that tells its room.
//!
//! ```text
//! process     cli → app → telemetry, ops, admin, top, reload, CLUSTER: source → index → view
//!                    │ swaps in a whole generation               │ publishes a whole view
//! generation  Corefile → tree → Config → GENERATION: routers, chains, caches, upstreams
//!                    │ one router a query                        │ one view a query
//! query       packet → Query → down the chain … reply … up the chain → packet
//! ```
//!
//! So a reload never empties an answer, closes no port that both configurations serve and lists nothing anew; a
//! configuration that cannot be served changes nothing, because it is built whole before it is swapped in; and a
//! query meets one configuration and one picture of the cluster from its first octet to its last.
//!
//! # Three stories
//!
//! - **The life of a query**: [`server`] reads a packet on a thread of its own, `server::handle` takes it through
//!   [`dns::query`] (parsed once) and [`server::router`] (which chain) down a [`chain`] of [`plugin`]s and up again,
//!   and [`dns::encode`] writes the reply. What must ask the network is a task of the same thread.
//! - **The life of a Corefile**: [`corefile`] makes a tree of the text, its imports and the environment, with all
//!   its faults; [`config`] makes of the tree what will run, read by the parsers of the plugins; [`generation`]
//!   builds it; [`app`] gives it sockets; [`reload`] follows the file and swaps.
//! - **The life of an endpoint**: a source in [`cluster`] (`watch` or `manifests`) reads an object, cut to what is
//!   served; the `index` applies it; a `view` is published; [`plugin::kubernetes`] answers from it.
//!
//! # Who knows whom
//!
//! `cli → app, reload → generation → {config, plugin, server, cluster, telemetry, ops}`; `app → admin → {server, plugin,
//! top}`; `{server, plugin} → admission`; `config → {corefile, the
//! parsers of plugins}`; `server → chain → plugin → {dns, cluster's view}`. Absent on purpose: [`dns`] and
//! [`corefile`] know no other room; nothing but `cli` and `reload` knows [`app`]; [`telemetry`] knows nobody, rooms
//! tell what is worth counting in words of their own and `counting` makes metrics of them; only `server` and the
//! upstreams of `forward` open DNS sockets; only `dns::encode` writes a message; after `config` nobody reads the
//! environment. A test holds these arrows.

pub mod admin;
mod admission;
pub mod app;
mod blocking;
pub mod chain;
pub mod cli;
pub mod cluster;
mod complaint;
pub mod config;
pub mod corefile;
mod counting;
pub mod dns;
#[doc(hidden)]
pub mod fuzz;
pub mod generation;
pub mod ops;
pub mod plugin;
pub mod reload;
pub mod server;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod top;
