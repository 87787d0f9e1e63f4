//! When a reply is the recorded one: rcode and flags exactly, sections as multisets, the serial of a SOA free, and
//! where TC is set the records too.

use std::time::Duration;

use hickory_proto::{
    op::Message,
    rr::{RData, Record},
};
use serde::Deserialize;

use super::text;

/// Where the TTL of a record stands.
const TTL: usize = 1;

/// What a row and a reply are compared by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Answer {
    rcode: String,
    #[serde(default)]
    flags: String,
    #[serde(default, rename = "an")]
    answers: Vec<String>,
    #[serde(default, rename = "ns")]
    authorities: Vec<String>,
    #[serde(default, rename = "ar")]
    additionals: Vec<String>,
}

impl Answer {
    /// That of a server which stays silent.
    pub(super) fn none() -> Answer {
        let rcode = "TIMEOUT".to_owned();
        Answer {
            rcode,
            ..Answer::default()
        }
    }

    pub(super) fn of(reply: &Message) -> Answer {
        let section = |records: &[Record]| records.iter().map(text::record).collect();
        Answer {
            rcode: text::rcode(reply.metadata.response_code),
            flags: text::flags(reply),
            answers: section(&reply.answers),
            authorities: section(&reply.authorities),
            additionals: section(&reply.additionals),
        }
    }

    /// Whether its answer section holds records.
    pub(super) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The TTLs of its answer and authority sections, as they are written.
    pub(super) fn ttls(&self) -> impl Iterator<Item = &str> {
        let records = self.answers.iter().chain(&self.authorities);
        records.filter_map(|record| record.split(' ').nth(TTL))
    }

    /// What a cache gives that has held it for so many seconds.
    fn aged(&self, seconds: u64) -> Answer {
        let mut aged = self.clone();
        for section in [
            &mut aged.answers,
            &mut aged.authorities,
            &mut aged.additionals,
        ] {
            for record in section {
                let mut words: Vec<String> = record.split(' ').map(str::to_owned).collect();
                let ttl: u64 = words[TTL].parse().unwrap();
                words[TTL] = ttl.saturating_sub(seconds).to_string();
                *record = words.join(" ");
            }
        }
        aged
    }

    /// The same without what is free.
    fn bound(&self) -> Answer {
        let mut bound = self.clone();
        let truncated = self.flags.split(' ').any(|flag| flag == "TC");
        for section in [
            &mut bound.answers,
            &mut bound.authorities,
            &mut bound.additionals,
        ] {
            if truncated {
                section.clear();
            }
            for record in section.iter_mut() {
                *record = without_serial(record);
            }
            section.sort_unstable();
        }
        bound
    }

    /// Its parts in text, by their names.
    fn parts(&self) -> [(&'static str, String); 5] {
        [
            ("rcode", self.rcode.clone()),
            ("flags", self.flags.clone()),
            ("answers", format!("{:?}", self.answers)),
            ("authorities", format!("{:?}", self.authorities)),
            ("additionals", format!("{:?}", self.additionals)),
        ]
    }
}

/// What is different between the recorded answer and a reply, a text for each part; empty if nothing is.
///
/// The cache that the rows came from was never older than a second; on a slow machine one that may have held them
/// for `cached_for` has counted down by up to as many seconds.
pub(super) fn differences(want: &Answer, got: &Answer, cached_for: Duration) -> Vec<String> {
    let mut aged = (1..=cached_for.as_secs()).map(|seconds| want.aged(seconds).bound());
    if aged.any(|aged| aged == got.bound()) {
        return Vec::new();
    }
    let parts = want.bound().parts().into_iter().zip(got.bound().parts());
    let different = parts.filter(|(want, got)| want != got);
    different
        .map(|((part, want), (_, got))| format!("{part}: want {want}\n{part}: got  {got}"))
        .collect()
}

/// The CNAMEs that stand behind what they lead to: clients read an answer in one pass.
pub(super) fn late_aliases(reply: &Message) -> Vec<String> {
    let answers = reply.answers.iter().enumerate();
    let late = answers.filter(|(at, record)| match &record.data {
        RData::CNAME(target) => reply.answers[..*at]
            .iter()
            .any(|earlier| earlier.name == target.0),
        _ => false,
    });
    late.map(|(_, record)| format!("{} stands behind its target", text::record(record)))
        .collect()
}

/// A SOA without its serial; other records as they are.
fn without_serial(record: &str) -> String {
    const TYPE: usize = 2;
    const SERIAL: usize = 5;
    let mut words: Vec<&str> = record.split(' ').collect();
    if words.get(TYPE) == Some(&"SOA") {
        words[SERIAL] = "SERIAL";
    }
    words.join(" ")
}

#[test]
fn a_cache_may_have_counted_down_as_long_as_it_was_asked() {
    let of = |ttls: [u32; 2]| Answer {
        answers: ttls.map(|ttl| format!("a.test. {ttl} A 192.0.2.1")).into(),
        ..Answer::none()
    };
    let rows = [
        ("the recorded one", [30, 30], 0, true),
        ("one second less", [29, 29], 0, false),
        ("one second less after one", [29, 29], 1, true),
        ("two seconds less after one", [28, 28], 1, false),
        ("half of it", [29, 30], 1, false),
        ("more", [31, 31], 1, false),
    ];
    for (name, ttls, seconds, same) in rows {
        let found = differences(&of([30, 30]), &of(ttls), Duration::from_secs(seconds));
        assert_eq!(found.is_empty(), same, "{name}");
    }
}
