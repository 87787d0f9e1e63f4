//! Integration tests.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test shall end it, in its helpers too"
)]

mod metrics;
mod ops;
