//! What is asked: packets made once, and what their answers must be.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use crate::cluster::{Cluster, NAMESPACES, Service};

/// Questions of a kind; they are asked in a circle.
const COUNT: usize = 40_000;
const HEADER: usize = 12;
/// The label of a name that was never asked before: so many digits.
const UNIQUE: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Qtype {
    A = 1,
    Ptr = 12,
    Aaaa = 28,
    Srv = 33,
}

/// What a reply must be, to count as an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Records,
    NoData,
    NoName,
}

pub(crate) struct Question {
    packet: Vec<u8>,
    expect: Expect,
}

pub(crate) struct Questions {
    all: Vec<Question>,
    /// Every packet gets a name of its own.
    unique: Option<u64>,
    at: usize,
}

/// What a room of work asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mix {
    A,
    NoData,
    Srv,
    Ptr,
    Headless,
    /// All of the above, as a fleet of clients would.
    Hits,
    /// The search list of a pod with `ndots:5`, A and AAAA at each step.
    PodWalk,
    External,
    Misses,
}

impl Question {
    fn new(name: &str, qtype: Qtype, expect: Expect) -> Question {
        let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            packet.push(u8::try_from(label.len()).expect("labels are short"));
            packet.extend(label.as_bytes());
        }
        packet.extend([0, 0, qtype as u8, 0, 1]);
        Question { packet, expect }
    }

    /// One to be asked once, with this id.
    pub(crate) fn once(name: &str, qtype: Qtype, id: u16) -> Vec<u8> {
        let mut packet = Question::new(name, qtype, Expect::Records).packet;
        packet[..2].copy_from_slice(&id.to_be_bytes());
        packet
    }
}

impl Expect {
    /// Whether the reply is what was to be answered.
    pub(crate) fn is_met(self, reply: &[u8]) -> bool {
        let Some([_, _, flags, code, _, _, high, low, ..]) = reply.get(..HEADER) else {
            return false;
        };
        let has_records = (*high, *low) != (0, 0);
        let found = match (flags & 0x80, code & 0x0f, has_records) {
            (0x80, 0, true) => Expect::Records,
            (0x80, 0, false) => Expect::NoData,
            (0x80, 3, false) => Expect::NoName,
            _ => return false,
        };
        found == self
    }
}

impl Questions {
    pub(crate) fn new(mix: Mix, cluster: &Cluster, seed: u64) -> Questions {
        let mut random = StdRng::seed_from_u64(seed);
        let (plain, headless): (Vec<&Service>, Vec<&Service>) = cluster
            .services
            .iter()
            .partition(|service| service.ip.is_some());
        let mut all = Vec::with_capacity(COUNT);
        while all.len() < COUNT {
            let of = match mix {
                Mix::Hits => *[
                    Mix::A,
                    Mix::A,
                    Mix::NoData,
                    Mix::NoData,
                    Mix::Srv,
                    Mix::Ptr,
                    Mix::Headless,
                ]
                .choose(&mut random)
                .expect("there are some"),
                of => of,
            };
            let of_kind = if of == Mix::Headless {
                &headless
            } else {
                &plain
            };
            let service = of_kind
                .choose(&mut random)
                .expect("there are services of each kind");
            let name = service.dns_name();
            match of {
                Mix::A | Mix::Headless | Mix::Hits => {
                    all.push(Question::new(&name, Qtype::A, Expect::Records))
                }
                Mix::NoData => all.push(Question::new(&name, Qtype::Aaaa, Expect::NoData)),
                Mix::Srv => {
                    all.push(Question::new(
                        &format!("_http._tcp.{name}"),
                        Qtype::Srv,
                        Expect::Records,
                    ));
                }
                Mix::Ptr => {
                    let [a, b, c, d] = service.ip.map_or([0; 4], |ip| ip.octets());
                    let name = format!("{d}.{c}.{b}.{a}.in-addr.arpa");
                    all.push(Question::new(&name, Qtype::Ptr, Expect::Records));
                }
                Mix::PodWalk => walk(service, &mut random, &mut all),
                Mix::External => all.push(Question::new(
                    &external(&mut random),
                    Qtype::A,
                    Expect::Records,
                )),
                Mix::Misses => {
                    let name = format!("{}.wild.example.com", "0".repeat(UNIQUE));
                    all.push(Question::new(&name, Qtype::A, Expect::Records));
                }
            }
        }
        if mix != Mix::PodWalk {
            all.shuffle(&mut random);
        }
        Questions {
            all,
            unique: (mix == Mix::Misses).then(rand::random::<u64>),
            at: 0,
        }
    }

    /// Writes the next question with this id, and tells what must be answered.
    pub(crate) fn next(&mut self, id: u16, packet: &mut Vec<u8>) -> Expect {
        let question = &self.all[self.at];
        self.at = (self.at + 1) % self.all.len();
        packet.clear();
        packet.extend_from_slice(&question.packet);
        packet[..2].copy_from_slice(&id.to_be_bytes());
        if let Some(unique) = &mut self.unique {
            *unique = unique.wrapping_add(1);
            for at in 0..UNIQUE {
                packet[HEADER + 1 + at] = b"0123456789abcdef"[(*unique >> (4 * at)) as usize & 15];
            }
        }
        question.expect
    }
}

fn external(random: &mut StdRng) -> String {
    format!("host-{}.example.com", random.random_range(0..1000))
}

/// What one look-up of a program in a pod comes to on the wire, by how often programs look up what.
fn walk(service: &Service, random: &mut StdRng, all: &mut Vec<Question>) {
    let own = format!("ns{}", random.random_range(0..NAMESPACES));
    let steps: Vec<(String, bool)> = match random.random_range(0..100) {
        // Short names of its own namespace, and full names.
        0..50 => vec![(service.dns_name(), true)],
        // `service.namespace`.
        50..65 => vec![
            (
                format!(
                    "{}.{}.{own}.svc.cluster.local",
                    service.name, service.namespace
                ),
                false,
            ),
            (service.dns_name(), true),
        ],
        // Outside: through the whole list first.
        65..90 => {
            let name = external(random);
            let below = [
                format!("{own}.svc.cluster.local"),
                "svc.cluster.local".into(),
                "cluster.local".into(),
            ];
            let walked = below
                .iter()
                .map(|suffix| (format!("{name}.{suffix}"), false));
            walked.chain([(name.clone(), true)]).collect()
        }
        _ => vec![(
            format!(
                "nosuch-{}.{own}.svc.cluster.local",
                random.random_range(0..1000)
            ),
            false,
        )],
    };
    for (name, exists) in steps {
        let of_ipv6 = match exists {
            false => Expect::NoName,
            true if name.ends_with("example.com") => Expect::Records,
            true => Expect::NoData,
        };
        let of_ipv4 = if exists {
            Expect::Records
        } else {
            Expect::NoName
        };
        all.push(Question::new(&name, Qtype::A, of_ipv4));
        all.push(Question::new(&name, Qtype::Aaaa, of_ipv6));
    }
}
