//! The corpora of the fuzz targets, and mutations of them, without a fuzzer: nothing panics, every property holds.

use std::path::Path;

use cairn_dns::fuzz;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("corefile", fuzz::corefile),
    ("kube_name", fuzz::kube_name),
    ("manifest", fuzz::manifest),
    ("packet", fuzz::packet),
];

/// Mutations of each entry, so that the small corpus of packets makes more than 2,000.
const MUTATIONS: u64 = 50;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut entries: Vec<_> = entries
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    entries.sort();
    entries
}

#[test]
fn every_entry_holds_its_property() {
    for (name, target) in TARGETS {
        let entries = corpus(name);
        assert!(entries.len() > 10, "{name} has a corpus");
        for (path, octets) in entries {
            check(*target, &path, &octets);
        }
    }
}

#[test]
fn so_do_mutations_of_every_entry() {
    for (name, target) in TARGETS {
        let entries = corpus(name);
        for (index, (path, octets)) in entries.iter().enumerate() {
            for round in 0..MUTATIONS {
                let seed = (index as u64 + 1) << 16 | (round + 1);
                check(
                    *target,
                    &format!("{path} mutated by {seed}"),
                    &mutated(octets, seed),
                );
            }
        }
    }
}

/// Names the octets whose property is broken.
fn check(target: Target, what: &str, octets: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(octets));
    assert!(outcome.is_ok(), "{what}: {octets:02x?}");
}

/// A few octets changed, dropped, repeated or made up; `seed` is not 0.
fn mutated(octets: &[u8], seed: u64) -> Vec<u8> {
    let mut random = seed;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound.max(1) as u64) as usize
    };
    let mut out = octets.to_vec();
    for _ in 0..=below(4) {
        let at = below(out.len());
        match below(5) {
            0 if !out.is_empty() => out[at] = below(256) as u8,
            1 if !out.is_empty() => out[at] ^= 1 << below(8),
            2 => out.truncate(at),
            3 => out.extend((0..below(40)).map(|_| 0xc0).collect::<Vec<u8>>()),
            _ => out
                .splice(at..at, octets[..below(octets.len())].to_vec())
                .for_each(drop),
        }
    }
    out
}
