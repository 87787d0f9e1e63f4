//! Cairn.

pub mod cluster;
