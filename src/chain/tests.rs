//! Chains of a cluster and of plugins that do what a test wants, and names that lead from one to the other.

use serde_json::json;

use super::*;
use crate::cluster::Cluster;
use crate::cluster::object::{Event, Object, Resource};
use crate::dns::{Transport, Type};
use crate::plugin::kubernetes::{Kubernetes, Options};
use crate::plugin::scripted::Scripted;

/// `cluster.local` with an alias `NAME.demo.svc` to each of these targets, and `.` with a scripted plugin.
fn router(aliases: &[(&str, &str)], script: &Arc<Scripted>) -> Arc<Router> {
    let read = |resource, value: &serde_json::Value| {
        Event::Applied(Object::read(resource, value).unwrap())
    };
    let namespace = read(Resource::Namespaces, &json!({"metadata": {"name": "demo"}}));
    let aliases = aliases.iter().map(|(name, target)| {
        let spec = json!({"type": "ExternalName", "externalName": target});
        read(
            Resource::Services,
            &json!({"metadata": {"namespace": "demo", "name": name}, "spec": spec}),
        )
    });
    let events = Resource::ALL
        .map(Event::ListStarted)
        .into_iter()
        .chain([namespace])
        .chain(aliases);
    let cluster = Cluster::told(events.chain(Resource::ALL.map(Event::Listed)));
    let zone: Name = "cluster.local.".parse().unwrap();
    let options = Options::of_zone(zone);
    let kubernetes = Plugin::Kubernetes(Arc::new(Kubernetes::new(
        options,
        cluster.into(),
        std::time::Duration::ZERO,
    )));
    let chains = [
        (zone, kubernetes),
        (Name::root(), Plugin::Scripted(script.clone())),
    ];
    Arc::new(Router::new(
        chains.map(|(zone, plugin)| (zone, Arc::new(Chain::new(vec![plugin])))),
        false,
    ))
}

/// What comes of a question: the code, the types of the answers, and whether it had to wait.
async fn ask(router: &Arc<Router>, name: &str) -> (Option<(Rcode, Vec<Type>)>, bool) {
    let mut query = Query::empty();
    query.transport = Transport::Tcp;
    query.question = Question::new(name.parse().unwrap(), Type::A, Class::IN);
    let chain = router.route(&query.question).unwrap().clone();
    let (answer, waited) = match chain.run(router, &mut query) {
        Progress::Answered(answer) => (Some(answer), false),
        Progress::Dropped => (None, false),
        Progress::Waiting(waiting) => (waiting.finish(&mut query).await, true),
    };
    let told = answer.map(|answer| {
        let entries = answer.reply.records.entries().iter();
        (
            answer.reply.rcode,
            entries.map(|entry| entry.rtype).collect(),
        )
    });
    (told, waited)
}

const MADE_UP: Type = Type(65280);

#[tokio::test]
async fn an_alias_is_told_with_whatever_is_known_of_its_target() {
    let script = Arc::new(Scripted::new());
    let aliases = [
        ("known", "big.example.com"),
        ("late", "wait.example.com"),
        ("failing", "nothing.example.com"),
        ("dropped", "drop.example.com"),
    ];
    let router = router(&aliases, &script);
    script.gate.add_permits(1);
    let both = vec![Type::CNAME, MADE_UP];
    let known = |answers| (Rcode::NOERROR, answers);
    for (fact, alias, told, waited) in [
        ("an answer in place", "known", known(both.clone()), false),
        (
            "an answer that must be waited for",
            "late",
            known(both),
            true,
        ),
        ("a failure", "failing", known(vec![Type::CNAME]), false),
        ("silence", "dropped", (Rcode::SERVFAIL, vec![]), false),
    ] {
        let got = ask(&router, &format!("{alias}.demo.svc.cluster.local.")).await;
        assert_eq!(got, (Some(told), waited), "{fact}");
    }
}

#[tokio::test]
async fn a_chain_that_ends_is_servfail_with_the_reason() {
    let script = Arc::new(Scripted::new());
    let router = router(&[], &script);
    let mut query = Query::empty();
    query.question = Question::new("nothing.example.com.".parse().unwrap(), Type::A, Class::IN);
    let chain = router.route(&query.question).unwrap().clone();
    let Progress::Answered(answer) = chain.run(&router, &mut query) else {
        panic!("it is answered")
    };
    assert_eq!((answer.reply.rcode, answer.by), (Rcode::SERVFAIL, None));
    let failure = answer.failure.unwrap().to_string();
    assert!(failure.ends_with("no next plugin found"), "{failure}");
}

/// As many wait as upstreams are slow for: what each holds counts thousands of times. What takes a future by value and awaits
/// it holds it twice, and so doubles all of this.
#[test]
fn a_query_holds_little_while_it_waits() {
    const OCTETS_MAX: usize = 4096;
    let router = router(&[], &Arc::new(Scripted::new()));
    let mut query = Query::empty();
    query.question = Question::new("wait.example.com.".parse().unwrap(), Type::A, Class::IN);
    let chain = router.route(&query.question).unwrap().clone();
    let Progress::Waiting(waiting) = chain.run(&router, &mut query) else {
        panic!("it waits")
    };
    let held = size_of_val(&waiting.finish(&mut query));
    assert!(held <= OCTETS_MAX, "{held} octets");
}

#[tokio::test]
async fn silence_is_kept() {
    let script = Arc::new(Scripted::new());
    assert_eq!(
        ask(&router(&[], &script), "drop.example.com.").await,
        (None, false)
    );
}
