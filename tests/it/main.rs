//! Integration tests.

mod metrics;
mod ops;
