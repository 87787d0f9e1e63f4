//! Cairn against what CoreDNS answered to the same questions, recorded in `tests/data/conformance`.
//!
//! Each set is one Corefile and its questions; it is asked of a server that follows an API server and of one that
//! reads the same objects from a file. The README beside the data says what counts as the same answer.

mod compare;
mod differences;
mod distributions;
mod pending;
mod questions;
mod text;
mod verdicts;
mod wire;

use std::path::Path;

use cairn_dns::corefile::Memory;

use crate::support::{
    apiserver::{ApiServer, Transport},
    server::Server,
    upstream::Upstream,
};
use compare::{Answer, differences, late_aliases};
use differences::Findings;

const CLUSTER: &str = include_str!("../data/conformance/cluster.yaml");
const UPSTREAM: &str = include_str!("../data/conformance/upstream.zone");

/// What a Corefile says of where its objects are.
const KUBECONFIG_LINE: &str = "kubeconfig {$LAB_KUBECONFIG} lab";

/// Where the objects come from.
#[derive(Clone, Copy)]
enum Source {
    ApiServer,
    Manifests,
}

/// A Cairn with all that it needs.
struct Lab {
    server: Server,
    _upstream: Upstream,
    _apiserver: Option<ApiServer>,
}

impl Lab {
    /// Starts everything and waits until the cluster is known.
    fn start(corefile: &str, source: Source) -> Lab {
        let upstream = Upstream::start(UPSTREAM);
        let outside = Memory::new()
            .set("LAB_PORT", "0")
            .set("LAB_UPSTREAM", upstream.address().to_string());
        let (outside, apiserver) = match source {
            Source::ApiServer => {
                let apiserver = ApiServer::start_with(Transport::Https);
                apiserver.load(CLUSTER);
                let kubeconfig = apiserver.kubeconfig().display().to_string();
                let outside = outside.file("Corefile", corefile);
                (outside.set("LAB_KUBECONFIG", kubeconfig), Some(apiserver))
            }
            Source::Manifests => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR"));
                let path = path.join("tests/data/conformance/cluster.yaml");
                let line = format!("manifests {}", path.display());
                let corefile = corefile.replace(KUBECONFIG_LINE, &line);
                (outside.file("Corefile", corefile), None)
            }
        };
        let server = Server::start(&outside);
        server.wait_until_ready();
        Lab {
            server,
            _upstream: upstream,
            _apiserver: apiserver,
        }
    }
}

/// Asks the questions of a set, in their order, because what a cache holds depends on it.
fn check(set: &'static str, corefile: &str, rows: &str, source: Source) {
    let lab = Lab::start(corefile, source);
    let rows = questions::rows(rows);
    let mut findings = Findings::of(set);
    for (id, row) in (1..).zip(&rows) {
        let reply = row.question.ask(lab.server.address(), id);
        let answer = reply.as_ref().map_or_else(Answer::none, Answer::of);
        let mut found = differences(&row.answer, &answer);
        found.extend(reply.iter().flat_map(late_aliases));
        findings.add(row.question.name(), &found);
    }
    findings.judge(rows.len());
}

macro_rules! sets {
    ($($test:ident: $set:literal;)*) => {$(
        mod $test {
            use super::{check, Source};

            const COREFILE: &str = include_str!(concat!("../data/conformance/corefiles/", $set));
            const ROWS: &str = include_str!(concat!("../data/conformance/", $set, ".jsonl"));

            #[test]
            fn from_an_api_server() {
                check($set, COREFILE, ROWS, Source::ApiServer);
            }

            #[test]
            fn from_manifests() {
                check($set, COREFILE, ROWS, Source::Manifests);
            }
        }
    )*};
}

sets! {
    default: "default";
    seed_domain: "seed-domain";
    pods_verified: "pods-verified";
    pods_disabled: "pods-disabled";
    endpoint_pod_names: "endpoint-pod-names";
    ignore_empty: "ignore-empty";
    namespaces: "namespaces";
    namespace_labels: "namespace-labels";
    labels: "labels";
    noendpoints: "noendpoints";
}
