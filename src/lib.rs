//! Cairn.

pub mod chain;
pub mod cluster;
pub mod config;
pub mod corefile;
pub mod dns;
pub mod ops;
pub mod plugin;
pub mod server;
pub mod telemetry;
