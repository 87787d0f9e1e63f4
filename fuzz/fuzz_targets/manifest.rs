//! Manifests; the property is [`cairn_dns::fuzz::manifest`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| cairn_dns::fuzz::manifest(octets));
