//! Cairn.

pub mod corefile;
