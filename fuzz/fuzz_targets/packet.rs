//! Packets; the property is [`cairn_dns::fuzz::packet`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| cairn_dns::fuzz::packet(octets));
