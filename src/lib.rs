//! Cairn.

pub mod app;
pub mod chain;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod corefile;
pub mod dns;
#[doc(hidden)]
pub mod fuzz;
pub mod generation;
pub mod ops;
pub mod plugin;
pub mod reload;
pub mod server;
pub mod telemetry;
