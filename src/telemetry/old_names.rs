//! What CoreDNS called the counters of upstreams before 1.11: dashboards made for those names still ask for them.
//!
//! Nothing is counted twice: each family here is made of one with today's name when it is collected.

use std::collections::BTreeMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::family::{CounterFamily, DurationFamily, Schema, counter};

/// The label that today's names have besides.
const PLUGIN: &str = "proxy_name";
/// Its value for the series that had names of their own.
const FORWARD: &str = "forward";

/// A family under the name that it had.
pub(super) struct OldName {
    schema: Schema,
    family: Box<dyn Collector>,
    retell: fn(&Schema, Vec<Metric>) -> Vec<Metric>,
}

/// The families of `forward` under the names that they had.
pub(super) fn of_forward(
    durations: &DurationFamily,
    connection_hits: &CounterFamily,
    connection_misses: &CounterFamily,
    healthcheck_failures: &CounterFamily,
) -> Vec<Box<dyn Collector>> {
    const BY_RCODE: &[&str] = &["rcode", "to"];
    const BY_PROTO: &[&str] = &["to", "proto"];
    let counters = MetricType::COUNTER;
    let old = |kind, name, help, labels, family, retell| -> Box<dyn Collector> {
        Box::new(OldName {
            schema: Schema::new(kind, name, help, labels),
            family,
            retell,
        })
    };
    let durations = || Box::new(durations.clone());
    vec![
        old(
            counters,
            "coredns_forward_requests_total",
            "Counter of requests made per upstream.",
            &["to"],
            durations(),
            requests,
        ),
        old(
            counters,
            "coredns_forward_responses_total",
            "Counter of responses received per upstream.",
            BY_RCODE,
            durations(),
            responses,
        ),
        old(
            MetricType::HISTOGRAM,
            "coredns_forward_request_duration_seconds",
            "Histogram of the time each request took.",
            BY_RCODE,
            durations(),
            as_they_are,
        ),
        old(
            counters,
            "coredns_forward_healthcheck_failures_total",
            "Counter of the number of failed healthchecks.",
            &["to"],
            Box::new(healthcheck_failures.clone()),
            as_they_are,
        ),
        old(
            counters,
            "coredns_forward_conn_cache_hits_total",
            "Counter of connection cache hits per upstream and protocol.",
            BY_PROTO,
            Box::new(connection_hits.clone()),
            as_they_are,
        ),
        old(
            counters,
            "coredns_forward_conn_cache_misses_total",
            "Counter of connection cache misses per upstream and protocol.",
            BY_PROTO,
            Box::new(connection_misses.clone()),
            as_they_are,
        ),
    ]
}

impl Collector for OldName {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.schema.desc()]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.family.collect().into_iter();
        let mut series: Vec<Metric> = families
            .flat_map(|family| family.get_metric().to_vec())
            .filter(|metric| label(metric, PLUGIN) == FORWARD)
            .collect();
        for metric in &mut series {
            let labels = metric.get_label().iter();
            let kept = labels.filter(|pair| pair.name() != PLUGIN).cloned();
            metric.set_label(kept.collect::<Vec<LabelPair>>());
        }
        vec![self.schema.family((self.retell)(&self.schema, series))]
    }
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let mut labels = metric.get_label().iter();
    labels
        .find(|pair| pair.name() == name)
        .map_or("", |pair| pair.value())
}

fn as_they_are(_: &Schema, series: Vec<Metric>) -> Vec<Metric> {
    series
}

fn responses(schema: &Schema, series: Vec<Metric>) -> Vec<Metric> {
    let retell = |metric: &Metric| {
        let labels = schema.pairs(&[label(metric, "rcode"), label(metric, "to")]);
        counter(labels, metric.get_histogram().get_sample_count())
    };
    series.iter().map(retell).collect()
}

fn requests(schema: &Schema, series: Vec<Metric>) -> Vec<Metric> {
    let mut by_upstream = BTreeMap::<&str, u64>::new();
    for metric in &series {
        *by_upstream.entry(label(metric, "to")).or_default() +=
            metric.get_histogram().get_sample_count();
    }
    let retell = |(to, total): (&str, u64)| counter(schema.pairs(&[to]), total);
    by_upstream.into_iter().map(retell).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::upstream::{UpstreamProto, Upstreams};
    use super::*;

    #[test]
    fn upstreams_are_told_of_under_the_names_that_they_had() {
        let upstreams = Upstreams::new();
        let forward = upstreams.with(FORWARD, "192.0.2.1:53");
        forward.answered(0, Duration::from_millis(3));
        forward.answered(0, Duration::from_millis(3));
        forward.answered(3, Duration::from_millis(3));
        forward.connection_made(UpstreamProto::Tcp);
        forward.healthcheck_failed();
        upstreams
            .with("grpc", "192.0.2.2:53")
            .answered(0, Duration::from_millis(3));
        let registry = prometheus::Registry::new();
        for collector in upstreams.collectors() {
            registry.register(collector).unwrap();
        }
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        let told: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("coredns_forward_") && !line.contains("_bucket"))
            .collect();
        assert_eq!(
            told,
            [
                r#"coredns_forward_conn_cache_misses_total{proto="tcp",to="192.0.2.1:53"} 1"#,
                r#"coredns_forward_healthcheck_failures_total{to="192.0.2.1:53"} 1"#,
                r#"coredns_forward_request_duration_seconds_sum{rcode="NOERROR",to="192.0.2.1:53"} 0.006"#,
                r#"coredns_forward_request_duration_seconds_count{rcode="NOERROR",to="192.0.2.1:53"} 2"#,
                r#"coredns_forward_request_duration_seconds_sum{rcode="NXDOMAIN",to="192.0.2.1:53"} 0.003"#,
                r#"coredns_forward_request_duration_seconds_count{rcode="NXDOMAIN",to="192.0.2.1:53"} 1"#,
                r#"coredns_forward_requests_total{to="192.0.2.1:53"} 3"#,
                r#"coredns_forward_responses_total{rcode="NOERROR",to="192.0.2.1:53"} 2"#,
                r#"coredns_forward_responses_total{rcode="NXDOMAIN",to="192.0.2.1:53"} 1"#,
            ]
        );
    }
}
