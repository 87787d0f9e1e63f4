//! Names below a cluster zone; the property is [`cairn_dns::fuzz::kube_name`].

#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| cairn_dns::fuzz::kube_name(octets));
