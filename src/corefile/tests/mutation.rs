//! Texts that were right and then were damaged: whatever comes out, it comes out, and a fault can be shown.

use super::*;

const KUBEADM: &str = include_str!("../../../fuzz/corpus/corefile/kubeadm");
const AKS: &str = include_str!("../../../fuzz/corpus/corefile/aks");
const OPENSHIFT: &str = include_str!("../../../fuzz/corpus/corefile/openshift");
const NODE_LOCAL: &str = include_str!("../../../fuzz/corpus/corefile/nodelocal");
const SNIPPETS: &str = include_str!("../../../fuzz/corpus/corefile/snippets");

/// Damaged texts made of each one above.
const ROUNDS: u32 = 200;

/// Damages of one text, at most.
const DAMAGES: u64 = 6;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).unwrap()
    }
}

/// Words that the grammar reacts to.
const WORDS: [&str; 12] = [
    "{", "}", "import", "import s", "(s) {", "\"", "#", ",", "{$A}", "{%A%}", "\\\"", "\u{feff}",
];

fn damage(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    let to = (at + 1 + random.below(12)).min(text.len());
    match random.below(8) {
        0 => drop(text.drain(at..to)),
        1 => {
            let copy = text[at..to].to_vec();
            text.splice(at..at, copy);
        }
        2 if at < text.len() => {
            let other = random.below(text.len());
            text.swap(at, other);
        }
        3 if at < text.len() => text[at] = u8::try_from(random.below(256)).unwrap(),
        4 => text.truncate(at),
        choice => swap_words(text, random, choice),
    }
}

/// The same on words: one is removed, doubled, or replaced by one that the grammar reacts to.
fn swap_words(text: &mut Vec<u8>, random: &mut Random, choice: usize) {
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let at = random.below(text.len());
    let start = text[..at].iter().rposition(blank).map_or(0, |at| at + 1);
    let end = text[start..]
        .iter()
        .position(blank)
        .map_or(text.len(), |length| start + length);
    let word = match choice {
        5 => Vec::new(),
        6 => [&text[start..end], b" ", &text[start..end]].concat(),
        _ => WORDS[random.below(WORDS.len())].as_bytes().to_vec(),
    };
    text.splice(start..end, word);
}

#[test]
fn damaged_texts_are_read_and_their_faults_shown() {
    let mut refused = 0;
    for (name, text) in [
        ("kubeadm", KUBEADM),
        ("aks", AKS),
        ("openshift", OPENSHIFT),
        ("nodelocal", NODE_LOCAL),
        ("snippets", SNIPPETS),
    ] {
        let world = Memory::new()
            .set("A", "a{$A}b")
            .file("custom/x.override", "log\nimport y.override")
            .file("custom/y.override", "errors");
        assert!(!parse_in(&world, text).is_refused(), "{name}");
        for round in 0..ROUNDS {
            let mut random = Random(u64::from(round));
            let mut damaged = text.as_bytes().to_vec();
            for _ in 0..=random.next() % DAMAGES {
                damage(&mut damaged, &mut random);
            }
            let world = world.clone().file("Corefile", damaged.as_slice());
            let parsed = load(&world, &Location::Default);
            refused += u32::from(parsed.is_refused());
            for fault in &parsed.diagnostics {
                let (rendered, one_line) = (
                    fault.render(&parsed.sources),
                    fault.one_line(&parsed.sources),
                );
                assert!(!fault.message.is_empty(), "{name} {round}");
                assert!(rendered.lines().count() <= 5, "{name} {round}: {rendered}");
                assert!(!one_line.contains('\n'), "{name} {round}: {one_line}");
                let controls = rendered.replace('\n', "");
                assert!(
                    !controls.contains(char::is_control),
                    "{name} {round}: {rendered:?}"
                );
            }
        }
    }
    // Not all damage is a fault: it may hit a name or a comment. Most does.
    assert!(refused > 5 * ROUNDS / 2, "{refused}");
}

#[test]
fn the_fuzz_corpus_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/corefile");
    let mut entries: Vec<_> = corpus
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    assert!(entries.len() >= 10, "{entries:?}");
    for path in entries {
        let world = Memory::new().file("Corefile", std::fs::read(&path).unwrap());
        let parsed = load(&world, &Location::Default);
        for fault in &parsed.diagnostics {
            assert!(!fault.render(&parsed.sources).is_empty(), "{path:?}");
        }
    }
}
