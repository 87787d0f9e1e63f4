//! A packet → the packet that answers it, if any.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType, rdata::TXT},
};

use super::zone::{End, Outcome, Zone};

/// What the server says of its own identity.
const IDENTITY: &str = "vm";

/// The size of datagrams that it takes.
const UDP_SIZE: u16 = 1232;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// The reply to a packet; None where it is no query.
pub(super) fn reply(zone: &Zone, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.queries = query.queries.clone();
    if let Some(asked) = &query.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_SIZE);
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        reply.edns = Some(edns);
    }
    match (query.metadata.op_code, query.queries.as_slice()) {
        (OpCode::Query, [question]) => answer(zone, question, &mut reply),
        (OpCode::Query, _) => reply.metadata.response_code = ResponseCode::FormErr,
        _ => reply.metadata.response_code = ResponseCode::NotImp,
    }
    let size = match (transport, &query.edns) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => edns.max_payload().max(512),
    };
    Some(fitted(reply, usize::from(size)))
}

fn answer(zone: &Zone, question: &Query, reply: &mut Message) {
    let (name, rtype) = (question.name(), question.query_type());
    let found = match question.query_class() {
        DNSClass::IN => zone.find(name, rtype),
        DNSClass::CH if rtype == RecordType::TXT && asks_identity(name) => {
            reply.answers = vec![identity(name)];
            return;
        }
        _ => Outcome::Outside,
    };
    let Outcome::Found { answers, end } = found else {
        reply.metadata.response_code = ResponseCode::Refused;
        return;
    };
    reply.metadata.authoritative = true;
    match end {
        End::Records => reply.additionals = zone.glue(&answers),
        End::NoData => reply.authorities = zone.authority(),
        End::NoName => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            reply.authorities = zone.authority();
        }
    }
    reply.answers = answers;
}

fn asks_identity(name: &Name) -> bool {
    let name = name.to_ascii().to_ascii_lowercase();
    name == "hostname.bind." || name == "id.server."
}

fn identity(name: &Name) -> Record {
    let text = RData::TXT(TXT::new(vec![IDENTITY.to_owned()]));
    let mut record = Record::from_rdata(name.clone(), 0, text);
    record.dns_class = DNSClass::CH;
    record
}

/// The message in wire form; without its records and with TC where they do not fit.
fn fitted(mut reply: Message, size: usize) -> Vec<u8> {
    let whole = encoded(&reply);
    if whole.len() <= size {
        return whole;
    }
    reply.metadata.truncation = true;
    reply.answers.clear();
    reply.authorities.clear();
    reply.additionals.clear();
    encoded(&reply)
}

fn encoded(reply: &Message) -> Vec<u8> {
    reply.to_vec().expect("a test's zone fits into a message")
}
