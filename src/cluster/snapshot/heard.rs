//! How far each resource has been followed, as its events tell.
//!
//! While a list is under way there is no version that is as new as all that the index knows: objects of the list may
//! be newer than the last watch. Then none is kept, and the process that reads the snapshot asks for the newest list.
//! A list that is given up leaves none behind, until the watch has come past all that the list told.

use super::{Reached, ReachedAll};
use crate::cluster::index::{Repeats, Version};
use crate::cluster::object::{Event, Resource};

/// How far each resource has been followed.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) reached: ReachedAll,
    repeats: [Repeats; Resource::ALL.len()],
}

impl Heard {
    /// As far as the process before had come.
    pub(super) fn from(reached: ReachedAll) -> Heard {
        Heard {
            reached,
            ..Heard::default()
        }
    }

    /// An event that is applied at `now`, in seconds since 1970.
    pub(super) fn hear(&mut self, event: &Event, now: u64) {
        match event {
            Event::ListStarted(resource) => {
                self.repeats[*resource as usize].start_list();
                self.reached[*resource as usize].version = Box::default();
            }
            Event::Listed(resource) => {
                self.repeats[*resource as usize].end_list();
                self.reached[*resource as usize].as_of = now;
            }
            Event::Current(resource) => {
                self.repeats[*resource as usize].give_up_list();
                self.advance(*resource, "", now);
            }
            Event::Reached(resource, version) => self.advance(*resource, version, now),
            Event::Applied(object) | Event::Deleted(object) | Event::Unreadable(object) => {
                let version = &object.metadata().resource_version;
                self.advance(object.resource(), version, now);
            }
            Event::Away(_) | Event::Trouble(..) | Event::Audited(..) => {}
        }
    }

    /// Nobody needs this resource.
    pub(super) fn forget(&mut self, resource: Resource) {
        self.reached[resource as usize] = Reached::default();
        self.repeats[resource as usize] = Repeats::default();
    }

    fn advance(&mut self, resource: Resource, version: &str, now: u64) {
        let repeats = &mut self.repeats[resource as usize];
        let told = (!version.is_empty()).then(|| Version::of(version));
        if let Some(told) = told {
            repeats.hear(told);
        }
        if repeats.is_listing() {
            return;
        }
        let reached = &mut self.reached[resource as usize];
        reached.as_of = now;
        if told.is_none_or(|told| repeats.has(told)) {
            return;
        }
        if *reached.version != *version {
            reached.version = version.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::{Metadata, Object, Trouble};

    #[test]
    fn a_resource_is_as_far_as_its_last_event_and_nowhere_while_it_is_listed() {
        let services = Resource::Services;
        let object = |version: &str| {
            let metadata = Metadata {
                resource_version: version.into(),
                ..Metadata::default()
            };
            Object::bare(services, metadata)
        };
        let mut heard = Heard::from(std::array::from_fn(|_| Reached {
            version: "7".into(),
            as_of: 1,
        }));
        for (at, event, version, as_of) in [
            (
                10,
                Event::Trouble(services, Trouble::Unreachable("x".into())),
                "7",
                1,
            ),
            (11, Event::ListStarted(services), "", 1),
            (12, Event::Applied(object("5")), "", 1),
            (13, Event::Listed(services), "", 13),
            (14, Event::Reached(services, "8".into()), "8", 14),
            (15, Event::Applied(object("9")), "9", 15),
            (16, Event::Current(services), "9", 16),
            (17, Event::Deleted(object("11")), "11", 17),
            (18, Event::Deleted(object("")), "11", 18),
            (19, Event::Reached(Resource::Pods, "12".into()), "11", 18),
            (20, Event::ListStarted(services), "", 18),
            (21, Event::Current(services), "", 21),
            (22, Event::Applied(object("13")), "13", 22),
            (23, Event::ListStarted(services), "", 22),
            (24, Event::Applied(object("18")), "", 22),
            (25, Event::Current(services), "", 25),
            (26, Event::Applied(object("15")), "", 26),
            (27, Event::Reached(services, "18".into()), "18", 27),
        ] {
            let what = format!("{event:?}");
            heard.hear(&event, at);
            let reached = &heard.reached[services as usize];
            assert_eq!(
                (&*reached.version, reached.as_of),
                (version, as_of),
                "{what}"
            );
        }
        heard.forget(services);
        assert_eq!(heard.reached[services as usize], Reached::default());
    }
}
