use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cluster::object::{Object, Resource};

fn targets() -> Vec<Target> {
    vec![Target {
        resource: Resource::Namespaces,
        labels: "".parse().unwrap(),
    }]
}

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

/// The next object that is said to exist; other events are passed over.
async fn next_applied(events: &mut mpsc::Receiver<Event>) -> String {
    let next = async {
        loop {
            match events.recv().await {
                Some(Event::Applied(Object::Namespace(namespace))) => {
                    return namespace.metadata.name.into();
                }
                Some(_) => {}
                None => panic!("the source has ended"),
            }
        }
    };
    timeout(Duration::from_secs(60), next)
        .await
        .expect("an object within a minute")
}

#[tokio::test]
async fn changes_are_followed_until_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("one")).unwrap();
    let (send, mut receive) = mpsc::channel(16);
    let task = tokio::spawn(follow(vec![folder.path().to_owned()], targets(), send));
    assert_eq!(next_applied(&mut receive).await, "one");
    assert_eq!(
        receive.recv().await,
        Some(Event::Listed(Resource::Namespaces))
    );
    assert_eq!(
        receive.recv().await,
        Some(Event::Current(Resource::Namespaces))
    );
    fs::write(folder.path().join("b.yaml"), namespace("two")).unwrap();
    assert_eq!(next_applied(&mut receive).await, "two");
    drop(receive);
    task.await.unwrap();
}

#[tokio::test]
async fn a_path_that_is_missing_is_trouble() {
    let (send, mut receive) = mpsc::channel(16);
    let task = tokio::spawn(follow(
        vec!["/nonexistent/cluster.yaml".into()],
        targets(),
        send,
    ));
    assert_eq!(
        receive.recv().await,
        Some(Event::ListStarted(Resource::Namespaces))
    );
    let text = "/nonexistent/cluster.yaml: No such file or directory (os error 2)";
    let trouble = Trouble::Missing(text.into());
    assert_eq!(
        receive.recv().await,
        Some(Event::Trouble(Resource::Namespaces, trouble))
    );
    drop(receive);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_look_that_cannot_be_done_is_trouble_and_done_later() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("one")).unwrap();
    let (send, mut receive) = mpsc::channel(16);
    let looks = AtomicUsize::new(0);
    let elsewhere = move |look| {
        let nth = looks.fetch_add(1, Ordering::Relaxed);
        async move {
            match nth {
                0 => Err(io::Error::other("no thread")),
                _ => blocking::run("manifests", look).await,
            }
        }
    };
    let paths = vec![folder.path().to_owned()];
    tokio::spawn(follow_by(elsewhere, paths, targets(), send));
    let trouble = Trouble::Unreachable("no look at them: no thread".into());
    assert_eq!(
        receive.recv().await,
        Some(Event::Trouble(Resource::Namespaces, trouble))
    );
    assert_eq!(
        receive.recv().await,
        Some(Event::ListStarted(Resource::Namespaces))
    );
    assert!(matches!(receive.recv().await, Some(Event::Applied(_))));
}

#[tokio::test]
#[should_panic = "a test may"]
async fn a_look_that_panics_is_a_panic_of_those_who_follow() {
    let (send, _receive) = mpsc::channel(16);
    let elsewhere = |_| blocking::run("manifests", || catch_unwind(|| panic!("a test may")));
    follow_by(elsewhere, vec![], targets(), send).await;
}

#[test]
fn check_counts_objects_files_and_faults() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), namespace("one")).unwrap();
    fs::write(
        folder.path().join("b.yaml"),
        namespace("two") + "---\nx: 1\n",
    )
    .unwrap();
    let loaded = check(&[folder.path().to_owned()], &targets());
    assert_eq!((loaded.objects, loaded.files), (2, 2));
    let faults: Vec<String> = loaded.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [format!(
            "{}:6: kind is missing",
            folder.path().join("b.yaml").display()
        )]
    );
    let loaded = check(&["/nonexistent".into()], &targets());
    let faults: Vec<String> = loaded.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        ["/nonexistent: No such file or directory (os error 2)"]
    );
}
