//! Queries to upstreams.

use super::{Name, Query, Type, flag, option};

/// Encodes a query of ours into `out`, which is cleared first: the client's header and question under this id, with the
/// name in the case of `name`, and its OPT record, because what a client says of itself (size, DO, cookie, subnet) is
/// between it and the upstream. What it says of its connection is not, and stays here (RFC 7828 section 3). A query
/// without OPT stays without. AD is set beyond the client's where the answer will be kept.
pub fn query(query: &Query, name: &Name, id: u16, out: &mut Vec<u8>) {
    out.clear();
    let additionals = u16::from(query.edns.is_some());
    let authentic = if query.asks_authentic { flag::AD } else { 0 };
    for part in [id, query.flags | authentic, 1, 0, 0, additionals] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    super::question(name, &query.question, out);
    let Some(edns) = &query.edns else { return };
    out.push(0);
    out.extend_from_slice(&Type::OPT.0.to_be_bytes());
    out.extend_from_slice(&edns.payload.to_be_bytes());
    out.extend_from_slice(&[0, edns.version, if edns.dnssec_ok { 0x80 } else { 0 }, 0]);
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    for (code, data) in edns.options() {
        if code != option::KEEPALIVE {
            out.extend_from_slice(&code.to_be_bytes());
            // They came out of a record, so that their lengths fit again.
            out.extend_from_slice(&(data.len() as u16).to_be_bytes());
            out.extend_from_slice(data);
        }
    }
    let length = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Edns, Transport};

    const WEB: &[u8] = b"\x03wEb\x07example\0\0\x1c\0\x01";

    #[test]
    fn a_query_goes_out_as_it_came_but_for_its_id() {
        for (what, flags, opt) in [
            ("no OPT", 0x0100u16, &b""[..]),
            ("RD, AD and CD", 0x0130, b""),
            (
                "an OPT with a cookie and a subnet",
                0x0100,
                b"\0\0\x29\x04\xd0\0\0\x80\0\0\x17\0\x0a\0\x08cookie!!\0\x08\0\x07\0\x01\x18\0\xc0\0\x02",
            ),
            ("a size below the least", 0, b"\0\0\x29\0\x64\0\0\0\0\0\0"),
        ] {
            let mut packet = vec![0x12, 0x34];
            for word in [flags, 1, 0, 0, u16::from(!opt.is_empty())] {
                packet.extend(word.to_be_bytes());
            }
            packet.extend([WEB, opt].concat());
            let mut asked = Query::empty();
            asked.parse(&packet, Transport::Udp).unwrap();
            let mut out = vec![1, 2, 3];
            query(&asked, &asked.question.asked, 0xbeef, &mut out);
            assert_eq!(out[..2], [0xbe, 0xef], "{what}");
            assert_eq!(out[2..], packet[2..], "{what}");
        }
    }

    #[test]
    fn what_a_client_says_of_its_connection_stays_here() {
        for (what, options, sent) in [
            ("keepalive alone", &b"\0\x0b\0\0"[..], &b""[..]),
            (
                "keepalive among others",
                b"\0\x0a\0\x01a\0\x0b\0\x02\0\x64\0\x08\0\x01b",
                b"\0\x0a\0\x01a\0\x08\0\x01b",
            ),
        ] {
            let mut asked = Query::empty();
            asked.edns = Some(Edns {
                options: options.to_vec(),
                ..Edns::default()
            });
            let mut out = Vec::new();
            query(&asked, &asked.question.asked, 1, &mut out);
            let length = [0, sent.len() as u8];
            assert!(out.ends_with(&[&length, sent].concat()), "{what}: {out:?}");
        }
    }

    #[test]
    fn an_answer_that_will_be_kept_is_asked_for_with_ad() {
        let mut asked = Query::empty();
        asked.asks_authentic = true;
        let mut out = Vec::new();
        query(&asked, &asked.question.asked, 1, &mut out);
        assert_eq!(u16::from_be_bytes([out[2], out[3]]), flag::AD);
    }
}
