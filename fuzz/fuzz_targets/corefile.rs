//! Any bytes as a Corefile that may import itself: it is read to the end, and every fault can be shown.

#![no_main]

use cairn_dns::corefile::{Location, Memory, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let world = Memory::new()
        .set("A", "a{$A}b")
        .set("PORT", "53")
        .file("Corefile", bytes)
        .file("custom/x.override", bytes);
    let parsed = load(&world, &Location::Default);
    for fault in &parsed.diagnostics {
        assert!(!fault.render(&parsed.sources).is_empty());
        assert!(!fault.one_line(&parsed.sources).contains('\n'));
    }
    parsed.corefile.canonical();
});
