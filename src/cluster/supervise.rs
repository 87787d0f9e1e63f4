//! Work that must never end: what ends all the same is told, counted, and begun again after a time that grows.
//!
//! The task that owns an index and the sources that feed it run under [`supervise`]. Without it a panic would end
//! the task alone: queries would be answered from a picture that never changes again, and nobody would know.

use std::any::Any;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::Observer;

/// Work that lived this long was in good health: what ended it is no habit.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// The wait before work that ended soon is begun again; it doubles with each further time …
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// … up to this. A cluster that brings the same panic each time it is listed is not listed without pause.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Does `work` of a cluster for ever.
pub(super) async fn supervise<F: Future<Output = ()>>(
    what: impl Display,
    cluster: &str,
    observer: &dyn Observer,
    mut work: impl FnMut() -> F,
) {
    let mut waits = Waits::default();
    loop {
        let began = Instant::now();
        // What the work owned is dropped with it, and what it shares is replaced whole or not at all.
        let ended = AssertUnwindSafe(async { work().await })
            .catch_unwind()
            .await;
        let wait = waits.after(began.elapsed());
        let reason = match &ended {
            Ok(()) => "it has ended",
            Err(panic) => {
                observer.panicked();
                message(&**panic)
            }
        };
        tracing::error!(
            target: "plugin/kubernetes", cluster, task = %what, panic = reason, again_in = ?wait,
            "A task has failed and begins again; what was known before is served"
        );
        sleep(wait).await;
    }
}

/// What the panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// How long to wait before work is begun again.
#[derive(Debug, Default)]
struct Waits {
    next: Duration,
}

impl Waits {
    /// The wait after work that lived so long. The first failure costs none.
    fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STEADY_AFTER {
            self.next = Duration::ZERO;
        }
        let wait = self.next;
        self.next = (wait * 2).clamp(WAIT_FIRST, WAIT_MAX);
        wait
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::cluster::HeldEnds;
    use crate::cluster::audit::{self, Repairs};
    use crate::cluster::connection::{Request, RequestObserver};
    use crate::cluster::freshness::Heard;
    use crate::cluster::object::Resource;

    /// Counts panics.
    #[derive(Default)]
    pub(in crate::cluster) struct Panics(pub(in crate::cluster) AtomicUsize);

    impl Observer for Panics {
        fn holds(&self, _: &str, _: Resource, _: usize, _: bool) {}
        fn forgets(&self, _: &str, _: Resource) {}
        fn heard(&self, _: &str, _: Resource, _: &Heard) {}
        fn audited(&self, _: &str, _: Resource, _: audit::Result) {}
        fn repaired(&self, _: &str, _: Resource, _: Repairs) {}
        fn doubted(&self, _: &str, _: Resource) {}
        fn rewound(&self, _: &str, _: Resource) {}
        fn programmed(&self, _: bool, _: Duration) {}
        fn held(&self, _: &str, _: HeldEnds) {}
        fn panicked(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl RequestObserver for Panics {
        fn answered(&self, _: &Request<'_>) {}
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_or_ends_is_begun_again_and_panics_are_counted() {
        let (panics, begun) = (Panics::default(), AtomicUsize::new(0));
        let (done, mut is_done) = tokio::sync::mpsc::channel(1);
        let work = || async {
            match begun.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("at once"),
                1 => {}
                2 => panic!("{}", "again"),
                _ => done.send(()).await.unwrap(),
            }
        };
        tokio::select! {
            () = supervise("test", "c", &panics, work) => {}
            _ = is_done.recv() => {}
        }
        assert_eq!(begun.load(Ordering::Relaxed), 4);
        assert_eq!(panics.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_fails_again_at_once_is_begun_again_ever_later_and_what_lived_is_not() {
        let mut waits = Waits::default();
        for (lived, expected) in [
            (0, 0),
            (0, 1),
            (59, 2),
            (0, 4),
            (0, 8),
            (0, 16),
            (0, 30),
            (0, 30),
            (60, 0),
            (0, 1),
        ] {
            let wait = waits.after(Duration::from_secs(lived));
            assert_eq!(wait, Duration::from_secs(expected), "after {lived} s");
        }
    }
}
