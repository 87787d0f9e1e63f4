//! A plugin for tests of the server: the first label of the name says what shall happen to the query.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::chain::{Failure, Reason, Step};
use crate::dns::reply::Owner;
use crate::dns::{Class, Query, Question, Rcode, Reply, Section, Type};

/// Octets of the one record of a `big` reply; more than a datagram without EDNS holds, less than a string.
const BIG: usize = 40_000;

/// The script, and the gate that queries wait at.
#[derive(Debug)]
pub struct Scripted {
    /// A query that waits takes one permit and keeps it.
    pub(crate) gate: Semaphore,
    /// What is said to queries for names that begin with `told`, in this order, and after how long.
    pub(crate) told: Mutex<VecDeque<(Duration, Said)>>,
    /// The queries for such names.
    pub(crate) asked: Mutex<Vec<Query>>,
}

/// What may be said to a query.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    /// 192.0.2.n, for 30 seconds.
    Address(u8),
    /// That there is no such name, for 30 seconds.
    Denied,
    /// This code and nothing else.
    Code(Rcode),
    /// That nobody could be asked.
    Failed(Reason),
    /// Nothing, ever.
    Silence,
}

impl Scripted {
    pub(crate) fn new() -> Scripted {
        Scripted {
            gate: Semaphore::new(0),
            told: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// What those who ask next are told.
    pub(crate) fn tell(&self, after: Duration, said: Said) {
        self.told.lock().unwrap().push_back((after, said));
    }

    async fn told(&self, query: &Query) -> Step {
        self.asked.lock().unwrap().push(query.clone());
        let next = self.told.lock().unwrap().pop_front();
        let (after, said) = next.expect("the test says what is said");
        tokio::time::sleep(after).await;
        let mut query = query.clone();
        let mut reply = |rcode| Reply::new(&mut query, rcode);
        let mut record = |rcode, section, rtype, data: &[u8]| {
            let mut reply = reply(rcode);
            (reply.records).push(section, Owner::Asked(0), rtype, 30, &[data]);
            Step::Reply(reply)
        };
        match said {
            Said::Address(n) => record(Rcode::NOERROR, Section::Answer, Type::A, &[192, 0, 2, n]),
            Said::Denied => record(Rcode::NXDOMAIN, Section::Authority, Type::SOA, &[0; 22]),
            Said::Code(rcode) => Step::Reply(reply(rcode)),
            Said::Failed(reason) => Step::Fail(Failure { by: None, reason }),
            Said::Silence => std::future::pending().await,
        }
    }

    pub(crate) fn down(&self, query: &mut Query) -> Step {
        match first_label(query) {
            b"wait" | b"panic-late" | b"told" => Step::Ask,
            b"panic" => panic!("as the test wants"),
            b"drop" => Step::Drop,
            b"big" => Step::Reply(text(query, BIG)),
            b"rename" => {
                let other = "other.name.".parse().expect("a valid name");
                query.rewrite(Question::new(other, Type::TXT, Class::CH));
                Step::Reply(text(query, 1))
            }
            _ => Step::Next,
        }
    }

    pub(crate) async fn ask(&self, query: &Query) -> Step {
        if first_label(query) == b"told" {
            return self.told(query).await;
        }
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
