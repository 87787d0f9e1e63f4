//! `POST /explain`: a question, asked of what is served, and all that was decided on the way.

use std::net::SocketAddr;
use std::time::SystemTime;

use super::page::Refused;
use super::words::{
    self, ExplainRequest, Explanation, ExtendedErrorText, ObjectText, RecordText, ReplyText,
    ResourceText, Step,
};
use super::{Listener, Served};
use crate::dns::message::{self, Received};
use crate::dns::reply::Entry;
use crate::dns::{Class, Name, Query, Question, Records, Section, text};
use crate::plugin::Plugin;
use crate::plugin::kubernetes::{MadeObject, MadeOf, MadeResource};
use crate::server;

/// The port that the client is said to have.
const CLIENT_PORT: u16 = 40212;

/// Records of a section, or of an entry of a cache, that are told.
pub(super) const RECORDS_MAX: usize = 256;

pub(super) async fn explain(
    served: &Served,
    asked: ExplainRequest,
) -> Result<Explanation, Refused> {
    let name = words::name(&asked.name)?;
    let rtype = words::rtype(&asked.rtype)?;
    let question = Question::new(name, rtype, Class::IN);
    let listener = listener(served, &asked, &question)?;
    let client = SocketAddr::new(asked.from, CLIENT_PORT);
    let explained =
        server::explain(listener.router.clone(), question, client, listener.bound).await;
    let made_of = made_of(listener, &question).await;
    let steps = explained.notes.notes.into_iter().map(|note| Step {
        after_us: micros(note.after),
        depth: note.depth,
        by: note.by.to_owned(),
        verdict: note.verdict.as_str().to_owned(),
        words: note.words,
    });
    Ok(Explanation {
        name: name.to_string(),
        rtype: rtype.to_string(),
        from: asked.from,
        server: listener.address.to_string(),
        zone: explained.zone.map(|zone| zone.to_string()),
        steps: steps.collect(),
        steps_left_out: explained.notes.left_out,
        objects: made_of.objects.iter().map(object).collect(),
        resources: made_of.resources.iter().map(resource).collect(),
        reply: reply(&explained.reply, question),
        elapsed_us: micros(explained.elapsed),
    })
}

/// What the first stanza that has the name makes its answers of.
async fn made_of(listener: &Listener, question: &Question) -> MadeOf {
    let chain = listener.router.route(question);
    let plugins = chain.into_iter().flat_map(|chain| chain.plugins());
    for plugin in plugins {
        if let Plugin::Kubernetes(kubernetes) = plugin {
            return kubernetes.made_of(&question.name).await;
        }
    }
    MadeOf::default()
}

fn object(object: &MadeObject) -> ObjectText {
    ObjectText {
        resource: object.resource.to_string(),
        service: object.service.clone(),
        resource_version: object.version,
        age: age(object.told),
    }
}

fn resource(resource: &MadeResource) -> ResourceText {
    ResourceText {
        resource: resource.resource.to_string(),
        resource_version: resource.version.to_string(),
        heard: resource.heard.map(age),
    }
}

/// Seconds since then; none, if the clock was set back.
fn age(then: SystemTime) -> u64 {
    let since = SystemTime::now().duration_since(then);
    since.unwrap_or_default().as_secs()
}

/// The listener that is meant: the only one, or the only one that has a zone for the question.
fn listener<'a>(
    served: &'a Served,
    asked: &ExplainRequest,
    question: &Question,
) -> Result<&'a Listener, Refused> {
    let is_meant = |listener: &&Listener| {
        let address = listener.address;
        let port = address.port == 0 && asked.port == Some(listener.bound.port())
            || asked.port.is_none_or(|port| port == address.port);
        port && asked
            .server
            .is_none_or(|ip| address.ip.is_none_or(|own| own == ip))
    };
    let meant: Vec<&Listener> = served.listeners.iter().filter(is_meant).collect();
    let answering = || {
        let mut answering = meant
            .iter()
            .filter(|listener| listener.router.route(question).is_some());
        answering.next().filter(|_| answering.next().is_none())
    };
    match meant.as_slice() {
        [] => Err(format!(
            "no such listener; there are {}",
            addresses(&served.listeners.iter().collect::<Vec<_>>())
        )),
        [only] => Ok(only),
        several => answering().copied().ok_or_else(|| {
            format!(
                "several listeners may be asked: {}; say which with --port or --server",
                addresses(several)
            )
        }),
    }
}

fn addresses(listeners: &[&Listener]) -> String {
    let addresses = listeners
        .iter()
        .map(|listener| listener.address.to_string());
    addresses.collect::<Vec<_>>().join(", ")
}

/// The message that the client would have, read as it would read it.
fn reply(octets: &[u8], question: Question) -> Option<ReplyText> {
    let head = Received::parse(octets).ok()?;
    let mut query = Query::empty();
    query.question = question;
    let reply = message::decode(octets, &head, &mut query).ok()?;
    let section = |section| records(&reply.records, &question.asked, section);
    let errors = text::extended_errors(reply.options.as_deref().unwrap_or_default());
    Some(ReplyText {
        rcode: reply.rcode.to_string(),
        flags: text::flags(reply.flags),
        octets: octets.len(),
        answer: section(Section::Answer),
        authority: section(Section::Authority),
        additional: section(Section::Additional),
        extended_errors: errors
            .into_iter()
            .map(|(code, text)| ExtendedErrorText { code, text })
            .collect(),
    })
}

fn records(records: &Records, asked: &Name, section: Section) -> Vec<RecordText> {
    let entries = records.entries().iter();
    let entries = entries.filter(|entry| entry.section == section);
    entries
        .take(RECORDS_MAX)
        .map(|entry| record(records, entry, asked, entry.ttl))
        .collect()
}

/// A record as text, with this TTL.
pub(super) fn record(records: &Records, entry: &Entry, asked: &Name, ttl: u32) -> RecordText {
    let owner = Name::read(records.owner_wire(entry, asked), 0);
    RecordText {
        name: owner.map(|(name, _)| name).unwrap_or_default().to_string(),
        ttl,
        class: entry.class.to_string(),
        rtype: entry.rtype.to_string(),
        data: text::rdata(entry.rtype, records.rdata(entry)),
    }
}

fn micros(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
