//! A plugin for tests of the server: the first label of the name says what shall happen to the query.

use tokio::sync::Semaphore;

use crate::chain::Step;
use crate::dns::reply::Owner;
use crate::dns::{Class, Query, Question, Rcode, Reply, Section, Type};

/// Octets of the one record of a `big` reply; more than a datagram without EDNS holds, less than a string.
const BIG: usize = 40_000;

/// The script, and the gate that queries wait at.
#[derive(Debug)]
pub struct Scripted {
    /// A query that waits takes one permit and keeps it.
    pub(crate) gate: Semaphore,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted {
            gate: Semaphore::new(0),
        }
    }

    pub(crate) fn down(&self, query: &mut Query) -> Step {
        match first_label(query) {
            b"wait" | b"panic-late" => Step::Ask,
            b"panic" => panic!("as the test wants"),
            b"drop" => Step::Drop,
            b"big" => Step::Reply(text(query, BIG)),
            b"rename" => {
                let other = "other.name.".parse().expect("a valid name");
                query.question = Question::new(other, Type::TXT, Class::CH);
                Step::Reply(text(query, 1))
            }
            _ => Step::Next,
        }
    }

    pub(crate) async fn ask(&self, query: &Query) -> Step {
        let permit = self.gate.acquire().await;
        permit.expect("the gate is never closed").forget();
        assert_ne!(first_label(query), b"panic-late", "as the test wants");
        Step::Reply(text(&mut query.clone(), 1))
    }
}

fn first_label(query: &Query) -> &[u8] {
    let wire = query.question.name.wire();
    &wire[1..][..usize::from(wire[0])]
}

fn text(query: &mut Query, size: usize) -> Reply {
    let mut reply = Reply::new(query, Rcode::NOERROR);
    let data = vec![0; size];
    (reply.records).push(Section::Answer, Owner::Asked(0), Type(65280), 5, &[&data]);
    reply
}
