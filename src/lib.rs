//! Cairn.

pub mod telemetry;
