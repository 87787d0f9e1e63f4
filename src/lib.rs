//! Cairn.

pub mod ops;
pub mod telemetry;
