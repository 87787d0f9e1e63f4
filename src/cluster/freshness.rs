//! How fresh what is known of a resource is: when its source was last heard, in which way, and how far it has come.
//!
//! Written by the task that owns the index, once for each batch of events; read by `/ready` and shown on `/metrics`.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::index::{Outcome, Version};
use super::object::{Event, Resource, Trouble};

/// Each watch ends after ten minutes at most and half a minute of grace, and the next one is heard of when it is
/// accepted: a source that was not heard for longer is not in good health, whatever else it says.
const SILENCE_MAX: Duration = Duration::from_secs(660);

/// When the source of one resource was last heard, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// An object was told of, not as part of a list.
    pub event: Option<SystemTime>,
    /// A bookmark came: nothing was missed, even though nothing happened.
    pub bookmark: Option<SystemTime>,
    /// A list was complete.
    pub list: Option<SystemTime>,
    /// A watch was accepted, or the files of manifests were looked at.
    pub contact: Option<SystemTime>,
    /// The `resourceVersion` up to which everything was told; empty if there is none.
    pub version: Box<str>,
}

/// What an operator must know of one resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) heard: Heard,
    /// On the clock that never jumps.
    last: Option<Instant>,
    trouble: Option<Trouble>,
    /// A list that is not believed yet.
    pub(super) doubted: Option<Outcome>,
    /// A list is being told.
    pub(super) listing: bool,
    /// The last thing told was the end of a list.
    listed: bool,
}

/// A source has told an older version than before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rewound {
    /// What it had told before.
    pub(super) before: Box<str>,
    /// It is that of a list which is complete, and not what a watch tells.
    pub(super) by_list: bool,
}

impl Heard {
    /// When anything was heard that tells what is true.
    pub(crate) fn last(&self) -> Option<SystemTime> {
        let times = [self.event, self.bookmark, self.list, self.contact];
        times.into_iter().flatten().max()
    }
}

impl Standing {
    /// Takes note of what the source says, and says whether its versions have gone back.
    pub(super) fn note(
        &mut self,
        event: &Event,
        now: Instant,
        clock: SystemTime,
    ) -> Option<Rewound> {
        let mut back = None;
        let listed = std::mem::take(&mut self.listed);
        match event {
            Event::Trouble(_, trouble) => {
                self.trouble = Some(trouble.clone());
                return None;
            }
            Event::Audited(..) | Event::Away(_) => return None,
            Event::ListStarted(_) => self.listing = true,
            Event::Applied(object) | Event::Deleted(object) | Event::Unreadable(object) => {
                if !self.listing {
                    self.heard.event = Some(clock);
                    let version = &object.metadata().resource_version;
                    if !version.is_empty() {
                        back = self.come_to(version, false);
                    }
                }
            }
            Event::Listed(_) => {
                self.heard.list = Some(clock);
                (self.listing, self.listed) = (false, true);
                self.trouble = None;
            }
            Event::Current(_) => {
                self.heard.contact = Some(clock);
                self.listing = false;
                self.trouble = None;
            }
            Event::Reached(_, version) => {
                if !listed {
                    self.heard.bookmark = Some(clock);
                }
                back = self.come_to(version, listed);
                self.trouble = None;
            }
        }
        self.last = Some(now);
        back
    }

    fn come_to(&mut self, version: &str, by_list: bool) -> Option<Rewound> {
        let before = std::mem::replace(&mut self.heard.version, version.into());
        let is_older = Version::of(version).has_reached(Version::of(&before)) == Some(false);
        is_older.then_some(Rewound { before, by_list })
    }

    /// The source follows the resource, as far as it says.
    pub(super) fn is_well(&self) -> bool {
        self.trouble.is_none() && !self.listing
    }

    /// What keeps the source from following the resource.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// Why the resource has never been listed whole.
    pub(super) fn not_listed(&self, resource: Resource) -> String {
        match &self.trouble {
            Some(trouble) => format!("{resource}: {trouble}"),
            None => format!("{resource}: not listed yet"),
        }
    }

    /// What is wrong with a resource that is served, a line each.
    pub(super) fn wrong(&self, resource: Resource, now: Instant) -> Vec<String> {
        // A list that began and broke off is no word of what is true now: what is served is older.
        let heard = self.heard.last().and(self.last);
        let silent = heard.map(|last| now.saturating_duration_since(last));
        let mut lines = Vec::new();
        match (&self.trouble, silent) {
            (Some(trouble), Some(silent)) => {
                let age = silent.as_secs();
                lines.push(format!("{resource}: {trouble}, not heard for {age} s"));
            }
            (Some(trouble), None) => lines.push(format!("{resource}: {trouble}")),
            (None, Some(silent)) if silent > SILENCE_MAX => {
                let age = silent.as_secs();
                lines.push(format!("{resource}: not heard for {age} s"));
            }
            (None, _) => {}
        }
        if let Some(Outcome { before, missing }) = self.doubted {
            lines.push(format!(
                "{resource}: a list lacks {missing} of {before} objects; they are kept until it says so again"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::{Metadata, Object};

    const SERVICES: Resource = Resource::Services;

    fn applied(version: &str) -> Event {
        let metadata = Metadata {
            name: "web".into(),
            resource_version: version.into(),
            ..Metadata::default()
        };
        Event::Applied(Object::bare(SERVICES, metadata))
    }

    #[test]
    fn each_way_of_being_heard_has_its_own_time() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let clock = |at| SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        let mut note = |at, event| {
            let now = start + Duration::from_secs(at);
            standing.note(&event, now, clock(at));
            let Heard {
                event,
                bookmark,
                list,
                contact,
                version,
            } = standing.heard.clone();
            let times = [event, bookmark, list, contact].map(|time| {
                time.map(|time| {
                    time.duration_since(SystemTime::UNIX_EPOCH)
                        .unwrap()
                        .as_secs()
                })
            });
            (times, version.into_string())
        };
        let trouble = || Event::Trouble(SERVICES, Trouble::Unreachable("away".into()));
        for (fact, at, event, times, version) in [
            (
                "a list begins",
                1,
                Event::ListStarted(SERVICES),
                [None; 4],
                "",
            ),
            ("an item is no event", 2, applied("5"), [None; 4], ""),
            (
                "a list",
                3,
                Event::Listed(SERVICES),
                [None, None, Some(3), None],
                "",
            ),
            (
                "its version is no bookmark",
                4,
                Event::Reached(SERVICES, "7".into()),
                [None, None, Some(3), None],
                "7",
            ),
            (
                "a watch",
                5,
                Event::Current(SERVICES),
                [None, None, Some(3), Some(5)],
                "7",
            ),
            (
                "an event",
                6,
                applied("8"),
                [Some(6), None, Some(3), Some(5)],
                "8",
            ),
            (
                "a bookmark",
                7,
                Event::Reached(SERVICES, "9".into()),
                [Some(6), Some(7), Some(3), Some(5)],
                "9",
            ),
            (
                "trouble is not heard",
                8,
                trouble(),
                [Some(6), Some(7), Some(3), Some(5)],
                "9",
            ),
        ] {
            assert_eq!(note(at, event), (times, version.to_owned()), "{fact}");
        }
    }

    #[test]
    fn a_source_goes_back_that_tells_an_older_version_than_before() {
        let list = |version: &str| {
            let reached = Event::Reached(SERVICES, version.into());
            vec![
                Event::ListStarted(SERVICES),
                Event::Listed(SERVICES),
                reached,
            ]
        };
        let watch = Some(false);
        for (fact, events, expected) in [
            ("the first list", list("1"), None),
            ("an event", vec![applied("8")], watch),
            (
                "a bookmark",
                vec![Event::Reached(SERVICES, "8".into())],
                watch,
            ),
            ("a list", list("8"), Some(true)),
            ("the same version", vec![applied("9")], None),
            ("no version", vec![applied("")], None),
            ("no number", vec![applied("x")], None),
            (
                "an item of a list",
                vec![Event::ListStarted(SERVICES), applied("8")],
                None,
            ),
        ] {
            let mut standing = Standing::default();
            let before = [Event::Reached(SERVICES, "9".into())];
            let before = before.iter().filter(|_| fact != "the first list");
            let note = |event| standing.note(event, Instant::now(), SystemTime::UNIX_EPOCH);
            let back = before.chain(&events).filter_map(note);
            let back: Vec<_> = back.map(|back| (back.before, back.by_list)).collect();
            let expected = expected.map(|by_list| ("9".into(), by_list));
            assert_eq!(back, Vec::from_iter(expected), "{fact}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_age_and_ends_when_the_source_is_heard() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let after = |at| start + Duration::from_secs(at);
        let forbidden = Event::Trouble(SERVICES, Trouble::Forbidden("no".into()));
        let mut wrong = |heard: Option<&Event>, at, asked| {
            if let Some(event) = heard {
                standing.note(event, after(at), SystemTime::UNIX_EPOCH);
            }
            standing.wrong(SERVICES, after(asked))
        };
        for (fact, heard, at, asked, expected) in [
            (
                "a list that began",
                Some(&Event::ListStarted(SERVICES)),
                0,
                0,
                None,
            ),
            (
                "never heard",
                Some(&forbidden),
                0,
                5,
                Some("services: 403 Forbidden: no"),
            ),
            ("fresh", Some(&Event::Current(SERVICES)), 0, 660, None),
            (
                "too silent",
                None,
                0,
                661,
                Some("services: not heard for 661 s"),
            ),
            (
                "forbidden",
                Some(&forbidden),
                600,
                700,
                Some("services: 403 Forbidden: no, not heard for 700 s"),
            ),
            (
                "bookmarks",
                Some(&Event::Reached(SERVICES, "7".into())),
                700,
                701,
                None,
            ),
        ] {
            let expected: Vec<String> = expected.map(str::to_owned).into_iter().collect();
            assert_eq!(wrong(heard, at, asked), expected, "{fact}");
        }
    }
}
