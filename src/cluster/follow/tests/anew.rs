//! An index that is made anew, because the one before has panicked.

use super::*;

#[tokio::test]
async fn an_index_that_panics_is_made_anew_and_what_was_served_stays() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one");
    let (witness, clusters) = clusters();
    let lease = clusters
        .lease(&key(folder.path()), &need(&[Resource::Namespaces]))
        .unwrap();
    let is_listed = || has(&lease, "one") && lease.view().is_synced(Resource::Namespaces);
    wait_for("the first list", is_listed).await;
    witness.panics_next.store(true, Ordering::Relaxed);
    write(folder.path(), "two");
    wait_for("the news after the panic", || {
        assert!(has(&lease, "one"), "what was served is gone");
        assert!(lease.view().is_synced(Resource::Namespaces));
        has(&lease, "two")
    })
    .await;
    assert_eq!(witness.panics.load(Ordering::Relaxed), 1);
    assert_eq!(witness.stated(), [(Resource::Namespaces, 2, true)]);
}

#[test]
fn an_index_that_is_made_anew_does_not_wait_for_what_may_not_be_listed_any_more() {
    let [namespaces, services] = [Resource::Namespaces, Resource::Services];
    let lists = |resource| [Event::ListStarted(resource), Event::Listed(resource)];
    let served = Cluster::told(lists(namespaces).into_iter().chain(lists(services)));
    let mut owner = Owner::new(following(served));
    owner.wanted = vec![namespaces, services];
    let service = json!({"metadata": {"namespace": "demo", "name": "web"}, "spec": {}});
    let service = Object::read(services, &service).unwrap();
    let [started, listed] = lists(services);
    for event in [started, Event::Applied(service), listed] {
        owner.apply(event);
    }
    let key = service_key("demo", "web").unwrap();
    let is_served = |owner: &Owner| owner.following.cluster.view().service(&key).is_some();
    let away = Trouble::Unreachable("timed out".into());
    owner.apply(Event::Trouble(namespaces, away));
    owner.publish();
    assert!(!is_served(&owner), "who is away may come back");
    owner.apply(Event::Trouble(namespaces, Trouble::Forbidden("no".into())));
    owner.publish();
    assert!(is_served(&owner));
}

#[test]
fn an_index_that_is_made_anew_is_heard_when_it_knows_as_much_as_is_served() {
    let namespace = |name: &str| {
        let value = json!({"metadata": {"name": name}});
        Event::Applied(Object::read(Resource::Namespaces, &value).unwrap())
    };
    let (started, listed) = (
        Event::ListStarted(Resource::Namespaces),
        Event::Listed(Resource::Namespaces),
    );
    let known = Cluster::told([started.clone(), namespace("one"), listed.clone()]);
    for (fact, cluster, at_the_first, at_the_end) in [
        ("nothing is served", Cluster::default(), ["two"], ["two"]),
        ("a whole list is served", known, ["one"], ["two"]),
    ] {
        let mut owner = Owner::new(following(cluster));
        owner.wanted = vec![Resource::Namespaces];
        let served = |owner: &Owner| {
            let view = owner.following.cluster.view();
            let has =
                |name: &&str| view.has_namespace(&crate::cluster::records::label(name).unwrap());
            ["one", "two"].into_iter().filter(has).collect::<Vec<_>>()
        };
        owner.apply(started.clone());
        owner.apply(namespace("two"));
        assert_eq!(served(&owner), at_the_first, "{fact}");
        owner.apply(listed.clone());
        assert_eq!(served(&owner), at_the_end, "{fact}");
    }
}

/// A cluster behind an API server that never answers.
fn unanswered() -> Arc<Following> {
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
    });
    let mut following = Arc::into_inner(following(Cluster::default())).unwrap();
    following.feed = Feed::Api {
        client: kube::Client::new(nobody, "default"),
        server: "https://api".into(),
    };
    Arc::new(following)
}

fn anew(following: &Arc<Following>, wanted: &[Resource]) -> Owner {
    let mut owner = Owner::new(following.clone());
    owner.wanted = wanted.to_vec();
    owner.sources.want(wanted);
    owner
}

/// A list of Namespaces that are named by numbers.
fn list(owner: &mut Owner, names: std::ops::Range<usize>) {
    owner.apply(Event::ListStarted(Resource::Namespaces));
    for name in names {
        let value = json!({"metadata": {"name": format!("n{name}")}});
        let namespace = Object::read(Resource::Namespaces, &value).unwrap();
        owner.apply(Event::Applied(namespace));
    }
    owner.apply(Event::Listed(Resource::Namespaces));
}

/// How many Namespaces are served, and whether that of this number is.
fn served(following: &Following, number: usize) -> (usize, bool) {
    let count = following.served[Resource::Namespaces as usize].load(Ordering::Relaxed);
    let label = crate::cluster::records::label(&format!("n{number}")).unwrap();
    (count, following.cluster.view().has_namespace(&label))
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_made_anew_believes_no_list_that_lacks_most_of_what_is_served() {
    let (following, wanted) = (unanswered(), [Resource::Namespaces]);
    list(&mut anew(&following, &wanted), 0..200);
    assert_eq!(served(&following, 199), (200, true));

    let mut owner = anew(&following, &wanted);
    list(&mut owner, 0..99);
    assert_eq!(served(&following, 199), (200, true), "not at once");
    let doubted = owner.standings[Resource::Namespaces as usize].doubted;
    assert_eq!(doubted.map(|doubted| doubted.missing), Some(101));
    let under_way = owner.index.outcome(Resource::Namespaces);
    assert_eq!(under_way, None, "the watch goes on after the list");
    // Nor is it after another panic.
    let mut owner = anew(&following, &wanted);
    list(&mut owner, 0..99);
    tokio::time::advance(Pace::default().hold).await;
    assert_eq!(served(&following, 199), (200, true), "not said again");
    list(&mut owner, 0..99);
    assert_eq!(served(&following, 199), (99, false));

    list(&mut anew(&following, &wanted), 0..50);
    assert_eq!(served(&following, 0), (50, true), "few may go at once");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_made_anew_waits_for_a_doubted_list_twice_as_long_as_it_is_doubted() {
    let (following, hold) = (unanswered(), Pace::default().hold);
    let wanted = [Resource::Namespaces, Resource::Services];
    let mut owner = anew(&following, &wanted);
    list(&mut owner, 0..200);
    for event in [Event::ListStarted, Event::Listed] {
        owner.apply(event(Resource::Services));
    }
    assert_eq!(served(&following, 199), (200, true));

    let began = tokio::time::Instant::now();
    let mut owner = anew(&following, &wanted);
    list(&mut owner, 0..99);
    owner.apply(Event::ListStarted(Resource::Services));
    let value = json!({"metadata": {"namespace": "demo", "name": "web"}, "spec": {}});
    let service = Object::read(Resource::Services, &value).unwrap();
    owner.apply(Event::Applied(service));
    owner.apply(Event::Listed(Resource::Services));
    let key = service_key("demo", "web").unwrap();
    let is_service_served = || following.cluster.view().service(&key).is_some();
    // The list is asked for again, and is under way for ever.
    for holds in [0, 1] {
        owner.oversee(began + holds * hold);
        assert_eq!(served(&following, 199), (200, true), "{holds}");
        assert!(!is_service_served(), "{holds}");
    }
    owner.apply(Event::ListStarted(Resource::Namespaces));
    assert_eq!(owner.due(), Some(began + 2 * hold));
    owner.oversee(began + 2 * hold);
    assert_eq!(served(&following, 199), (99, false));
    assert!(is_service_served(), "others wait no longer");
    let doubted = owner.standings[Resource::Namespaces as usize].doubted;
    assert_eq!(doubted, None);
}
