//! Received messages: what an upstream said, as a [`Reply`] that the chain can change.
//!
//! Nothing of a received message is believed that was not checked: that it answers the question asked is the
//! caller's [`Received::answers`], that it is well-formed is ours.

use super::edns;
use super::name::{Name, NameError};
use super::query::{HEADER_LEN, Query, Question, flag};
use super::rdata::{self, RdataError};
use super::reply::{Owner, Records, Reply, Section};
use super::rr::{Class, Rcode, Type};

/// The most octets that the records of a message may have with their names in full. A message of 65,535 octets that is
/// not made to be large has less than four times as many.
const EXPANDED_MAX: usize = 4 * 65_535;

/// A response as it was received: header and question.
#[derive(Debug, Clone)]
pub struct Received {
    /// The id.
    pub id: u16,
    /// The header's second word.
    pub flags: u16,
    /// The question, if there is exactly one.
    pub question: Option<Question>,
    counts: [u16; 3],
    records_at: usize,
}

/// Why octets are no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The message ends before its header or a record does.
    #[error("message is cut off")]
    Cut,
    /// It is a query.
    #[error("message is no response")]
    NotResponse,
    /// A name is broken.
    #[error("{0}")]
    Name(#[from] NameError),
    /// The data of a record is broken.
    #[error("{0}")]
    Rdata(#[from] RdataError),
    /// It repeats more than one question.
    #[error("message has several questions")]
    Questions,
    /// Its names in full are out of proportion.
    #[error("message is too large when its names are expanded")]
    Expanded,
    /// The OPT record holds something that is no option.
    #[error("malformed EDNS option")]
    Option,
}

impl Received {
    /// Reads header and question.
    pub fn parse(message: &[u8]) -> Result<Received, MessageError> {
        let header = message
            .first_chunk::<HEADER_LEN>()
            .ok_or(MessageError::Cut)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if word(2) & flag::QR == 0 {
            return Err(MessageError::NotResponse);
        }
        let mut received = Received {
            id: word(0),
            flags: word(2),
            question: None,
            counts: [word(6), word(8), word(10)],
            records_at: HEADER_LEN,
        };
        if word(4) > 1 {
            return Err(MessageError::Questions);
        }
        for _ in 0..word(4) {
            let (asked, at) = Name::read(message, received.records_at)?;
            let fixed = message.get(at..at + 4).ok_or(MessageError::Cut)?;
            let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
            received.question = Some(Question::new(asked, Type(number(0)), Class(number(2))));
            received.records_at = at + 4;
        }
        Ok(received)
    }

    /// Whether this is a response to the question, in any case (RFC 5452 section 9.1).
    pub fn answers(&self, question: &Question) -> bool {
        self.question.is_some_and(|got| {
            got.name == question.name && got.rtype == question.rtype && got.class == question.class
        })
    }

    /// Makes the question of `message`, of which this is the head, that of a client who asked for the same name in
    /// another case: names that point to it are then in that case.
    pub fn put_case(&self, message: &mut [u8], asked: &Name) {
        let repeated = HEADER_LEN..HEADER_LEN + asked.wire().len();
        if self.question.is_some_and(|got| got.name == *asked)
            && let Some(name) = message.get_mut(repeated)
            // A question may itself be compressed, to the root at least.
            && name.eq_ignore_ascii_case(asked.wire())
        {
            name.copy_from_slice(asked.wire());
        }
    }

    /// The response code in the header; the bits in OPT are read with the records.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.flags & 0xf)
    }

    /// The opcode.
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    /// The reply that the header alone makes, with these buffers.
    pub fn empty_reply(&self, records: Records) -> Reply {
        Reply {
            rcode: self.rcode(),
            flags: self.flags & (flag::AA | flag::TC | flag::RD | flag::RA | flag::AD | flag::CD),
            records,
            options: None,
            error: None,
        }
    }

    /// Whether the response was cut to fit a datagram.
    pub fn is_truncated(&self) -> bool {
        self.flags & flag::TC != 0
    }
}

/// Reads the whole of a response, of which [`Received::parse`] gave the head, into a reply to `query`.
pub fn decode(message: &[u8], head: &Received, query: &mut Query) -> Result<Reply, MessageError> {
    let records = query.take_records();
    let asked = &query.question.asked;
    decode_into(message, head, asked, asked, records)
}

/// Likewise, as a reply to a question for `asked` that was sent in the case of `sent`, with these buffers, which are
/// empty.
pub fn decode_into(
    message: &[u8],
    head: &Received,
    asked: &Name,
    sent: &Name,
    records: Records,
) -> Result<Reply, MessageError> {
    let mut reply = head.empty_reply(records);
    let mut at = head.records_at;
    for (section, count) in [Section::Answer, Section::Authority, Section::Additional]
        .into_iter()
        .zip(head.counts)
    {
        for _ in 0..count {
            at = record(message, at, section, [asked, sent], &mut reply)?;
            if reply.records.octets() > EXPANDED_MAX {
                return Err(MessageError::Expanded);
            }
        }
    }
    Ok(reply)
}

fn record(
    message: &[u8],
    at: usize,
    section: Section,
    [asked, sent]: [&Name; 2],
    reply: &mut Reply,
) -> Result<usize, MessageError> {
    let (owner, at) = Name::read(message, at)?;
    let fixed = message
        .get(at..)
        .and_then(|rest| rest.first_chunk::<10>())
        .ok_or(MessageError::Cut)?;
    let [type1, type2, class1, class2, ttl @ .., len1, len2] = *fixed;
    let (rtype, class) = (
        Type(u16::from_be_bytes([type1, type2])),
        Class(u16::from_be_bytes([class1, class2])),
    );
    let (start, end) = (
        at + 10,
        at + 10 + usize::from(u16::from_be_bytes([len1, len2])),
    );
    if end > message.len() {
        return Err(MessageError::Cut);
    }
    if rtype == Type::OPT {
        let options = &message[start..end];
        if !edns::well_formed(options) {
            return Err(MessageError::Option);
        }
        reply.rcode = Rcode(u16::from(ttl[0]) << 4 | u16::from(reply.rcode.header_bits()));
        reply.options = Some(options.to_vec());
        return Ok(end);
    }
    let records: &mut Records = &mut reply.records;
    let owner = match sent.offset_of(&owner) {
        // It repeats what it was sent, without a pointer: so it is the name asked.
        Some(at) if sent.wire()[at..] == *owner.wire() => Owner::Asked(at as u8),
        _ => records.owner_of(&owner, asked),
    };
    let head = (section, owner, rtype, class, u32::from_be_bytes(ttl));
    if !records.try_push(head, |out| rdata::expand(message, start, end, rtype, out))? {
        return Err(MessageError::Rdata(RdataError::Length));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::encode;

    fn query(name: &str) -> Query {
        let mut query = Query::empty();
        query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
        query.transport = crate::dns::Transport::Tcp;
        query
    }

    fn encoded(query: &mut Query) -> Vec<u8> {
        let mut reply = Reply::new(query, Rcode::NOERROR);
        reply.records.push(
            Section::Answer,
            Owner::Asked(0),
            Type::CNAME,
            60,
            &[b"\x01b\x07example\0"],
        );
        let owner = reply.records.owner(&[b"\x01b\x07example\0"]);
        reply
            .records
            .push(Section::Answer, owner, Type::A, 60, &[&[192, 0, 2, 1]]);
        reply.records.push(
            Section::Authority,
            Owner::Asked(2),
            Type::SOA,
            60,
            &[b"\0\0", &[7; 20]],
        );
        let mut out = Vec::new();
        encode::reply(query, &reply, &mut out);
        out
    }

    #[test]
    fn a_message_that_was_decoded_encodes_to_the_same_records() {
        let mut query = query("a.example.");
        let message = encoded(&mut query);
        let head = Received::parse(&message).unwrap();
        assert!(head.answers(&query.question));
        let reply = decode(&message, &head, &mut query).unwrap();
        let mut again = Vec::new();
        encode::reply(&query, &reply, &mut again);
        assert_eq!(again, message);
    }

    #[test]
    fn a_message_cut_anywhere_is_an_error_and_never_a_panic() {
        let mut query = query("a.example.");
        let message = encoded(&mut query);
        for len in 0..message.len() {
            let cut = &message[..len];
            let whole = Received::parse(cut).and_then(|head| decode(cut, &head, &mut query));
            assert!(whole.is_err(), "cut at {len}");
        }
    }

    #[test]
    fn a_response_answers_only_the_question_that_was_asked() {
        let mut asked = query("a.example.");
        let message = encoded(&mut asked);
        let head = Received::parse(&message).unwrap();
        for (what, question, expected) in [
            (
                "another case",
                Question::new("A.eXample.".parse().unwrap(), Type::A, Class::IN),
                true,
            ),
            (
                "another name",
                Question::new("b.example.".parse().unwrap(), Type::A, Class::IN),
                false,
            ),
            (
                "another type",
                Question::new("a.example.".parse().unwrap(), Type::AAAA, Class::IN),
                false,
            ),
            (
                "another class",
                Question::new("a.example.".parse().unwrap(), Type::A, Class::CH),
                false,
            ),
        ] {
            assert_eq!(head.answers(&question), expected, "{what}");
        }
    }

    #[test]
    fn names_come_back_in_the_case_of_the_client_whatever_the_case_sent() {
        let asked = query("Www.Example.");
        let sent: Name = "wWW.eXAMPLE.".parse().unwrap();
        let mut message = b"\0\0\x80\0\0\x01\0\x04\0\0\0\0".to_vec();
        message.extend([sent.wire(), b"\0\x01\0\x01"].concat());
        let owners: [&[u8]; 4] = [b"\xc0\x0c", sent.wire(), b"\xc0\x10", b"\x01X\xc0\x10"];
        for owner in owners {
            message.extend([owner, b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x07"].concat());
        }
        let head = Received::parse(&message).unwrap();
        let client = asked.question.asked;
        head.put_case(&mut message, &client);
        let reply = decode_into(&message, &head, &client, &sent, Records::default()).unwrap();
        let entries = reply.records.entries();
        let owners: Vec<&[u8]> = entries
            .iter()
            .map(|entry| reply.records.owner_wire(entry, &client))
            .collect();
        let expected: [&[u8]; 4] = [
            client.wire(),
            client.wire(),
            b"\x07Example\0",
            b"\x01X\x07Example\0",
        ];
        assert_eq!(owners, expected);
        let mut out = Vec::new();
        encode::reply(&asked, &reply, &mut out);
        assert!(out[HEADER_LEN..].starts_with(client.wire()), "the question");
    }
}
