use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Handle;

use super::*;
use crate::cluster::audit::{self, Repairs};
use crate::cluster::connection::{Request, RequestObserver};
use crate::cluster::inspect::NotFollowed;
use crate::cluster::registry::{Clusters, Lease, Need, Source};

mod anew;

/// What a busy machine may take for something that needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Remembers what is stated, and panics where it is told to.
#[derive(Default)]
struct Witness {
    panics: AtomicUsize,
    panics_next: AtomicBool,
    stated: Mutex<Vec<(Resource, usize, bool)>>,
    audits: Mutex<Vec<audit::Result>>,
    repairs: Mutex<Vec<Repairs>>,
    doubts: AtomicUsize,
}

impl Observer for Witness {
    fn holds(&self, _: &str, resource: Resource, objects: usize, synced: bool) {
        if self.panics_next.swap(false, Ordering::Relaxed) {
            panic!("told to");
        }
        let mut stated = self.stated.lock().unwrap();
        stated.retain(|known| known.0 != resource);
        stated.push((resource, objects, synced));
    }

    fn forgets(&self, _: &str, resource: Resource) {
        self.stated
            .lock()
            .unwrap()
            .retain(|known| known.0 != resource);
    }

    fn heard(&self, _: &str, _: Resource, _: &Heard) {}

    fn audited(&self, _: &str, _: Resource, result: audit::Result) {
        self.audits.lock().unwrap().push(result);
    }

    fn repaired(&self, _: &str, _: Resource, repairs: Repairs) {
        self.repairs.lock().unwrap().push(repairs);
    }

    fn doubted(&self, _: &str, _: Resource) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    fn rewound(&self, _: &str, _: Resource) {}

    fn programmed(&self, _: bool, _: Duration) {}

    fn held(&self, _: &str, _: HeldEnds) {}

    fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }
}

impl RequestObserver for Witness {
    fn answered(&self, _: &Request<'_>) {}
}

impl Witness {
    fn stated(&self) -> Vec<(Resource, usize, bool)> {
        let mut stated = self.stated.lock().unwrap().clone();
        stated.sort();
        stated
    }
}

fn clusters() -> (Arc<Witness>, Clusters) {
    let witness = Arc::<Witness>::default();
    (witness.clone(), Clusters::new(Handle::current(), witness))
}

fn key(folder: &Path) -> ClusterKey {
    ClusterKey {
        source: Source::Manifests(vec![PathBuf::from(folder)]),
        labels: None,
        namespace_labels: None,
    }
}

fn need(resources: &[Resource]) -> Need {
    Need {
        resources: resources.to_vec(),
        snapshot: None,
    }
}

fn write(folder: &Path, namespace: &str) {
    let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    fs::write(folder.join(format!("{namespace}.yaml")), text).unwrap();
}

fn write_pod(folder: &Path) {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: one}\nstatus: {phase: Running, podIP: 10.0.0.7, podIPs: [{ip: 10.0.0.7}]}\n";
    fs::write(folder.join("pod.yaml"), text).unwrap();
}

fn has(lease: &Lease, namespace: &str) -> bool {
    let label = crate::cluster::records::label(namespace).unwrap();
    lease.view().has_namespace(&label)
}

fn has_pod(lease: &Lease) -> bool {
    let label = crate::cluster::records::label("one").unwrap();
    lease.view().has_pod("10.0.0.7".parse().unwrap(), &label)
}

async fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn following(cluster: Cluster) -> Arc<Following> {
    Arc::new(Following {
        cluster: Arc::new(cluster),
        key: key(Path::new("/nonexistent")),
        name: "test".into(),
        identity: "test".into(),
        feed: Feed::Manifests(vec![]),
        observer: Arc::<Witness>::default(),
        pace: Pace::default(),
        fresh: std::array::from_fn(|_| crate::cluster::watch::Freshness::Any),
        served: Default::default(),
        restored: std::sync::Mutex::default(),
        saves: tokio::sync::Mutex::new(mpsc::channel(1).1),
    })
}

#[test]
fn what_a_snapshot_tells_is_traced_to_how_far_the_process_before_had_come() {
    let services = Resource::Services;
    let mut index = Index::default();
    let web = |version: &str| {
        let metadata = json!({"namespace": "demo", "name": "web", "resourceVersion": version});
        let service = json!({"metadata": metadata, "spec": {}});
        Event::Applied(Object::read(services, &service).unwrap())
    };
    let now = Now {
        unix: 0,
        running: Duration::ZERO,
    };
    index.apply(web("5"), now);
    index.restored(services, 1_700_000_000);
    let mut restored = Restored {
        index,
        ..Restored::default()
    };
    let reached = &mut restored.reached[services as usize];
    (reached.version, reached.as_of) = ("7".into(), 1_700_000_000);
    let mut following = Arc::into_inner(following(Cluster::default())).unwrap();
    following.restored = std::sync::Mutex::new(Some(restored));
    let mut owner = Owner::new(Arc::new(following));
    owner.wanted = vec![services];
    let traced = |owner: &Owner| {
        let (answer, mut answered) = oneshot::channel();
        let key = service_key("demo", "web").unwrap();
        owner.answer(Question { key, answer });
        let (_, heard) = answered.try_recv().unwrap().resources.remove(0);
        (heard.version, heard.contact)
    };
    let before = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    assert_eq!(traced(&owner), ("7".into(), Some(before)));
    owner.apply(Event::ListStarted(services));
    owner.apply(web("8"));
    owner.apply(Event::Listed(services));
    owner.apply(Event::Reached(services, "9".into()));
    assert_eq!(traced(&owner), ("9".into(), None));
}

#[test]
fn a_manifest_may_be_put_back_to_an_older_version() {
    let mut owner = Owner::new(following(Cluster::default()));
    owner.wanted = vec![Resource::Namespaces];
    owner.apply(Event::ListStarted(Resource::Namespaces));
    owner.apply(Event::Listed(Resource::Namespaces));
    for version in ["9", "7"] {
        let value = json!({"metadata": {"name": "one", "resourceVersion": version}});
        let namespace = Object::read(Resource::Namespaces, &value).unwrap();
        owner.apply(Event::Applied(namespace));
    }
    assert_eq!(owner.due(), None, "nobody can be asked for a list");
}

#[tokio::test]
async fn a_resource_is_followed_while_some_lease_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one");
    write_pod(folder.path());
    let (witness, clusters) = clusters();
    let key = key(folder.path());
    let few = clusters
        .lease(&key, &need(&[Resource::Namespaces]))
        .unwrap();
    wait_for("namespaces", || has(&few, "one")).await;
    assert!(!has_pod(&few));

    let all = [Resource::Namespaces, Resource::Pods];
    let (first, second) = (
        clusters.lease(&key, &need(&all)).unwrap(),
        clusters.lease(&key, &need(&all)).unwrap(),
    );
    wait_for("pods", || has_pod(&few)).await;
    drop(first);
    // A lease that comes and goes shows that the index has seen the change before.
    write(folder.path(), "two");
    wait_for("news", || has(&few, "two")).await;
    assert!(has_pod(&few), "one lease is left");

    drop(second);
    wait_for("the end of pods", || !has_pod(&few)).await;
    wait_for("one statement", || {
        witness.stated() == [(Resource::Namespaces, 2, true)]
    })
    .await;
    assert!(!few.view().is_synced(Resource::Pods));
    assert!(has(&few, "one") && few.view().is_synced(Resource::Namespaces));

    let again = clusters.lease(&key, &need(&all)).unwrap();
    wait_for("pods again", || {
        has_pod(&again) && again.not_ready(&all, Duration::ZERO).is_empty()
    })
    .await;
    drop((few, again));
    wait_for("no statement", || witness.stated().is_empty()).await;
}

#[test]
fn the_delay_of_a_change_is_told_for_services_that_answer_with_it() {
    let service = |name: &str, spec: serde_json::Value| {
        let value = json!({"metadata": {"namespace": "demo", "name": name}, "spec": spec});
        Event::Applied(Object::read(Resource::Services, &value).unwrap())
    };
    let slice = |service: &str, version: &str, annotations: serde_json::Value| {
        let labels = json!({"kubernetes.io/service-name": service});
        let metadata = json!({
            "namespace": "demo", "name": service, "labels": labels, "annotations": annotations, "resourceVersion": version,
        });
        let value =
            json!({"metadata": metadata, "addressType": "IPv4", "endpoints": [], "ports": []});
        Event::Applied(Object::read(Resource::EndpointSlices, &value).unwrap())
    };
    let services = [
        service(
            "web",
            json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}),
        ),
        service("db", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        service(
            "out",
            json!({"type": "ExternalName", "externalName": "example.com"}),
        ),
    ];
    let slices = Resource::EndpointSlices;
    let synced = [Event::ListStarted(slices), Event::Listed(slices)];
    // A list tells the version 9 and is given up.
    let [started, listed] = synced.clone();
    let given_up = [
        started.clone(),
        listed,
        started,
        slice("web", "9", json!({})),
        Event::Current(slices),
    ];
    let stamp = json!({"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"});
    for (fact, name, annotations, synced, expected) in [
        (
            "a ClusterIP",
            "web",
            stamp.clone(),
            &synced[..],
            Some(false),
        ),
        ("headless", "db", stamp.clone(), &synced, Some(true)),
        ("an alias", "out", stamp.clone(), &synced, None),
        ("no Service", "nosuch", stamp.clone(), &synced, None),
        ("no stamp", "web", json!({}), &synced, None),
        ("the first list", "web", stamp.clone(), &[], None),
        ("a repeat", "web", stamp, &given_up, None),
    ] {
        let mut index = Index::default();
        for event in services.iter().chain(synced) {
            let now = Now {
                unix: 0,
                running: Duration::ZERO,
            };
            index.apply(event.clone(), now);
        }
        let told = trigger(&slice(name, "7", annotations), &index);
        assert_eq!(told.map(|(headless, _)| headless), expected, "{fact}");
    }
}

#[tokio::test]
async fn whoever_asks_is_told_what_a_service_is_made_of_and_how_fresh_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let objects = [
        json!({
            "apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"},
            "metadata": {"namespace": "demo", "name": "db", "resourceVersion": "7"},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "demo", "name": "db-1", "resourceVersion": "8",
                "labels": {"kubernetes.io/service-name": "db"},
            },
        }),
    ];
    let text = objects.map(|object| object.to_string()).join("\n---\n");
    fs::write(folder.path().join("demo.yaml"), text).unwrap();
    let (_witness, clusters) = clusters();
    let all = [Resource::Services, Resource::EndpointSlices];
    let lease = clusters.lease(&key(folder.path()), &need(&all)).unwrap();
    wait_for("the list", || {
        lease.not_ready(&all, Duration::ZERO).is_empty()
    })
    .await;

    let of = |name| service_key("demo", name).unwrap();
    let inspection = lease.inspect(of("DB")).await.unwrap();
    assert_eq!(
        inspection.service.and_then(|service| service.version),
        Some(7)
    );
    let slices = inspection.slices.iter();
    assert_eq!(
        slices.map(|slice| slice.version).collect::<Vec<_>>(),
        [Some(8)]
    );
    let age = SystemTime::now().duration_since(inspection.slices[0].told);
    assert!(age.is_ok_and(|age| age < PATIENCE));
    let heard = inspection.resources.iter();
    assert!(heard.clone().all(|(_, heard)| heard.list.is_some()));
    assert_eq!(heard.map(|(of, _)| *of).collect::<Vec<_>>(), all);

    let nothing = lease.inspect(of("nosuch")).await.unwrap();
    assert_eq!((nothing.service, nothing.slices.len()), (None, 0));
    let deaf = Lease::from(Cluster::default());
    assert_eq!(deaf.inspect(of("db")).await, Err(NotFollowed));
}
