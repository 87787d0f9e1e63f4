//! Integration tests: the real server, real sockets, a fixture API server.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test shall end it, in what it calls too"
)]

mod admin;
mod answers;
mod apiserver;
mod benchmark;
mod cache;
mod cluster;
mod conformance;
mod docs;
mod faults;
mod freshness;
mod fuzz_corpus;
mod house;
mod liars;
mod lifecycle;
mod metrics;
mod ops;
mod program;
mod snapshot;
mod support;
mod tcp;
mod upstreams;
