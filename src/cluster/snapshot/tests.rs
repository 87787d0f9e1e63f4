//! What is written is what is read, and nothing else is.

use std::io::Cursor;
use std::time::Duration;

use super::format::{self, Times};
use super::read::{Found, Wanted, read};
use super::write::Draft;
use super::{OCTETS_MAX, Reached, ReachedAll, Refused};
use crate::cluster::index::Index;
use crate::cluster::index::tests::histories::{Exist, World, history};
use crate::cluster::index::tests::versions::in_version;
use crate::cluster::index::tests::{NOW as SERIAL, key, namespace, pod, service, slice, told};
use crate::cluster::object::{Event, Resource};
use crate::testing::Random;

mod disk;
mod figures;
mod killed;
mod paced;

const CLUSTER: &str = "https://api labels a=b";

/// When the files of these tests are read, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

const MAX_AGE: Duration = Duration::from_secs(3600);

fn wanted() -> Wanted<'static> {
    Wanted {
        cluster: CLUSTER,
        now: NOW,
        max_age: MAX_AGE,
    }
}

/// All resources, current so many seconds ago.
fn reached(ago: u64) -> ReachedAll {
    std::array::from_fn(|at| Reached {
        version: format!("7{at}").into(),
        as_of: NOW - ago,
    })
}

/// As after all lists: a Service, a slice with names, a Pod, a Namespace.
fn index() -> Index {
    let objects = [
        namespace("demo"),
        service("demo", "web", "10.96.0.1"),
        slice("demo", "web-1", "web", &["10.0.0.1", "10.0.0.2"]),
        pod("demo", "a", "10.0.0.1"),
    ];
    let mut index = Index::default();
    let started = Resource::ALL.map(Event::ListStarted).into_iter();
    let listed = Resource::ALL.map(Event::Listed);
    for event in started.chain(objects.map(Event::Applied)).chain(listed) {
        index.apply(event, SERIAL);
    }
    index
}

fn draft(index: &Index, reached: ReachedAll) -> Draft {
    Draft {
        cluster: CLUSTER.to_owned(),
        reached,
        contents: index.contents(),
    }
}

fn file(draft: &Draft) -> Vec<u8> {
    let mut file = Vec::new();
    let (seal, octets) = draft.write(&mut file).unwrap();
    assert_eq!(
        (octets, &seal[..]),
        (file.len() as u64, &file[file.len() - 32..])
    );
    file
}

fn read_octets(octets: &[u8], wanted: Wanted<'_>) -> Result<Found, Refused> {
    read(Cursor::new(octets), octets.len() as u64, wanted)
}

/// Tells all lists anew, from the objects that exist.
fn list(index: &mut Index, exist: &Exist) {
    for resource in Resource::ALL {
        index.apply(Event::ListStarted(resource), SERIAL);
        let objects = exist
            .values()
            .filter(|object| object.resource() == resource);
        for object in objects {
            index.apply(Event::Applied(object.clone()), SERIAL);
        }
        index.apply(Event::Listed(resource), SERIAL);
    }
}

#[test]
fn every_history_is_read_back_as_it_was_written_and_goes_on_as_if_nothing_had_been() {
    for seed in 1..=500_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::of(seed);
        history(&mut world, &mut random);
        let World {
            mut index, exist, ..
        } = world.at_rest();
        list(&mut index, &exist);
        let octets = file(&draft(&index, reached(60)));
        let mut found = read_octets(&octets, wanted()).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(
            told(&index.view()),
            told(&found.index.view()),
            "seed {seed}"
        );
        assert_eq!(
            index.view().serial(),
            found.index.view().serial(),
            "seed {seed}"
        );
        let counts = |index: &Index| Resource::ALL.map(|resource| index.count(resource));
        let before = counts(&index);
        assert_eq!(before, counts(&found.index), "seed {seed}");

        // The list that comes later knows the objects again, and takes out those that are gone.
        let gone = random.below(3) as usize;
        let exist: Exist = exist.into_iter().skip(gone).collect();
        for resource in Resource::ALL {
            found.index.apply(Event::ListStarted(resource), SERIAL);
        }
        for object in exist.values() {
            found.index.apply(Event::Applied(object.clone()), SERIAL);
            assert_eq!(
                before,
                counts(&found.index),
                "known objects are known, seed {seed}"
            );
        }
        for resource in Resource::ALL {
            assert!(found.index.latest().is_stale(resource));
            found.index.apply(Event::Listed(resource), SERIAL);
            assert!(!found.index.latest().is_stale(resource));
        }
        list(&mut index, &exist);
        assert_eq!(
            told(&index.view()),
            told(&found.index.view()),
            "seed {seed}"
        );
    }
}

#[test]
fn the_versions_of_what_is_explained_are_read_back_as_of_when_the_file_was_current() {
    let mut index = index();
    for (object, version) in [
        (service("demo", "web", "10.96.0.1"), "41234567"),
        (slice("demo", "web-1", "web", &["10.0.0.1"]), "41234568"),
        (slice("demo", "web-2", "web", &["10.0.0.2"]), "opaque"),
    ] {
        index.apply(Event::Applied(in_version(object, version)), SERIAL);
    }
    let octets = file(&draft(&index, reached(60)));
    let found = read_octets(&octets, wanted()).unwrap();
    let (service, mut slices) = found.index.trace(&key("demo", "web"));
    slices.sort_by_key(|(version, _)| version.number());
    let notes: Vec<_> = service.into_iter().chain(slices).collect();
    let versions: Vec<_> = notes.iter().map(|(version, _)| version.number()).collect();
    assert_eq!(versions, [Some(41234567), None, Some(41234568)]);
    assert!(notes.iter().all(|(_, told)| u64::from(*told) == NOW - 60));
    // Written again before anything was listed, they are the same.
    assert_eq!(file(&draft(&found.index, found.reached)), octets);
}

#[test]
fn a_file_that_is_cut_anywhere_or_goes_on_is_refused() {
    let octets = file(&draft(&index(), reached(60)));
    for length in 0..octets.len() {
        assert!(
            read_octets(&octets[..length], wanted()).is_err(),
            "{length}"
        );
    }
    assert!(read_octets(&[&octets[..], b"\0"].concat(), wanted()).is_err());
    assert!(read_octets(&octets, wanted()).is_ok());
}

#[test]
fn a_bit_that_flips_makes_a_file_nothing_or_no_younger() {
    let index = index();
    let octets = file(&draft(&index, reached(60)));
    let marks = format::HEAD_LEN..format::BODY_AT;
    for at in 0..octets.len() {
        for bit in 0..8 {
            let mut flipped = octets.clone();
            flipped[at] ^= 1 << bit;
            let found = read_octets(&flipped, wanted());
            assert_eq!(
                found.is_ok(),
                marks.contains(&at),
                "bit {bit} of octet {at}"
            );
            if let Ok(found) = found {
                assert_eq!(found.reached, reached(60), "bit {bit} of octet {at}");
                assert_eq!(told(&index.view()), told(&found.index.view()));
            }
        }
    }
}

#[test]
fn a_mark_makes_a_file_younger_if_it_is_whole_and_made_for_it() {
    let octets = file(&draft(&index(), reached(60)));
    let seal: format::Seal = octets[octets.len() - 32..].try_into().unwrap();
    let ago = |seconds: u64| -> Times { [NOW - seconds; 4] };
    let marked = |marks: [format::Mark; 2]| {
        let mut octets = octets.clone();
        for (turn, mark) in marks.iter().enumerate() {
            let at = format::mark_at(turn) as usize;
            octets[at..at + mark.len()].copy_from_slice(mark);
        }
        read_octets(&octets, wanted()).unwrap().reached
    };
    let none = [0; format::MARK_LEN];
    let good = |seconds| format::mark(&seal, &ago(seconds));
    let half = {
        let (mut half, new) = (good(30), good(5));
        half[..20].copy_from_slice(&new[..20]);
        half
    };
    for (fact, marks, expected) in [
        ("none", [none, none], 60),
        ("the first", [good(30), none], 30),
        ("the younger of two", [good(30), good(20)], 20),
        ("half written", [half, none], 60),
        ("half written beside a good one", [half, good(40)], 40),
        ("older than the file", [good(90), none], 60),
        (
            "of another file",
            [format::mark(&[7; 32], &ago(5)), none],
            60,
        ),
    ] {
        assert_eq!(marked(marks), reached(expected), "{fact}");
    }
}

#[test]
fn what_is_not_wanted_is_refused_with_the_reason() {
    let octets = file(&draft(&index(), reached(60)));
    let version = |version: u32| {
        let mut octets = octets.clone();
        octets[8..12].copy_from_slice(&version.to_be_bytes());
        octets
    };
    let unsynced = file(&draft(&Index::default(), reached(60)));
    let foreign = Wanted {
        cluster: "https://other",
        ..wanted()
    };
    let at = |now| Wanted { now, ..wanted() };
    for (fact, octets, wanted, reason) in [
        ("empty", vec![], wanted(), "corrupt"),
        (
            "text",
            b"apiVersion: v1\nkind: List\n".to_vec(),
            wanted(),
            "corrupt",
        ),
        (
            "an older format",
            version(format::VERSION - 1),
            wanted(),
            "version",
        ),
        (
            "a newer format",
            version(format::VERSION + 1),
            wanted(),
            "version",
        ),
        ("of another cluster", octets.clone(), foreign, "foreign"),
        ("too old", octets.clone(), at(NOW + 3541), "too_old"),
        ("from the future", octets.clone(), at(NOW - 361), "future"),
        ("nothing is known", unsynced, wanted(), "corrupt"),
    ] {
        let refused = read_octets(&octets, wanted).unwrap_err();
        assert_eq!(refused.reason(), reason, "{fact}: {refused}");
    }
    for (fact, now) in [
        ("nearly too old", NOW + 3540),
        ("a clock that is a little slow", NOW - 299),
    ] {
        assert!(read_octets(&octets, at(now)).is_ok(), "{fact}");
    }
    let large = read(Cursor::new(octets), OCTETS_MAX + 1, wanted()).unwrap_err();
    assert_eq!(large.reason(), "too_large");
}

#[test]
fn a_resource_that_is_too_old_is_left_out_and_costs_no_other() {
    let mut times = reached(60);
    times[Resource::Pods as usize].as_of = NOW - 3601;
    let octets = file(&draft(&index(), times));
    let found = read_octets(&octets, wanted()).unwrap();
    let view = found.index.view();
    assert!(!view.is_synced(Resource::Pods) && !view.is_stale(Resource::Pods));
    assert_eq!(found.index.count(Resource::Pods), 0);
    assert_eq!(found.reached[Resource::Pods as usize], Reached::default());
    assert_eq!(view.stale_since([Resource::Services]), Some(NOW - 60));
    assert_eq!(found.index.count(Resource::EndpointSlices), 1);
}

/// Octets that are sound to the seal, and nothing else: whoever can write the file can make a seal.
#[test]
fn a_hostile_file_is_refused_or_makes_an_index_and_nothing_else() {
    use sha2::{Digest, Sha256};
    let good = file(&draft(&index(), reached(60)));
    let mut random = Random(0x5eed);
    for _ in 0..20_000 {
        let mut octets = good[..good.len() - 32].to_vec();
        for _ in 0..=random.below(3) {
            let at =
                format::BODY_AT + random.below((octets.len() - format::BODY_AT) as u64) as usize;
            match random.below(4) {
                0 => octets[at] = random.below(256) as u8,
                1 => octets[at] = 0xff,
                2 => drop(octets.remove(at)),
                _ => octets.insert(at, random.below(256) as u8),
            }
        }
        let sealed = Sha256::new()
            .chain_update(&octets[..format::HEAD_LEN])
            .chain_update(&octets[format::BODY_AT..]);
        octets.extend(sealed.finalize());
        if let Ok(found) = read_octets(&octets, wanted()) {
            // What it made can be looked at, and written again.
            told(&found.index.view());
            file(&draft(&found.index, found.reached));
        }
    }
}
