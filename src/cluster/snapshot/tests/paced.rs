//! The keeper, by a clock that stands still while the disk works.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{FutureExt, TryFutureExt};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::super::keeper::{Doing, Keeper, Work, Worth};
use super::super::{SnapshotEvent, SnapshotFile};
use super::*;
use crate::cluster::audit::{self, Repairs};
use crate::cluster::connection::{Request, RequestObserver};
use crate::cluster::freshness::Heard;
use crate::cluster::{HeldEnds, Observer};

/// Remembers what it is told, and when.
#[derive(Default)]
struct Witness(Mutex<Vec<(Instant, SnapshotEvent)>>);

impl Observer for Witness {
    fn holds(&self, _: &str, _: Resource, _: usize, _: bool) {}
    fn forgets(&self, _: &str, _: Resource) {}
    fn heard(&self, _: &str, _: Resource, _: &Heard) {}
    fn audited(&self, _: &str, _: Resource, _: audit::Result) {}
    fn repaired(&self, _: &str, _: Resource, _: Repairs) {}
    fn doubted(&self, _: &str, _: Resource) {}
    fn rewound(&self, _: &str, _: Resource) {}
    fn held(&self, _: &str, _: HeldEnds) {}
    fn programmed(&self, _: bool, _: Duration) {}
    fn snapshot(&self, _: &str, event: SnapshotEvent) {
        self.0.lock().unwrap().push((Instant::now(), event));
    }
    fn panicked(&self) {}
}

impl RequestObserver for Witness {
    fn answered(&self, _: &Request<'_>) {}
}

impl Witness {
    /// When something like this was told.
    fn told(&self, is: impl Fn(&SnapshotEvent) -> bool) -> Vec<Instant> {
        let told = self.0.lock().unwrap();
        let like = told.iter().filter(|(_, event)| is(event));
        like.map(|(at, _)| *at).collect()
    }

    fn writes(&self) -> Vec<Instant> {
        self.told(|event| matches!(event, SnapshotEvent::Written { .. }))
    }
}

/// Where the clock of the tests waits for it, as it does for no other thread.
fn on_tokio(work: Work) -> Doing {
    spawn_blocking(work).map_err(io::Error::other).boxed()
}

fn keeper(path: &Path) -> (Arc<Witness>, Keeper) {
    keeper_by(path, on_tokio)
}

fn keeper_by(
    path: &Path,
    elsewhere: impl Fn(Work) -> Doing + Send + 'static,
) -> (Arc<Witness>, Keeper) {
    let witness = Arc::<Witness>::default();
    let mut keeper = Keeper::by(
        Box::new(elsewhere),
        "test".into(),
        CLUSTER.into(),
        witness.clone(),
        ReachedAll::default(),
    );
    keeper.keep(Some(snapshot(path)));
    (witness, keeper)
}

fn snapshot(path: &Path) -> Arc<SnapshotFile> {
    Arc::new(SnapshotFile {
        path: path.to_owned(),
        max_age: MAX_AGE,
    })
}

fn listed(keeper: &mut Keeper, now: u64) {
    for resource in Resource::ALL {
        keeper.hear(&Event::ListStarted(resource), now);
        keeper.hear(&Event::Listed(resource), now);
        keeper.hear(&Event::Reached(resource, "9".into()), now);
    }
    keeper.changed();
}

/// Lets the keeper work for so long; each second `each` happens.
async fn let_work(
    keeper: &mut Keeper,
    index: &Index,
    worth: Worth,
    seconds: u64,
    mut each: impl FnMut(&mut Keeper, u64),
) {
    for second in 0..seconds {
        each(keeper, second);
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(()) = timeout(until - Instant::now(), keeper.due()).await {
            keeper.work(index, worth);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_never_rests_is_written_at_once_and_then_no_oftener_than_each_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (witness, mut keeper) = keeper(&folder.path().join("cluster"));
    let index = index();
    listed(&mut keeper, NOW);
    let began = Instant::now();
    let_work(&mut keeper, &index, Worth::Whole, 100, |keeper, _| {
        keeper.changed()
    })
    .await;
    let writes = witness.writes();
    assert!(writes[0] - began < Duration::from_secs(1));
    assert!((6..=10).contains(&writes.len()), "{}", writes.len());
    for pair in writes.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(10), "{pair:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_rests_is_written_once_and_stays_young() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let (witness, mut keeper) = keeper(&path);
    let index = index();
    listed(&mut keeper, NOW - 1000);
    let bookmarks = |keeper: &mut Keeper, second| {
        for resource in Resource::ALL.into_iter().filter(|_| second % 20 == 0) {
            keeper.hear(&Event::Current(resource), NOW - 1000 + second);
        }
    };
    let_work(&mut keeper, &index, Worth::Whole, 200, bookmarks).await;
    assert_eq!(witness.writes().len(), 1);
    let octets = fs::read(&path).unwrap();
    let oldest = read_octets(&octets, wanted()).unwrap().reached[0].as_of;
    assert!(oldest >= NOW - 840, "{}", NOW - oldest);
    let (_, last) = *witness.0.lock().unwrap().last().unwrap();
    assert_eq!(last, SnapshotEvent::CurrentAsOf(oldest));

    // Who has nothing to say is not asked again.
    let idle = timeout(Duration::from_secs(3600), keeper.due()).await;
    assert!(idle.is_err());
    fs::remove_file(&path).unwrap();
    let later = |keeper: &mut Keeper, second| bookmarks(keeper, second + 400);
    let_work(&mut keeper, &index, Worth::Whole, 40, later).await;
    assert!(path.exists(), "a file that is gone is written again");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_seems_to_be_of_the_future_is_written_again_when_the_clock_is_set_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let (witness, mut keeper) = keeper(&path);
    let index = index();
    listed(&mut keeper, NOW + 365 * 24 * 3600);
    let_work(&mut keeper, &index, Worth::Whole, 2, |_, _| {}).await;
    let refused = read_octets(&fs::read(&path).unwrap(), wanted()).unwrap_err();
    assert_eq!(refused.reason(), "future");
    for resource in Resource::ALL {
        keeper.hear(&Event::Current(resource), NOW);
    }
    let_work(&mut keeper, &index, Worth::Whole, 20, |_, _| {}).await;
    assert_eq!(witness.writes().len(), 2);
    let found = read_octets(&fs::read(&path).unwrap(), wanted()).unwrap();
    assert_eq!(found.reached[0].as_of, NOW);
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_counted_and_tried_again_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    let (witness, mut keeper) = keeper(&inner.join("cluster"));
    let index = index();
    listed(&mut keeper, NOW);
    let_work(&mut keeper, &index, Worth::Whole, 60, |_, _| {}).await;
    let failures = witness
        .told(|event| *event == SnapshotEvent::WriteFailed)
        .len();
    assert!((3..=6).contains(&failures), "{failures}");
    fs::create_dir(&inner).unwrap();
    let_work(&mut keeper, &index, Worth::Whole, 20, |_, _| {}).await;
    assert_eq!(witness.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_threads_and_a_panic_are_failures_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let (no_thread, panics) = (AtomicBool::new(true), AtomicBool::new(true));
    let elsewhere = move |work: Work| {
        if no_thread.swap(false, Ordering::Relaxed) {
            return async { Err(io::ErrorKind::WouldBlock.into()) }.boxed();
        }
        if panics.swap(false, Ordering::Relaxed) {
            return on_tokio(Box::new(|| panic!("a test may")));
        }
        on_tokio(work)
    };
    let (witness, mut keeper) = keeper_by(&path, elsewhere);
    let index = index();
    listed(&mut keeper, NOW);
    let failures = || {
        witness
            .told(|event| *event == SnapshotEvent::WriteFailed)
            .len()
    };
    for expected in [1, 2] {
        while failures() < expected {
            let_work(&mut keeper, &index, Worth::Whole, 1, |_, _| {}).await;
        }
        assert!(!path.exists());
    }
    let_work(&mut keeper, &index, Worth::Whole, 20, |_, _| {}).await;
    assert_eq!((failures(), witness.writes().len()), (2, 1));
    assert!(path.exists());
}

#[tokio::test(start_paused = true)]
async fn less_than_is_served_is_never_written_and_less_than_is_wanted_only_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster");
    let (_, mut keeper) = keeper(&path);
    let index = index();
    listed(&mut keeper, NOW);
    let_work(&mut keeper, &index, Worth::Nothing, 100, |_, _| {}).await;
    assert!(!path.exists());
    let (_, mut keeper) = self::keeper(&path);
    listed(&mut keeper, NOW);
    let_work(&mut keeper, &index, Worth::Partial, 29, |_, _| {}).await;
    assert!(!path.exists());
    let_work(&mut keeper, &index, Worth::Partial, 3, |_, _| {}).await;
    assert!(path.exists());
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_waits_for_no_rest_and_another_path_neither() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (witness, mut keeper) = keeper(&at("one"));
    let index = index();
    listed(&mut keeper, NOW - 50);
    let_work(&mut keeper, &index, Worth::Whole, 2, |_, _| {}).await;
    keeper.keep(Some(snapshot(&at("two"))));
    let_work(&mut keeper, &index, Worth::Whole, 2, |_, _| {}).await;
    assert!(at("one").exists() && at("two").exists());
    let began = Instant::now();
    listed(&mut keeper, NOW - 10);
    keeper.finish(&index, Worth::Whole).await;
    assert_eq!(witness.writes().len(), 3);
    keeper.hear(&Event::Current(Resource::Pods), NOW - 5);
    keeper.finish(&index, Worth::Whole).await;
    assert_eq!(began, Instant::now());
    let octets = fs::read(at("two")).unwrap();
    let reached = read_octets(&octets, wanted()).unwrap().reached;
    assert_eq!(reached[Resource::Pods as usize].as_of, NOW - 5);
    assert_eq!(reached[Resource::Services as usize].as_of, NOW - 10);
    keeper.finish(&index, Worth::Nothing).await;
    assert_eq!(witness.writes().len(), 3);
}
