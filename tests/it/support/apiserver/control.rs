//! The part of the handle that makes the server behave as a certain version of the real one, and misbehave.

use std::time::Duration;

use super::{
    ApiServer, Cut, Fault, Future, LimitAtZero, Mute, TooOld, WatchList,
    resource::Resource,
    state::{OpenWatch, Order},
};

impl ApiServer {
    /// Serves a custom resource, which is 404 otherwise.
    pub(crate) fn install(&self, resource: &str) {
        self.shared.change(|state| {
            state
                .switches
                .installed
                .insert(Resource::named(resource).plural)
        });
    }

    /// How watches with `sendInitialEvents` are answered.
    pub(crate) fn watch_list(&self, mode: WatchList) {
        self.shared.change(|state| state.switches.watch_list = mode);
    }

    /// How watches from a compacted version are answered.
    pub(crate) fn too_old(&self, mode: TooOld) {
        self.shared.change(|state| state.switches.too_old = mode);
    }

    /// Whether `limit` is obeyed with `resourceVersion=0`.
    pub(crate) fn limit_at_zero(&self, mode: LimitAtZero) {
        self.shared
            .change(|state| state.switches.limit_at_zero = mode);
    }

    /// Sends a bookmark so often to each watch that allows them. None, as at the start: only on demand.
    pub(crate) fn bookmark_every(&self, interval: Option<Duration>) {
        self.shared
            .change(|state| state.switches.bookmark_every = interval);
    }

    /// Sends a bookmark to each open watch of the resource that allows them, behind its pending events.
    pub(crate) fn bookmark(&self, resource: &str) {
        self.for_watches(resource, |watch| watch.bookmarks_ordered += 1);
    }

    /// Forgets the past: continue tokens, and watches that begin before this moment, are answered 410.
    pub(crate) fn compact(&self) {
        self.shared.change(|state| state.store.compact());
    }

    /// Ends the open watches of the resource with an ERROR event of code 410.
    pub(crate) fn expire_watches(&self, resource: &str) {
        self.for_watches(resource, |watch| watch.order = Some(Order::Expire));
    }

    /// Ends the open watches of the resource at once. Over HTTP/2 a cut other than `End` takes the whole connection.
    pub(crate) fn cut_watches(&self, resource: &str, cut: Cut) {
        self.for_watches(resource, |watch| watch.order = Some(Order::Cut(cut)));
    }

    /// The open watches of the resource lie: they leave out the next so many events, and go on as if nothing were.
    pub(crate) fn skip_events(&self, resource: &str, events: usize) {
        self.for_watches(resource, |watch| watch.skips += events);
    }

    /// The connections that are open stay so and lead nowhere, as behind a proxy that has lost its other side. New ones
    /// are good.
    pub(crate) fn mute_connections(&self, mute: Mute) {
        self.shared.valve.mute(mute);
    }

    /// Whether lists of metadata alone are known; if not, whole objects are sent, as by servers before 1.15.
    pub(crate) fn lists_metadata(&self, known: bool) {
        self.shared
            .change(|state| state.switches.no_metadata_lists = !known);
    }

    /// The open watches of the resource stay open and send nothing more, until `release`.
    pub(crate) fn hold_watches(&self, resource: &str) {
        self.for_watches(resource, |watch| watch.held = true);
    }

    /// Lets all held watches and held requests go on.
    pub(crate) fn release(&self) {
        self.shared.change(|state| {
            state.faults.releases += 1;
            state
                .watches
                .values_mut()
                .for_each(|watch| watch.held = false);
        });
    }

    /// Orders a fault for requests to come. Faults happen in the order in which they were injected.
    pub(crate) fn inject(&self, fault: Fault) {
        self.shared.change(|state| state.faults.inject(fault));
    }

    /// Takes back the faults that did not happen yet.
    pub(crate) fn clear_faults(&self) {
        self.shared.change(|state| state.faults.clear());
    }

    /// The watch cache falls back to how all was at `version`, as that of a lagging server of several: lists with
    /// `resourceVersion=0` are old, watches stand still, newer versions are "too large" (504), while lists without a
    /// resourceVersion still see the newest.
    pub(crate) fn time_travel(&self, version: u64) {
        self.shared.change(|state| state.lagging_at = Some(version));
    }

    /// The watch cache is up to date again.
    pub(crate) fn catch_up(&self) {
        self.shared.change(|state| state.lagging_at = None);
    }

    /// The storage is put back to how all was at `version`, as from a backup, and goes on from there. Open watches are
    /// silent until the versions have come as far again as theirs.
    pub(crate) fn put_back(&self, version: u64) {
        self.shared.change(|state| state.store.put_back(version));
    }

    /// The open watches of the resource go on from the version that is the newest now, be it older than theirs.
    pub(crate) fn rewind_watches(&self, resource: &str) {
        let newest = self.version();
        self.for_watches(resource, |watch| watch.rewound = Some(newest));
    }

    /// How a watch from a version that is yet to come is answered.
    pub(crate) fn future(&self, mode: Future) {
        self.shared.change(|state| state.switches.future = mode);
    }

    /// Whether lists without a resourceVersion see the newest; if not, they are as old as the watch cache.
    pub(crate) fn reads_consistently(&self, does: bool) {
        self.shared
            .change(|state| state.switches.stale_reads = !does);
    }

    /// The process falls silent, as by SIGSTOP: connections are accepted by the kernel and stay open, no byte moves.
    pub(crate) fn pause(&self) {
        self.shared.valve.shut();
    }

    /// Ends `pause`.
    pub(crate) fn resume(&self) {
        self.shared.valve.open();
    }

    fn for_watches(&self, resource: &str, order: impl FnMut(&mut OpenWatch)) {
        let resource = Resource::named(resource);
        self.shared
            .change(|state| state.watches_of(resource).for_each(order));
    }
}
