//! What a source says, in a few words.

use crate::cluster::object::{Audited, Event};

pub(super) fn brief(event: Event) -> String {
    match event {
        Event::ListStarted(_) => "started".to_owned(),
        Event::Applied(object) => format!("applied {}", object.metadata().name),
        Event::Deleted(object) => format!("deleted {}", object.metadata().name),
        Event::Listed(_) => "listed".to_owned(),
        Event::Current(_) => "current".to_owned(),
        Event::Away(_) => "away".to_owned(),
        Event::Reached(_, version) => format!("reached {version}"),
        Event::Unreadable(object) => format!("unreadable {}", object.metadata().name),
        Event::Audited(_, number, audited) => format!("{number}: {}", brief_audited(audited)),
        Event::Trouble(_, trouble) => format!("trouble {trouble}"),
    }
}

fn brief_audited(audited: Audited) -> String {
    match audited {
        Audited::Page(page) => {
            let named = page.iter();
            let named = named.map(|named| format!("{}@{}", named.name, named.version));
            format!("named {}", named.collect::<Vec<_>>().join(" "))
        }
        Audited::Complete(version) => format!("complete {version}"),
        Audited::Object(named, object) => {
            let version = object.map(|object| object.metadata().resource_version.clone());
            format!("object {} {version:?}", named.name)
        }
        Audited::Fetched => "fetched".to_owned(),
        Audited::Failed(trouble) => format!("failed {trouble}"),
        Audited::NotListed(trouble, not_before) => {
            format!("not listed {trouble}, {} s", not_before.as_secs())
        }
    }
}
