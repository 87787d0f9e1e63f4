//! Integration tests.

mod apiserver;
mod support;
