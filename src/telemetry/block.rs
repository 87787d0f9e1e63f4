//! What is counted of every query: one table of cells for each server block, zone and view.
//!
//! `replied` is on the path of every answer: it turns the facts of a query into cell numbers and adds to the calling
//! thread's cells, without allocation, formatting or lock. Names appear at the scrape alone.
//!
//! Measured (see `sharded` for the machine): 10 ns a reply.

use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::family::{Schema, Series, counter, durations, histogram, texts};
use super::histogram::{DURATION_CELLS, SIZE_BOUNDS, SIZE_CELLS, observe_duration, observe_size};
use super::labels::{
    FAMILIES, Family, PROTOS, PluginId, Proto, RCODES, TYPES, rcode_slot, type_slot,
};
use super::sharded::Sharded;

/// The facts of one answered query that are counted.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The transport of the query.
    pub proto: Proto,
    /// The address family of the client.
    pub family: Family,
    /// The query type as it was on the wire.
    pub qtype: u16,
    /// Whether the query had the DO bit (RFC 3225).
    pub do_bit: bool,
    /// Octets of the query message.
    pub request_len: usize,
    /// Octets of the reply message; 0 where nothing was sent.
    pub reply_len: usize,
    /// The rcode with its extended bits (RFC 6891 section 6.1.3).
    pub rcode: u16,
    /// Who wrote the reply.
    pub plugin: PluginId,
    /// From the query's arrival to its reply.
    pub elapsed: Duration,
}

/// The counters of one server block, zone and view; they go on over a reload that keeps the three.
pub struct BlockMetrics {
    cells: Sharded,
    plugins: &'static [&'static str],
}

// The cells of a block, in this order: requests by protocol, family and type; queries with DO; durations; sizes of
// requests and of replies by protocol; replies by rcode and plugin.
const REQUESTS: usize = 0;
const WITH_DO: usize = REQUESTS + PROTOS.len() * FAMILIES.len() * TYPES.len();
const DURATION: usize = WITH_DO + 1;
const REQUEST_SIZE: usize = DURATION + DURATION_CELLS;
const REPLY_SIZE: usize = REQUEST_SIZE + PROTOS.len() * SIZE_CELLS;
const REPLIES: usize = REPLY_SIZE + PROTOS.len() * SIZE_CELLS;

impl BlockMetrics {
    fn new(plugins: &'static [&'static str]) -> Self {
        // One slot more, for replies that no plugin wrote.
        Self {
            cells: Sharded::new(REPLIES + RCODES.len() * (plugins.len() + 1)),
            plugins,
        }
    }

    /// Counts one answered query.
    #[inline]
    pub fn replied(&self, answered: &Answered) {
        let cells = self.cells.local();
        let proto = answered.proto as usize;
        let family = answered.family as usize;
        cells.add(
            REQUESTS + (proto * FAMILIES.len() + family) * TYPES.len() + type_slot(answered.qtype),
            1,
        );
        if answered.do_bit {
            cells.add(WITH_DO, 1);
        }
        observe_duration(&cells, DURATION, answered.elapsed);
        observe_size(
            &cells,
            REQUEST_SIZE + proto * SIZE_CELLS,
            answered.request_len,
        );
        observe_size(&cells, REPLY_SIZE + proto * SIZE_CELLS, answered.reply_len);
        let plugin = usize::from(answered.plugin.0).min(self.plugins.len());
        cells.add(
            REPLIES + rcode_slot(answered.rcode) * (self.plugins.len() + 1) + plugin,
            1,
        );
    }
}

/// All blocks of the process, and the families they are shown in.
#[derive(Clone)]
pub(super) struct Blocks(Arc<Tables>);

struct Tables {
    plugins: &'static [&'static str],
    blocks: Series<BlockMetrics>,
    schemas: [Schema; 6],
}

const BLOCK: &[&str] = &["server", "zone", "view"];
const BY_PROTO: &[&str] = &["server", "zone", "view", "proto"];

impl Blocks {
    pub(super) fn new(plugins: &'static [&'static str]) -> Self {
        let schemas = [
            Schema::new(
                MetricType::COUNTER,
                "coredns_dns_requests_total",
                "Counter of DNS requests made per zone, protocol and family.",
                &["server", "zone", "view", "proto", "family", "type"],
            ),
            Schema::new(
                MetricType::COUNTER,
                "coredns_dns_do_requests_total",
                "Counter of DNS requests with DO bit set per zone.",
                BLOCK,
            ),
            Schema::new(
                MetricType::HISTOGRAM,
                "coredns_dns_request_duration_seconds",
                "Histogram of the time (in seconds) each request took per zone.",
                BLOCK,
            ),
            Schema::new(
                MetricType::HISTOGRAM,
                "coredns_dns_request_size_bytes",
                "Size of the request message in bytes, 64 KB at most.",
                BY_PROTO,
            ),
            Schema::new(
                MetricType::HISTOGRAM,
                "coredns_dns_response_size_bytes",
                "Size of the response message in bytes, 64 KB at most.",
                BY_PROTO,
            ),
            Schema::new(
                MetricType::COUNTER,
                "coredns_dns_responses_total",
                "Counter of response status codes, by the plugin that wrote the response.",
                &["server", "zone", "view", "rcode", "plugin"],
            ),
        ];
        Self(Arc::new(Tables {
            plugins,
            blocks: Series::default(),
            schemas,
        }))
    }

    pub(super) fn with(&self, server: &str, zone: &str, view: &str) -> Arc<BlockMetrics> {
        self.0
            .blocks
            .with(&[server, zone, view], || BlockMetrics::new(self.0.plugins))
    }
}

impl Collector for Blocks {
    fn desc(&self) -> Vec<&Desc> {
        self.0.schemas.iter().map(Schema::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families: [Vec<Metric>; 6] = Default::default();
        let [
            requests,
            with_do,
            duration,
            request_size,
            reply_size,
            replies,
        ] = &mut families;
        for (block, metrics) in self.0.blocks.all() {
            let shown = Shown {
                block: texts(&block),
                cells: metrics.cells.totals(),
                schemas: &self.0.schemas,
            };
            shown.requests(requests);
            shown.with_do(with_do);
            shown.duration(duration);
            shown.sizes(3, REQUEST_SIZE, request_size);
            shown.sizes(4, REPLY_SIZE, reply_size);
            shown.replies(self.0.plugins, replies);
        }
        self.0
            .schemas
            .iter()
            .zip(families)
            .map(|(schema, series)| schema.family(series))
            .collect()
    }
}

/// One block at one scrape. Series that have counted nothing are left out, as CoreDNS leaves them out.
struct Shown<'a> {
    block: Vec<&'a str>,
    cells: Vec<u64>,
    schemas: &'a [Schema; 6],
}

impl Shown<'_> {
    fn requests(&self, series: &mut Vec<Metric>) {
        let mut totals = self.cells[REQUESTS..WITH_DO].iter();
        for proto in PROTOS {
            for family in FAMILIES {
                for (qtype, total) in TYPES
                    .iter()
                    .zip(&mut totals)
                    .filter(|(_, total)| **total > 0)
                {
                    series.push(counter(
                        self.schemas[0].pairs(&self.labels(&[proto, family, qtype])),
                        *total,
                    ));
                }
            }
        }
    }

    fn with_do(&self, series: &mut Vec<Metric>) {
        let total = self.cells[WITH_DO];
        if total > 0 {
            series.push(counter(self.schemas[1].pairs(&self.block), total));
        }
    }

    fn duration(&self, series: &mut Vec<Metric>) {
        series.extend(durations(
            self.schemas[2].pairs(&self.block),
            &self.cells[DURATION..REQUEST_SIZE],
        ));
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "the text format has floats, and Prometheus stores them"
    )]
    fn sizes(&self, schema: usize, at: usize, series: &mut Vec<Metric>) {
        let bounds = SIZE_BOUNDS.map(|bound| bound as f64);
        for (proto, cells) in PROTOS.iter().zip(self.cells[at..].chunks(SIZE_CELLS)) {
            let (counts, sum) = (&cells[..=bounds.len()], cells[SIZE_CELLS - 1] as f64);
            series.extend(histogram(
                self.schemas[schema].pairs(&self.labels(&[proto])),
                &bounds,
                counts,
                sum,
            ));
        }
    }

    fn replies(&self, plugins: &[&str], series: &mut Vec<Metric>) {
        let mut totals = self.cells[REPLIES..].iter();
        for rcode in RCODES {
            for (plugin, total) in plugins
                .iter()
                .chain([&""])
                .zip(&mut totals)
                .filter(|(_, total)| **total > 0)
            {
                series.push(counter(
                    self.schemas[5].pairs(&self.labels(&[rcode, plugin])),
                    *total,
                ));
            }
        }
    }

    fn labels<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        [&self.block, more].concat()
    }
}
