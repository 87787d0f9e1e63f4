//! When a reply is the recorded one: rcode and flags exactly, sections as multisets, the serial of a SOA free, and
//! where TC is set the records too.

use hickory_proto::{
    op::Message,
    rr::{RData, Record},
};
use serde::Deserialize;

use super::text;

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
pub(super) fn differences(want: &Answer, got: &Answer) -> Vec<String> {
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
