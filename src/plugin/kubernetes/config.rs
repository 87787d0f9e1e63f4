//! `kubernetes [ZONES…] { … }` in the Corefile.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::zone_data::HOSTMASTER;
use super::{Options, Pods};
use crate::cluster::connection::{Connection, Limits, Server, TlsFiles};
use crate::cluster::records::label;
use crate::cluster::selector::Selector;
use crate::cluster::snapshot::SnapshotFile;
use crate::cluster::{ClusterKey, Source};
use crate::config::{Scope, value};
use crate::corefile::reader::{self, Reader, Row};
use crate::corefile::{Directive, Faults, Outside};
use crate::dns::name::NAME_MAX;
use crate::dns::{Name, Zones, reverse};

mod snapshot;

pub use snapshot::Snapshots;

/// Seconds that answers may be kept if the Corefile does not say.
const TTL_DEFAULT: u32 = 5;
/// The most that it may say.
const TTL_MAX: i64 = 3600;
/// How long the start waits before it says that the API has not answered.
const STARTUP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The most octets of a zone, so that `hostmaster` still goes in front of it.
const ZONE_MAX: usize = NAME_MAX - HOSTMASTER.len();

/// All that a stanza says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How to answer.
    pub options: Options,
    /// Which cluster to answer for.
    pub cluster: ClusterKey,
    /// Where what is known of it is kept for the next process.
    pub snapshot: Option<SnapshotFile>,
    /// How long the start waits for the first lists.
    pub startup_timeout: Duration,
}

/// A stanza while it is read.
struct Draft {
    /// The one of the cluster that we run in if `None`.
    server: Option<Server>,
    tls: Option<TlsFiles>,
    manifests: Vec<PathBuf>,
    snapshot: Option<SnapshotFile>,
    limits: (f64, u32, u32),
    labels: Option<Selector>,
    namespace_labels: Option<Selector>,
    namespaces: Vec<Box<[u8]>>,
    pods: Pods,
    endpoint_pod_names: bool,
    no_endpoints: bool,
    ignore_empty_service: bool,
    ttl: u32,
    fallthrough: Vec<Name>,
    startup_timeout: Duration,
}

const PROPERTIES: &[Row<Draft>] = &[
    Row::Line("endpoint", endpoint),
    Row::Line("tls", tls),
    Row::Line("kubeconfig", kubeconfig),
    Row::Line("manifests", manifests),
    Row::Line("snapshot", snapshot::property),
    Row::Line("apiserver_qps", apiserver_qps),
    Row::Line("apiserver_burst", |draft, line| {
        limit(line, "apiserver_burst").map(|n| draft.limits.1 = n)
    }),
    Row::Line("apiserver_max_inflight", |draft, line| {
        limit(line, "apiserver_max_inflight").map(|n| draft.limits.2 = n)
    }),
    Row::Line("namespaces", namespaces),
    Row::Line("namespace_labels", |draft, line| {
        draft.namespace_labels = Some(selector(line, "namespace_label selector")?);
        Some(())
    }),
    Row::Line("labels", |draft, line| {
        draft.labels = Some(selector(line, "label selector")?);
        Some(())
    }),
    Row::Line("pods", pods),
    Row::Line("endpoint_pod_names", |draft, line| {
        line.none().map(|()| draft.endpoint_pod_names = true)
    }),
    Row::Line("ttl", ttl),
    Row::Line("noendpoints", |draft, line| {
        line.none().map(|()| draft.no_endpoints = true)
    }),
    Row::Line("fallthrough", |draft, line| {
        fallthrough(line).map(|zones| draft.fallthrough = zones)
    }),
    Row::Line("ignore", ignore),
    Row::Line("startup_timeout", startup_timeout),
    Row::Absent("multicluster"),
    Row::Absent("zonal"),
];

/// Reads the stanza of a server block.
pub fn parse(occurrences: &[&Directive], scope: &Scope<'_>, faults: &Faults) -> Option<Config> {
    let reader = reader::once(occurrences, faults)?;
    let mut draft = Draft::default();
    let sound = reader.block(&mut draft, PROPERTIES);
    let zones = zones(&reader, scope)?;
    sound?;
    if let Some(zone) = zones.iter().find(|zone| zone.wire().len() > ZONE_MAX) {
        let message = format!("zone is too long for the names of its SOA record: {zone}");
        return reader.refuse(reader.name(), message);
    }
    let primary_zone = primary(&zones, &reader)?;
    if !draft.namespaces.is_empty() && draft.namespace_labels.is_some() {
        return reader.refuse(
            reader.name(),
            "namespaces and namespace_labels cannot both be set",
        );
    }
    let snapshot = draft.snapshot.take();
    let cluster = draft.cluster(&reader, scope.outside)?;
    snapshot::check(&reader, &cluster, snapshot.as_ref(), scope.snapshots)?;
    let options = Options {
        zones: Zones::new(zones),
        primary_zone,
        ttl: draft.ttl,
        pods: draft.pods,
        endpoint_pod_names: draft.endpoint_pod_names,
        no_endpoints: draft.no_endpoints,
        ignore_empty_service: draft.ignore_empty_service,
        namespaces: draft.namespaces,
        namespaces_selected: cluster.namespace_labels.is_some(),
        fallthrough: Zones::new(draft.fallthrough),
        local_addresses: Vec::new(),
    };
    Some(Config {
        options,
        cluster,
        snapshot,
        startup_timeout: draft.startup_timeout,
    })
}

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            server: None,
            tls: None,
            manifests: Vec::new(),
            snapshot: None,
            limits: (0.0, 0, 0),
            labels: None,
            namespace_labels: None,
            namespaces: Vec::new(),
            pods: Pods::Disabled,
            endpoint_pod_names: false,
            no_endpoints: false,
            ignore_empty_service: false,
            ttl: TTL_DEFAULT,
            fallthrough: Vec::new(),
            startup_timeout: STARTUP_TIMEOUT_DEFAULT,
        }
    }
}

impl Draft {
    /// Where the objects come from. What can be checked without a socket is checked here.
    fn cluster(&mut self, reader: &Reader<'_>, outside: &dyn Outside) -> Option<ClusterKey> {
        let source = match (self.server.take(), std::mem::take(&mut self.manifests)) {
            (server, manifests) if manifests.is_empty() => {
                Source::Api(self.connection(server, reader, outside)?)
            }
            (None, manifests) => Source::Manifests(manifests),
            (Some(_), _) => {
                return reader.refuse(
                    reader.name(),
                    "manifests and an API server cannot both be set",
                );
            }
        };
        let (labels, namespace_labels) = (self.labels.take(), self.namespace_labels.take());
        Some(ClusterKey {
            source,
            labels,
            namespace_labels,
        })
    }

    fn connection(
        &mut self,
        server: Option<Server>,
        reader: &Reader<'_>,
        outside: &dyn Outside,
    ) -> Option<Connection> {
        let server = match (server, self.tls.take()) {
            (Some(Server::Endpoint { url, .. }), tls) => Server::Endpoint { url, tls },
            (server, _) => server.unwrap_or_else(|| in_cluster(outside)),
        };
        let (qps, burst, max_inflight) = self.limits;
        let limits = Limits::new(qps, burst, max_inflight);
        let connection = Connection { server, limits };
        let read = |path: &Path| outside.read(path).map_err(io::Error::from);
        match connection.check(&read) {
            Ok(()) => Some(connection),
            Err(fault) => reader.refuse(reader.name(), fault.to_string()),
        }
    }
}

fn in_cluster(outside: &dyn Outside) -> Server {
    let variable = |name| outside.variable(name).unwrap_or_default().into();
    Server::InCluster {
        host: variable("KUBERNETES_SERVICE_HOST"),
        port: variable("KUBERNETES_SERVICE_PORT"),
    }
}

/// The zones of the arguments, or else of the server block.
fn zones(reader: &Reader<'_>, scope: &Scope<'_>) -> Option<Vec<Name>> {
    if reader.args().is_empty() {
        return Some(scope.zones.to_vec());
    }
    listed(reader)
}

/// The zones that the arguments name, networks among them.
fn listed(line: &Reader<'_>) -> Option<Vec<Name>> {
    let words = line.args().iter();
    let zones: Option<Vec<Vec<Name>>> = words.map(|word| line.value(word, value::zones)).collect();
    Some(zones?.concat())
}

/// The zone of names in answers to reverse queries. The whole tree of reverse names passes for a zone of names
/// too, because it does in CoreDNS, but only where there is no other.
fn primary(zones: &[Name], reader: &Reader<'_>) -> Option<Name> {
    let forward = zones.iter().find(|zone| !reverse::is_reverse(zone));
    let is_tree = |zone: &&Name| zone.labels().count() == 2;
    let Some(zone) = forward.or_else(|| zones.iter().find(is_tree)) else {
        return reader.refuse(reader.name(), "non-reverse zone name must be used");
    };
    Some(*zone)
}

fn endpoint(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let urls = line.at_least(1)?;
    if let Some(second) = urls.get(1) {
        line.warn(
            second,
            "Multiple endpoints have been deprecated, only the first specified endpoint is used",
        );
    }
    if !matches!(draft.server, Some(Server::Kubeconfig { .. })) {
        draft.server = Some(Server::Endpoint {
            url: urls[0].text.as_str().into(),
            tls: None,
        });
    }
    Some(())
}

fn tls(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let [cert, key, ca] = line.exactly()?;
    let [cert, key, ca] = [cert, key, ca].map(|word| PathBuf::from(&word.text));
    draft.tls = Some(TlsFiles { cert, key, ca });
    Some(())
}

fn kubeconfig(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let args = line.between(1, 2)?;
    let context = args.get(1).map(|word| word.text.as_str().into());
    draft.server = Some(Server::Kubeconfig {
        file: PathBuf::from(&args[0].text),
        context,
    });
    Some(())
}

fn manifests(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    draft.manifests.extend(
        line.at_least(1)?
            .iter()
            .map(|word| PathBuf::from(&word.text)),
    );
    Some(())
}

fn apiserver_qps(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match word.text.parse::<f64>() {
        Ok(qps) if qps >= 0.0 && qps.is_finite() => draft.limits.0 = qps,
        Ok(_) => return line.refuse(word, "apiserver_qps must be >= 0"),
        Err(fault) => {
            return line.refuse(
                word,
                format!("invalid apiserver_qps {:?}: {fault}", word.text),
            );
        }
    }
    Some(())
}

fn limit(line: &Reader<'_>, property: &str) -> Option<u32> {
    let word = line.one()?;
    match value::integer(&word.text) {
        Ok(number) if number < 0 => line.refuse(word, format!("{property} must be >= 0")),
        Ok(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(fault) => line.refuse(word, format!("invalid {property} {:?}: {fault}", word.text)),
    }
}

fn namespaces(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    // A word that is no label names no Namespace; an empty list would stand for all.
    let none: Box<[u8]> = Box::new([]);
    let labels = line
        .at_least(1)?
        .iter()
        .map(|word| label(&word.text).unwrap_or_else(|| none.clone()));
    draft.namespaces.extend(labels);
    Some(())
}

fn selector(line: &Reader<'_>, what: &str) -> Option<Selector> {
    let words: Vec<&str> = line
        .at_least(1)?
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    let text = words.join(" ");
    match text.parse() {
        Ok(selector) => Some(selector),
        Err(fault) => line.refuse(
            &line.args()[0],
            format!("unable to parse {what} value: '{text}': {fault}"),
        ),
    }
}

fn pods(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    draft.pods = match word.text.as_str() {
        "disabled" => Pods::Disabled,
        "insecure" => Pods::Insecure,
        "verified" => Pods::Verified,
        other => {
            let message = format!(
                "wrong value for pods: {other},  must be one of: disabled, verified, insecure"
            );
            return line.refuse(word, message);
        }
    };
    Some(())
}

fn ttl(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = &line.at_least(1)?[0];
    let seconds = line.value(word, value::integer)?;
    if !(0..=TTL_MAX).contains(&seconds) {
        return line.refuse(
            word,
            format!("ttl must be in range [0, {TTL_MAX}]: {seconds}"),
        );
    }
    draft.ttl = seconds as u32;
    Some(())
}

/// `fallthrough [ZONES…]`: no zone stands for all names.
fn fallthrough(line: &Reader<'_>) -> Option<Vec<Name>> {
    if line.args().is_empty() {
        return Some(vec![Name::root()]);
    }
    listed(line)
}

fn ignore(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    match line.args().first() {
        // CoreDNS lets the bare word pass.
        None => Some(()),
        Some(word) if word.text == "empty_service" => {
            draft.ignore_empty_service = true;
            Some(())
        }
        Some(word) => line.refuse(
            word,
            format!("unable to parse ignore value: '{}'", word.text),
        ),
    }
}

fn startup_timeout(draft: &mut Draft, line: &Reader<'_>) -> Option<()> {
    let word = line.one()?;
    match value::duration(&word.text) {
        Ok(timeout) => draft.startup_timeout = timeout.unwrap_or_default(),
        Err(fault) => {
            return line.refuse(
                word,
                format!("failed to parse startup_timeout: {}, {fault}", word.text),
            );
        }
    }
    Some(())
}
