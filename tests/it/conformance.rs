//! Cairn against what CoreDNS answered to the same questions, recorded in `tests/data/conformance`.
//!
//! Each set is one Corefile and its questions; it is asked of a server that follows an API server and of one that
//! reads the same objects from a file. The README beside the data says what counts as the same answer. Where a
//! Corefile has directives that are not built, it is served without them, and the rows that depend on them are left.

mod compare;
mod differences;
mod distributions;
mod pending;
mod questions;
mod reach;
mod reduced;
mod text;
mod verdicts;
mod wire;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use cairn_dns::corefile::Memory;

use crate::support::{
    apiserver::{ApiServer, Transport},
    server::Server,
    upstream::Upstream,
};
use compare::{Answer, differences, late_aliases};
use differences::{Findings, is_explained, misplaced_options};
use reach::{Left, left_to};
use reduced::{dropped, has, reduced};

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
        let (outside, corefile, apiserver) = match source {
            Source::ApiServer => {
                let apiserver = ApiServer::start_with(Transport::Https);
                apiserver.load(CLUSTER);
                let kubeconfig = apiserver.kubeconfig().display().to_string();
                let outside = outside.set("LAB_KUBECONFIG", kubeconfig);
                (outside, corefile.to_owned(), Some(apiserver))
            }
            Source::Manifests => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR"));
                let path = path.join("tests/data/conformance/cluster.yaml");
                let line = format!("manifests {}", path.display());
                let corefile = corefile.replace(KUBECONFIG_LINE, &line);
                (outside, corefile, None)
            }
        };
        let corefile = reduced(&outside, &corefile);
        let server = Server::start(&outside.file("Corefile", corefile));
        server.wait_until_ready();
        Lab {
            server,
            _upstream: upstream,
            _apiserver: apiserver,
        }
    }
}

/// A Corefile and its questions.
struct Set {
    name: &'static str,
    corefile: &'static str,
    rows: &'static str,
    /// How many of its rows are left to which directives that are not built.
    left: &'static [(&'static str, usize)],
}

impl Set {
    /// Asks the questions in their order, because what a cache holds depends on it.
    fn check(&self, source: Source) {
        let lab = Lab::start(self.corefile, source);
        let dropped = dropped(self.corefile);
        let began = has(self.corefile, "cache").then(Instant::now);
        let mut left = Left::new();
        let mut findings = Findings::of(self.name);
        for (id, row) in (1..).zip(&questions::rows(self.rows)) {
            if let Some(directive) = left_to(&dropped, row) {
                *left.entry(directive.to_owned()).or_default() += 1;
                continue;
            }
            let reply = row.question.ask(lab.server.address(), id);
            let answer = reply.as_ref().map_or_else(Answer::none, Answer::of);
            let cached_for = began.map_or(Duration::ZERO, |began| began.elapsed());
            let mut found = differences(&row.answer, &answer, cached_for);
            found.extend(reply.iter().flat_map(late_aliases));
            found.extend(reply.iter().flat_map(misplaced_options));
            if reply.iter().any(is_explained) {
                findings.explained();
            }
            findings.add(row.question.name(), &found);
        }
        let left: Vec<_> = left
            .iter()
            .map(|(name, rows)| (name.as_str(), *rows))
            .collect();
        assert_eq!(left, self.left, "{}: rows that are left", self.name);
        let left: usize = self.left.iter().map(|(_, rows)| rows).sum();
        findings.judge(self.rows.lines().count() - left);
    }
}

macro_rules! sets {
    ($($test:ident: $set:literal, $left:expr;)*) => {$(
        mod $test {
            use super::{Set, Source};

            const SET: Set = Set {
                name: $set,
                corefile: include_str!(concat!("../data/conformance/corefiles/", $set)),
                rows: include_str!(concat!("../data/conformance/", $set, ".jsonl")),
                left: &$left,
            };

            #[test]
            fn from_an_api_server() {
                SET.check(Source::ApiServer);
            }

            #[test]
            fn from_manifests() {
                SET.check(Source::Manifests);
            }
        }
    )*};
}

sets! {
    default: "default", [];
    seed_domain: "seed-domain", [];
    pods_verified: "pods-verified", [];
    pods_disabled: "pods-disabled", [];
    endpoint_pod_names: "endpoint-pod-names", [];
    ignore_empty: "ignore-empty", [];
    namespaces: "namespaces", [];
    namespace_labels: "namespace-labels", [];
    labels: "labels", [];
    noendpoints: "noendpoints", [];
    acl_minimal_any: "acl-minimal-any", [("acl", 177), ("any", 3), ("chaos", 3), ("minimal", 7)];
    autopath: "autopath", [("autopath", 48)];
    dns64_bufsize: "dns64-bufsize", [];
    external: "external", [("k8s_external", 604)];
    external_fallthrough: "external-fallthrough", [("k8s_external", 38)];
    stub_and_rewrite: "stub-and-rewrite", [("hosts", 11), ("rewrite", 30), ("template", 16)];
}
