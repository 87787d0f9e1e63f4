//! A query, parsed once into a struct that cannot be malformed.
//!
//! [`Query::parse`] fills a reused struct, so that a query costs no allocation once its buffers are warm. What
//! is wrong with a packet is said by [`Reject`]; its rules are those of the library under CoreDNS, which our
//! users' clients have met: which counts are believed, what is answered and what is met with silence.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::edns::{self, Edns};
use super::name::Name;
use super::rdata;
use super::reply::Records;
use super::rr::{Class, Rcode, Type};

/// Octets of a message header (RFC 1035 section 4.1.1).
pub const HEADER_LEN: usize = 12;
/// What a client without EDNS can take over UDP (RFC 1035 section 4.2.1).
pub const UDP_PAYLOAD_MIN: u16 = 512;

/// Bits of the second word of the header (RFC 1035 section 4.1.1, RFC 4035 section 3).
pub mod flag {
    /// Response.
    pub const QR: u16 = 1 << 15;
    /// Authoritative answer.
    pub const AA: u16 = 1 << 10;
    /// Truncated.
    pub const TC: u16 = 1 << 9;
    /// Recursion desired.
    pub const RD: u16 = 1 << 8;
    /// Recursion available.
    pub const RA: u16 = 1 << 7;
    /// Authentic data.
    pub const AD: u16 = 1 << 5;
    /// Checking disabled.
    pub const CD: u16 = 1 << 4;
}

/// Opcodes that we answer; all others are not implemented.
pub mod opcode {
    /// A standard query.
    pub const QUERY: u8 = 0;
    /// A zone change notification (RFC 1996).
    pub const NOTIFY: u8 = 4;
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams; the reply must fit the client's buffer.
    Udp,
    /// A stream; the reply may have 65,535 octets.
    Tcp,
}

impl Transport {
    /// As logs and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The name in the case in which it was asked, which is the case of the answer.
    pub asked: Name,
    /// The name in lower case: the look-up key.
    pub name: Name,
    /// The type.
    pub rtype: Type,
    /// The class.
    pub class: Class,
}

impl Question {
    /// A question for this name.
    pub fn new(asked: Name, rtype: Type, class: Class) -> Question {
        Question {
            asked,
            name: asked.lower(),
            rtype,
            class,
        }
    }
}

/// A well-formed query with exactly one question.
#[derive(Debug, Clone)]
pub struct Query {
    /// The client's id.
    pub id: u16,
    /// The header's second word as sent.
    pub flags: u16,
    /// What is asked; plugins that change it for those below do so by [`Query::rewrite`].
    pub question: Question,
    /// What the client asked, once somebody has changed the question: the copy of 512 octets is theirs to pay.
    asked_first: Option<Box<Question>>,
    /// The OPT record, if there was one.
    pub edns: Option<Edns>,
    /// Who asks.
    pub client: SocketAddr,
    /// The address that was asked.
    pub server: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// Octets of the packet.
    pub size: usize,
    /// When it came. Packets read in one batch share it, so that a known answer costs no look at the clock.
    pub received: Instant,
    /// Over TCP, how long an idle connection of the client is kept, in units of 100 ms; clients that ask are told
    /// (RFC 7828). 0 asks for its end, and all clients with EDNS are told. The caller's to set, as the addresses are.
    pub keepalive: Option<u16>,
    /// Whether an upstream is to be asked whether its data is authentic (AD, RFC 6840 section 5.7) though the
    /// client did not: an answer that is kept must also serve those who do.
    pub asks_authentic: bool,
    /// Whether no client waits: a plugin asks for its own sake, and over what it goes upstream is for `forward` to say.
    pub is_background: bool,
    /// Buffers for the reply, kept from the query before.
    spare: Records,
    /// A buffer for EDNS options, kept likewise.
    spare_options: Vec<u8>,
}

/// A packet that is not answered by the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// Not worth a reply: it is a response, or no message at all.
    Silence,
    /// Answered by a header with this rcode and, where it could be read, the question.
    Reply {
        /// The code.
        rcode: Rcode,
        /// Whether `Query::question` holds the question.
        with_question: bool,
        /// The opcode of the reply.
        opcode: u8,
        /// The bits of the query's header that come back.
        flags: u16,
    },
}

impl Query {
    /// A struct to parse into.
    pub fn empty() -> Query {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Query {
            id: 0,
            flags: 0,
            question: Question::new(Name::root(), Type(0), Class::IN),
            asked_first: None,
            edns: None,
            client: nowhere,
            server: nowhere,
            transport: Transport::Udp,
            size: 0,
            received: Instant::now(),
            keepalive: None,
            asks_authentic: false,
            is_background: false,
            spare: Records::default(),
            spare_options: Vec::new(),
        }
    }

    /// Reads a packet into this struct. The addresses and the time are the caller's to set.
    pub fn parse(&mut self, packet: &[u8], transport: Transport) -> Result<(), Reject> {
        let Some(header) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(Reject::Silence);
        };
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        self.id = word(0);
        self.flags = word(2);
        self.transport = transport;
        self.size = packet.len();
        self.asks_authentic = false;
        self.is_background = false;
        self.asked_first = None;
        if let Some(edns) = self.edns.take() {
            self.spare_options = edns.options;
        }
        if self.flags & flag::QR != 0 {
            return Err(Reject::Silence);
        }
        if !matches!(self.opcode(), opcode::QUERY | opcode::NOTIFY) {
            return Err(self.rejection(Rcode::NOTIMP, false));
        }
        // A NOTIFY may carry a SOA in the answer (RFC 1996 section 3.7), an IXFR one in the authority (RFC 1995
        // section 3), and OPT and TSIG stand in the additional section.
        let [questions, answers, authorities, additionals] = [word(4), word(6), word(8), word(10)];
        if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
            return Err(self.rejection(Rcode::FORMERR, false));
        }
        if packet.len() == HEADER_LEN {
            // CoreDNS takes a bare header for a message without a question, and has no answer to that.
            let flags = self.flags & (flag::RD | flag::CD);
            return Err(Reject::Reply {
                rcode: Rcode::SERVFAIL,
                with_question: false,
                opcode: self.opcode(),
                flags,
            });
        }
        let Some(mut at) = self.read_question(packet) else {
            return Err(self.rejection(Rcode::FORMERR, false));
        };
        let records = usize::from(answers) + usize::from(authorities) + usize::from(additionals);
        for index in 0..records {
            if at == packet.len() {
                // Counts that promise more than there is are not believed.
                break;
            }
            let additional = index >= usize::from(answers) + usize::from(authorities);
            at = self
                .read_record(packet, at, additional)
                .ok_or_else(|| self.rejection(Rcode::FORMERR, true))?;
        }
        Ok(())
    }

    /// Asks something else of those below. The client is answered its own question.
    pub fn rewrite(&mut self, question: Question) {
        let before = std::mem::replace(&mut self.question, question);
        self.asked_first.get_or_insert_with(|| Box::new(before));
    }

    /// Asks what the client asked, whatever became of it.
    #[inline]
    pub fn restore_question(&mut self) {
        if let Some(asked) = self.asked_first.take() {
            self.question = *asked;
        }
    }

    /// The opcode.
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    /// The bits of the header that every reply made here repeats: RD and CD, of a standard query.
    pub fn repeated_flags(&self) -> u16 {
        if self.opcode() == opcode::QUERY {
            self.flags & (flag::RD | flag::CD)
        } else {
            0
        }
    }

    /// Whether the client set DNSSEC OK.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.as_ref().is_some_and(|edns| edns.dnssec_ok)
    }

    /// The most octets of a reply.
    pub fn reply_max(&self) -> usize {
        match (self.transport, &self.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, None) => usize::from(UDP_PAYLOAD_MIN),
            // RFC 6891 section 6.2.3: values below 512 mean 512.
            (Transport::Udp, Some(edns)) => usize::from(edns.payload.max(UDP_PAYLOAD_MIN)),
        }
    }

    /// Takes the buffers for the records of a reply; they are empty and usually warm.
    pub fn take_records(&mut self) -> Records {
        std::mem::take(&mut self.spare)
    }

    /// Gives the buffers of a sent reply back.
    pub fn recycle(&mut self, mut records: Records) {
        records.clear();
        self.spare = records;
    }

    fn rejection(&self, rcode: Rcode, with_question: bool) -> Reject {
        // The query's own opcode comes back only with NOTIMP; all flags but AA and Z do.
        let opcode = if rcode == Rcode::NOTIMP {
            self.opcode()
        } else {
            opcode::QUERY
        };
        let flags = self.flags & (flag::TC | flag::RD | flag::RA | flag::AD | flag::CD);
        Reject::Reply {
            rcode,
            with_question,
            opcode,
            flags,
        }
    }

    /// Reads the question; a message that ends behind the name or the type asks for type or class 0.
    fn read_question(&mut self, packet: &[u8]) -> Option<usize> {
        let question = &mut self.question;
        let mut at = question.asked.read_from(packet, HEADER_LEN).ok()?;
        question.name.set_lower(&question.asked);
        let mut number = || -> Option<u16> {
            if at == packet.len() {
                return Some(0);
            }
            let value = u16_at(packet, at)?;
            at += 2;
            Some(value)
        };
        (question.rtype, question.class) = (Type(number()?), Class(number()?));
        Some(at)
    }

    /// Reads a record that a query may carry; only OPT in the additional section matters, the rest is checked.
    fn read_record(&mut self, packet: &[u8], at: usize, additional: bool) -> Option<usize> {
        let (_, at) = Name::read(packet, at).ok()?;
        let fixed = packet.get(at..at + 10)?;
        let rtype = Type(u16_at(fixed, 0)?);
        let (start, end) = (at + 10, at + 10 + usize::from(u16_at(fixed, 8)?));
        let data = packet.get(start..end)?;
        if rtype == Type::OPT {
            if !edns::well_formed(data) {
                return None;
            }
            if additional {
                self.set_edns(
                    u16_at(fixed, 2)?,
                    [fixed[4], fixed[5], fixed[6], fixed[7]],
                    data,
                );
            }
        } else {
            rdata::expand(packet, start, end, rtype, &mut Vec::new()).ok()?;
        }
        Some(end)
    }

    /// Of several OPT records the last counts.
    fn set_edns(&mut self, payload: u16, ttl: [u8; 4], data: &[u8]) {
        let mut options = std::mem::take(&mut self.spare_options);
        options.clear();
        options.extend_from_slice(data);
        let [_, version, flags, _] = ttl;
        self.edns = Some(Edns {
            version,
            payload,
            dnssec_ok: flags & 0x80 != 0,
            options,
        });
    }
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets
        .get(at..at + 2)
        .map(|b| u16::from_be_bytes([b[0], b[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &[u8] = b"\x03wEb\x04demo\0\0\x01\0\x01";

    fn packet(flags: u16, counts: [u16; 4], body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34];
        packet.extend(flags.to_be_bytes());
        packet.extend(counts.iter().flat_map(|c| c.to_be_bytes()));
        packet.extend(body);
        packet
    }

    fn parse(packet: &[u8]) -> Result<Query, Reject> {
        let mut query = Query::empty();
        query.parse(packet, Transport::Udp).map(|()| query)
    }

    #[test]
    fn a_query_keeps_the_case_asked_beside_its_key() {
        let query = parse(&packet(flag::RD, [1, 0, 0, 0], WEB)).unwrap();
        assert_eq!(query.question.asked.wire(), b"\x03wEb\x04demo\0");
        assert_eq!(query.question.name.wire(), b"\x03web\x04demo\0");
        assert_eq!(
            (query.id, query.question.rtype, query.question.class),
            (0x1234, Type::A, Class::IN)
        );
        assert_eq!(query.reply_max(), 512);
    }

    #[test]
    fn what_is_no_query_is_rejected_as_its_fault_deserves() {
        let formerr = |with_question| Some((Rcode::FORMERR, with_question, opcode::QUERY));
        let body = |tail: &[u8]| [WEB, tail].concat();
        for (fault, packet, expected) in [
            ("a short header", b"\x12\x34\x01\0\0".to_vec(), None),
            ("a response", packet(flag::QR, [1, 0, 0, 0], WEB), None),
            (
                "an update",
                packet(5 << 11, [1, 0, 0, 0], WEB),
                Some((Rcode::NOTIMP, false, 5)),
            ),
            ("no question", packet(0, [0, 0, 0, 0], b""), formerr(false)),
            (
                "two questions",
                packet(0, [2, 0, 0, 0], &body(WEB)),
                formerr(false),
            ),
            (
                "three additionals",
                packet(0, [1, 0, 0, 3], WEB),
                formerr(false),
            ),
            (
                "a question that is not there",
                packet(0, [1, 0, 0, 0], b""),
                Some((Rcode::SERVFAIL, false, 0)),
            ),
            (
                "a name that is cut",
                packet(0, [1, 0, 0, 0], b"\x03we"),
                formerr(false),
            ),
            (
                "a type that is cut",
                packet(0, [1, 0, 0, 0], b"\x03web\0\0"),
                formerr(false),
            ),
            (
                "an OPT that is cut",
                packet(0, [1, 0, 0, 1], &body(b"\0\0\x29\x04\xd0\0\0\0\0\0\x32")),
                formerr(true),
            ),
            (
                "a bad option",
                packet(
                    0,
                    [1, 0, 0, 1],
                    &body(b"\0\0\x29\x04\xd0\0\0\0\0\0\x03\0\x0a\0"),
                ),
                formerr(true),
            ),
            (
                "an address of no octets but one",
                packet(0, [1, 1, 0, 0], &body(b"\0\0\x01\0\x01\0\0\0\0\0\x01x")),
                formerr(true),
            ),
        ] {
            let got = match parse(&packet) {
                Err(Reject::Silence) => None,
                Err(Reject::Reply {
                    rcode,
                    with_question,
                    opcode,
                    ..
                }) => Some((rcode, with_question, opcode)),
                Ok(_) => panic!("{fault}: accepted"),
            };
            assert_eq!(got, expected, "{fault}");
        }
    }

    #[test]
    fn counts_without_records_and_octets_behind_the_end_are_forgiven() {
        for (what, packet) in [
            ("an answer that is not there", packet(0, [1, 1, 0, 0], WEB)),
            (
                "junk behind the question",
                packet(0, [1, 0, 0, 0], &[WEB, b"junk"].concat()),
            ),
            (
                "nothing behind the name",
                packet(0, [1, 0, 0, 0], b"\x03web\0"),
            ),
        ] {
            assert!(parse(&packet).is_ok(), "{what}");
        }
    }

    #[test]
    fn the_last_of_two_opt_records_counts_and_its_buffer_is_reused() {
        let opt = |payload: u8| {
            [
                b"\0\0\x29\x04",
                &[payload][..],
                b"\0\0\x80\0\0\x04\0\x0a\0\0",
            ]
            .concat()
        };
        let two = packet(0, [1, 0, 0, 2], &[WEB, &opt(1), &opt(2)].concat());
        let mut query = Query::empty();
        query.parse(&two, Transport::Udp).unwrap();
        let edns = query.edns.clone().unwrap();
        assert_eq!(
            (edns.payload, edns.dnssec_ok, edns.version),
            (0x402, true, 0)
        );
        query
            .parse(&packet(0, [1, 0, 0, 0], WEB), Transport::Udp)
            .unwrap();
        assert_eq!(query.edns, None);
    }
}
