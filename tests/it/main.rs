//! Integration tests: the real server, real sockets, a fixture API server.

mod apiserver;
mod metrics;
mod ops;
mod support;
