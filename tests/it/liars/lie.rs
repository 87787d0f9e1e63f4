//! What a liar does with a query: values that a test switches, and the acts that follow from each.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Transport;
use super::wire::{self, FORGED, Question, Record, Reply};

/// How long an upstream that flaps answers, and then does not.
pub(super) const FLAP: Duration = Duration::from_millis(500);

/// The behavior of an upstream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lie {
    /// None at all.
    Honest,
    /// Hears and says nothing.
    Silent,
    /// Nobody listens: ICMP over UDP, a reset over TCP.
    Refusing,
    /// Honest, so much later.
    Late(Duration),
    /// Honest, later by up to 100 ms, each answer by another time.
    Jittering,
    /// Honest for [`FLAP`], then silent for as long.
    Flapping,
    /// Honest, but this share of the answers (per cent) is lost.
    Losing(u8),
    /// Says this code.
    Code(u16),
    /// The forgery alone.
    Forged(Forgery),
    /// The forgery, then the genuine answer, which nobody hears who asks again.
    ForgedThenGenuine(Forgery),
    /// The genuine answer, then the forgery.
    GenuineThenForged(Forgery),
    /// A forged answer under every id but the right one, as many as there is time for, then the genuine one.
    AllOtherIds,
    /// Honest over UDP; TCP is filtered.
    Datagrams,
    /// Cut over UDP, whole over TCP.
    Truncated,
    /// Cut over either.
    AlwaysTruncated,
    /// Octet by octet, with this pause behind each.
    Dripping(Duration),
    /// Closes the connection having sent so many octets of its answer, two of length included.
    Closing(usize),
    /// Promises 65,535 octets and sends none.
    Promising,
    /// So many texts of 200 octets behind the answer.
    Huge(u16),
    /// Honest, but says every name in lower case, as some upstreams do.
    Lowering,
    /// Honest, by an alias, and every name of the answer points into the question.
    Pointing,
    /// Genuine, among records of other names.
    Stuffed,
    /// The address behind so many aliases.
    Chain(u16),
    /// Aliases that lead back.
    AliasLoop,
}

/// One thing that makes a forged answer no answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Forgery {
    Id,
    Query,
    Opcode,
    NoQuestion,
    TwoQuestions,
    Name,
    Type,
    Class,
    Case,
    Noise,
    Nothing,
    CutHeader,
    CutRecord,
    Counts,
    PointsAtItself,
    PointsAhead,
    PointsInCircles,
    DataTooLong,
    FromPort,
    FromAddress,
}

/// One step of what follows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Sends a message.
    Say(Vec<u8>),
    /// Sends it under each id but its own, for so long at most; over TCP nobody can.
    SayUnderOtherIds(Vec<u8>, Duration),
    /// Sends it from another socket; over TCP nobody can.
    SayFrom(Stranger, Vec<u8>),
    /// Sends octets that are framed by nobody.
    Raw(Vec<u8>),
    Pause(Duration),
    Close,
}

/// Who else may send datagrams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stranger {
    /// Another port of the same address.
    Port,
    /// The same port of another address.
    Address,
}

/// All that decides what is done with a query.
pub(super) struct Scene<'a> {
    pub(super) question: &'a Question,
    pub(super) transport: Transport,
    /// Which upstream this is, see [`wire::genuine`].
    pub(super) octet: u8,
    /// Since the upstream began.
    pub(super) elapsed: Duration,
    /// How often the same name was asked before.
    pub(super) before: usize,
    /// 0..100, from a seeded generator.
    pub(super) draw: u8,
}

impl Lie {
    fn is_forged(self) -> bool {
        use Lie::{AllOtherIds, Forged, ForgedThenGenuine, GenuineThenForged};
        matches!(
            self,
            AllOtherIds | Forged(_) | ForgedThenGenuine(_) | GenuineThenForged(_)
        )
    }
}

impl Scene<'_> {
    pub(super) fn acts(&self, lie: Lie) -> Vec<Act> {
        let say = |reply: Reply| vec![Act::Say(reply.octets())];
        // A health check is no question that could be answered with a forged address.
        if lie.is_forged() && self.question.rtype != wire::A {
            return vec![];
        }
        let or_silent = |is_said| if is_said { say(self.genuine()) } else { vec![] };
        match lie {
            Lie::Honest => say(self.genuine()),
            Lie::Silent => vec![],
            Lie::Refusing => vec![Act::Close],
            Lie::Late(by) => vec![Act::Pause(by), Act::Say(self.genuine().octets())],
            Lie::Jittering => {
                let by = Duration::from_millis(self.draw.into());
                vec![Act::Pause(by), Act::Say(self.genuine().octets())]
            }
            Lie::Flapping => {
                or_silent((self.elapsed.as_millis() / FLAP.as_millis()).is_multiple_of(2))
            }
            Lie::Losing(share) => or_silent(self.draw >= share),
            Lie::Code(code) => say(self.question.reply(code)),
            Lie::Forged(forgery) => vec![self.forged(forgery)],
            // Whoever knows port and id, but not the case, can forge datagrams alone; asking again is a defense.
            Lie::ForgedThenGenuine(Forgery::Case) if self.transport == Transport::Tcp => {
                say(self.genuine())
            }
            Lie::ForgedThenGenuine(forgery) if self.before > 0 && forgery != Forgery::Case => {
                vec![]
            }
            Lie::ForgedThenGenuine(forgery) => {
                vec![self.forged(forgery), Act::Say(self.genuine().octets())]
            }
            Lie::GenuineThenForged(forgery) => {
                vec![Act::Say(self.genuine().octets()), self.forged(forgery)]
            }
            Lie::AllOtherIds if self.before > 0 => vec![],
            Lie::AllOtherIds => self.all_other_ids(),
            Lie::Datagrams => or_silent(self.transport == Transport::Udp),
            Lie::Truncated if self.transport == Transport::Tcp => say(self.genuine()),
            Lie::Truncated | Lie::AlwaysTruncated => {
                let mut reply = self.question.reply(0);
                reply.flags |= wire::TC;
                say(reply)
            }
            Lie::Dripping(pause) => {
                let drop = |octet| [Act::Raw(vec![octet]), Act::Pause(pause)];
                self.framed().into_iter().flat_map(drop).collect()
            }
            Lie::Closing(after) => vec![Act::Raw(self.framed()[..after].to_vec()), Act::Close],
            Lie::Promising => vec![Act::Raw(vec![0xff, 0xff])],
            Lie::Huge(texts) => {
                let mut reply = self.genuine();
                let filler = Record::filler(&self.question.name);
                reply.sections[0].extend(std::iter::repeat_n(filler, texts.into()));
                say(reply)
            }
            Lie::Lowering => {
                let mut reply = self.genuine();
                reply.questions[0].0.make_ascii_lowercase();
                say(reply)
            }
            Lie::Pointing => say(self.pointing()),
            Lie::Stuffed => say(self.stuffed()),
            Lie::Chain(aliases) => say(self.chain(aliases)),
            Lie::AliasLoop => {
                let (mut reply, name) = (self.question.reply(0), &self.question.name);
                reply.sections[0] = vec![
                    Record::cname(name, "b.test."),
                    Record::cname("b.test.", name),
                ];
                say(reply)
            }
        }
    }

    fn genuine(&self) -> Reply {
        let address = wire::genuine(self.octet, &self.question.name);
        self.question.answer(address)
    }

    fn framed(&self) -> Vec<u8> {
        let message = self.genuine().octets();
        [&(message.len() as u16).to_be_bytes()[..], &message].concat()
    }

    fn forged(&self, forgery: Forgery) -> Act {
        let mut reply = self.question.answer(FORGED);
        let [asked] = reply.questions.as_mut_slice() else {
            unreachable!("it has one question");
        };
        let record_at = 16 + asked.0.len() + 1;
        let pointing = |owner: [u8; 2]| Record::new(&owner, wire::A, &FORGED.octets());
        match forgery {
            Forgery::Id => reply.id ^= 0x0101,
            Forgery::Query => reply.flags &= 0x7fff,
            Forgery::Opcode => reply.flags |= 0x2000,
            Forgery::NoQuestion => reply.questions.clear(),
            Forgery::TwoQuestions => {
                let second = asked.clone();
                reply.questions.push(second);
            }
            Forgery::Name => asked.0.insert(0, 'x'),
            Forgery::Type => asked.1 = 28,
            Forgery::Class => asked.2 = 3,
            Forgery::Case => asked.0 = flipped(&asked.0),
            Forgery::Noise => return Act::Say(vec![0x5a; 100]),
            Forgery::Nothing => return Act::Say(vec![]),
            Forgery::CutHeader => return Act::Say(reply.octets()[..11].to_vec()),
            Forgery::CutRecord => {
                let octets = reply.octets();
                return Act::Say(octets[..record_at + 6].to_vec());
            }
            Forgery::Counts => {
                let mut octets = reply.octets();
                octets[6..12].fill(0xff);
                return Act::Say(octets);
            }
            Forgery::PointsAtItself => {
                let at = record_at as u16 | 0xc000;
                reply.sections[0] = vec![pointing(at.to_be_bytes())];
            }
            Forgery::PointsAhead => reply.sections[0] = vec![pointing([0xff, 0xff])],
            Forgery::PointsInCircles => {
                let (first, second) = (record_at as u16 | 0xc000, (record_at + 2) as u16 | 0xc000);
                let owner = [second.to_be_bytes(), first.to_be_bytes()].concat();
                reply.sections[0] = vec![Record::new(&owner, wire::A, &FORGED.octets())];
            }
            Forgery::DataTooLong => {
                let mut octets = reply.octets();
                // The length of the address, in front of it.
                let at = record_at + self.question.name.len() + 1 + 8;
                octets[at..at + 2].copy_from_slice(&400_u16.to_be_bytes());
                return Act::Say(octets);
            }
            Forgery::FromPort => return Act::SayFrom(Stranger::Port, reply.octets()),
            Forgery::FromAddress => return Act::SayFrom(Stranger::Address, reply.octets()),
        }
        Act::Say(reply.octets())
    }

    fn all_other_ids(&self) -> Vec<Act> {
        let genuine = Act::Say(self.genuine().octets());
        let forged = self.question.answer(FORGED).octets();
        // It leaves more than a second of the time in which a client is answered.
        let flood = Act::SayUnderOtherIds(forged, Duration::from_secs(3));
        // Said more than once, because the buffer may be full of the others.
        let pause = Act::Pause(Duration::from_millis(20));
        let last = std::iter::repeat_n([pause, genuine], 50).flatten();
        std::iter::once(flood).chain(last).collect()
    }

    fn stuffed(&self) -> Reply {
        let mut reply = self.genuine();
        for (section, owner) in reply.sections.iter_mut().zip(["bank.test.", "test.", WEB]) {
            section.push(Record::a(owner, FORGED));
            section.push(Record::ns(owner, "ns.evil.test."));
            section.push(Record::a("ns.evil.test.", FORGED));
            section.push(Record::a("bank.test.", FORGED));
        }
        reply
    }

    fn pointing(&self) -> Reply {
        let mut reply = self.question.reply(0);
        // The question begins behind the header, its second label behind the first; the data of the alias behind
        // its owner, type, class, TTL and length.
        let label = self.question.name.find('.').unwrap_or_default();
        let suffix = (12 + 1 + label) as u16 | 0xc000;
        let target_at = (16 + self.question.name.len() + 1 + 12) as u16 | 0xc000;
        let target = [&[5], &b"alias"[..], &suffix.to_be_bytes()].concat();
        let address = wire::genuine(self.octet, &self.question.name).octets();
        reply.sections[0] = vec![
            Record::new(&[0xc0, 12], wire::CNAME, &target),
            Record::new(&target_at.to_be_bytes(), wire::A, &address),
        ];
        reply
    }

    fn chain(&self, aliases: u16) -> Reply {
        let mut reply = self.question.reply(0);
        let mut owner = self.question.name.clone();
        for nth in 0..aliases {
            let target = format!("alias-{nth}.test.");
            reply.sections[0].push(Record::cname(&owner, &target));
            owner = target;
        }
        let address: Ipv4Addr = wire::genuine(self.octet, &self.question.name);
        reply.sections[0].push(Record::a(&owner, address));
        reply
    }
}

/// A name of the cluster that liars speak of.
pub(super) const WEB: &str = "web.demo.svc.cluster.local.";

/// The name with every letter in the other case.
fn flipped(name: &str) -> String {
    let flip = |letter: char| {
        if letter.is_ascii_lowercase() {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        }
    };
    name.chars().map(flip).collect()
}
