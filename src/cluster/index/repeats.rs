//! What a watch tells again of what a list has told.

use super::Version;

/// The list of one resource that is under way, or the last one that was given up: then the watch goes on from before it,
/// and tells again what the list knew, until it has come past the newest version of that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Repeats {
    is_listing: bool,
    newest: Option<Version>,
}

impl Repeats {
    /// A list begins.
    pub(crate) fn start_list(&mut self) {
        *self = Repeats {
            is_listing: true,
            newest: None,
        };
    }

    /// The list is complete: the watch goes on after it.
    pub(crate) fn end_list(&mut self) {
        *self = Repeats::default();
    }

    /// The list does not come to its end.
    pub(crate) fn give_up_list(&mut self) {
        self.is_listing = false;
    }

    /// Whether a list is under way.
    pub(crate) fn is_listing(&self) -> bool {
        self.is_listing
    }

    /// The list has told this version, or the watch where none is under way.
    pub(crate) fn hear(&mut self, version: Version) {
        let passes = |newest| version.has_reached(newest) != Some(false);
        if self.newest.is_none_or(passes) {
            self.newest = self.is_listing.then_some(version);
        }
    }

    /// Whether a watch tells this version again, which a list has told that was given up.
    pub(crate) fn has(&self, version: Version) -> bool {
        let falls_short = |newest| version.has_reached(newest) == Some(false);
        !self.is_listing && self.newest.is_some_and(falls_short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_repeats_a_list_that_was_given_up_until_it_has_come_past_it() {
        const LIST: fn(&mut Repeats) = |repeats| {
            repeats.start_list();
            repeats.hear(Version::of("9"));
            repeats.hear(Version::of("7"));
        };
        const END: fn(&mut Repeats) = Repeats::end_list;
        const GIVE_UP: fn(&mut Repeats) = Repeats::give_up_list;
        const SHORT: fn(&mut Repeats) = |repeats| repeats.hear(Version::of("8"));
        const PAST: fn(&mut Repeats) = |repeats| repeats.hear(Version::of("9"));
        struct Row(
            &'static str,
            &'static [fn(&mut Repeats)],
            &'static str,
            bool,
        );
        for Row(fact, steps, told, expected) in [
            Row("no list", &[], "5", false),
            Row("under way", &[LIST], "5", false),
            Row("complete", &[LIST, END], "5", false),
            Row("given up", &[LIST, GIVE_UP], "5", true),
            Row("as far as the list", &[LIST, GIVE_UP], "9", false),
            Row("no number", &[LIST, GIVE_UP], "x", false),
            Row("not come past it", &[LIST, GIVE_UP, SHORT], "8", true),
            Row("come past it", &[LIST, GIVE_UP, PAST], "8", false),
            Row("another list", &[LIST, GIVE_UP, LIST, END], "5", false),
        ] {
            let mut repeats = Repeats::default();
            for step in steps {
                step(&mut repeats);
            }
            assert_eq!(repeats.has(Version::of(told)), expected, "{fact}");
        }
    }
}
