//! DNS messages as octets: what a liar reads and says. No codec stands between, because most of what it says is none
//! that a codec would write.

use std::net::Ipv4Addr;

pub(super) const A: u16 = 1;
pub(super) const NS: u16 = 2;
pub(super) const CNAME: u16 = 5;
const TXT: u16 = 16;
const OPT: u16 = 41;
const IN: u16 = 1;

const QR: u16 = 0x8000;
const RA: u16 = 0x0080;
pub(super) const TC: u16 = 0x0200;

/// Seconds that an answer may be kept.
const TTL: u32 = 60;
/// What a liar would like to be believed.
pub(super) const FORGED: Ipv4Addr = Ipv4Addr::new(6, 6, 6, 6);

/// The question of a query.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) id: u16,
    /// In the case in which it came, with its dot.
    pub(super) name: String,
    pub(super) rtype: u16,
    pub(super) class: u16,
    has_edns: bool,
}

/// A reply before it is written.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) id: u16,
    pub(super) flags: u16,
    pub(super) questions: Vec<(String, u16, u16)>,
    /// Answer, authority, additional.
    pub(super) sections: [Vec<Record>; 3],
}

/// A record in wire form.
#[derive(Debug, Clone)]
pub(super) struct Record(Vec<u8>);

impl Question {
    /// Reads a query that has one question; what is none came from no server under test.
    pub(super) fn read(message: &[u8]) -> Option<Question> {
        let word = |at: usize| {
            Some(u16::from_be_bytes([
                *message.get(at)?,
                *message.get(at + 1)?,
            ]))
        };
        if word(2)? & QR != 0 {
            return None;
        }
        let mut at = 12;
        let mut name = String::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            name += std::str::from_utf8(message.get(at..at + length)?).ok()?;
            name.push('.');
            at += length;
        }
        if name.is_empty() {
            name.push('.');
        }
        Some(Question {
            id: word(0)?,
            name,
            rtype: word(at)?,
            class: word(at + 2)?,
            has_edns: word(10)? > 0,
        })
    }

    /// A reply with this code and no record.
    pub(super) fn reply(&self, code: u16) -> Reply {
        let additional = self.has_edns.then(Record::opt).into_iter().collect();
        Reply {
            id: self.id,
            flags: QR | RA | 0x0100 | code,
            questions: vec![(self.name.clone(), self.rtype, self.class)],
            sections: [Vec::new(), Vec::new(), additional],
        }
    }

    /// A reply with this address; to a question for anything else one without data.
    pub(super) fn answer(&self, address: Ipv4Addr) -> Reply {
        let mut reply = self.reply(0);
        if self.rtype == A {
            reply.sections[0].push(Record::a(&self.name, address));
        }
        reply
    }
}

impl Reply {
    pub(super) fn octets(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let counts = self.sections.each_ref().map(|section| section.len() as u16);
        let words = [self.id, self.flags, self.questions.len() as u16];
        for word in words.into_iter().chain(counts) {
            out.extend(word.to_be_bytes());
        }
        for (name, rtype, class) in &self.questions {
            out.extend(name_octets(name));
            out.extend(rtype.to_be_bytes());
            out.extend(class.to_be_bytes());
        }
        for Record(octets) in self.sections.iter().flatten() {
            out.extend(octets);
        }
        out
    }
}

impl Record {
    pub(super) fn a(owner: &str, address: Ipv4Addr) -> Record {
        Record::new(&name_octets(owner), A, &address.octets())
    }

    pub(super) fn ns(owner: &str, target: &str) -> Record {
        Record::new(&name_octets(owner), NS, &name_octets(target))
    }

    pub(super) fn cname(owner: &str, target: &str) -> Record {
        Record::new(&name_octets(owner), CNAME, &name_octets(target))
    }

    /// A text of 200 octets.
    pub(super) fn filler(owner: &str) -> Record {
        Record::new(
            &name_octets(owner),
            TXT,
            &[&[199][..], &[b'x'; 199]].concat(),
        )
    }

    /// A record whose owner is these octets, whatever they mean.
    pub(super) fn new(owner: &[u8], rtype: u16, data: &[u8]) -> Record {
        let mut octets = owner.to_vec();
        octets.extend(rtype.to_be_bytes());
        octets.extend(IN.to_be_bytes());
        octets.extend(TTL.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
        Record(octets)
    }

    fn opt() -> Record {
        let mut octets = vec![0];
        octets.extend(OPT.to_be_bytes());
        octets.extend(1232_u16.to_be_bytes());
        octets.extend([0; 6]);
        Record(octets)
    }
}

/// The address that the honest upstream `octet` has for a name, which no other name and no other upstream has.
pub(super) fn genuine(octet: u8, name: &str) -> Ipv4Addr {
    // FNV-1a over the name in lower case: equal in every run.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, letter| {
        (hash ^ u32::from(letter.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    let [_, _, high, low] = (hash ^ hash >> 16).to_be_bytes();
    Ipv4Addr::new(10, octet, high, low)
}

/// A query for an address, as a stub resolver sends it.
pub(super) fn query(id: u16, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, 0] {
        out.extend(word.to_be_bytes());
    }
    out.extend(name_octets(name));
    out.extend(A.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out
}

/// The same query with EDNS.
pub(super) fn query_with_edns(id: u16, name: &str) -> Vec<u8> {
    let mut out = query(id, name);
    out[11] = 1;
    let Record(opt) = Record::opt();
    out.extend(opt);
    out
}

fn name_octets(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let mut octets: Vec<u8> = labels
        .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
        .collect();
    octets.push(0);
    octets
}
