//! Families of series with the same name and label names, as the `prometheus` registry collects them.
//!
//! `Schema` holds what all series of a family share; `CounterFamily` and `DurationFamily` hand out one sharded series
//! for each set of label values, the same one each time it is asked for, so that a reload goes on counting where the
//! last generation stopped; `GaugeFamily` is written whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter as CounterValue, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::histogram::{DURATION_BOUNDS, Durations, seconds};
use super::sharded::Counter;

/// Series that one family keeps. A series costs about 2 KB; label values come from the Corefile, and years of reloads
/// with changing values must not add up. A series beyond is counted and not shown.
const SERIES_MAX: usize = 1024;

/// What all series of a family share.
pub(super) struct Schema {
    desc: Desc,
    kind: MetricType,
    labels: &'static [&'static str],
}

impl Schema {
    pub(super) fn new(
        kind: MetricType,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
    ) -> Self {
        let names = labels.iter().map(ToString::to_string).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), names, HashMap::new())
            .expect("names of metrics and labels are constants that the text format allows");
        Self { desc, kind, labels }
    }

    pub(super) fn desc(&self) -> &Desc {
        &self.desc
    }

    pub(super) fn is_counter(&self) -> bool {
        self.kind == MetricType::COUNTER
    }

    /// The label pairs of one series, `values` in the order of the schema; sorted by name, as Prometheus's own client does.
    pub(super) fn pairs(&self, values: &[&str]) -> Vec<LabelPair> {
        debug_assert_eq!(
            self.labels.len(),
            values.len(),
            "a value for each label of {}",
            self.desc.fq_name
        );
        let mut pairs: Vec<LabelPair> = self
            .labels
            .iter()
            .zip(values)
            .map(|(name, value)| pair(name, value))
            .collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        pairs
    }

    pub(super) fn family(&self, series: Vec<Metric>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(series);
        family
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// A counter's sample.
#[expect(
    clippy::cast_precision_loss,
    reason = "the text format has floats, and Prometheus stores them"
)]
pub(super) fn counter(labels: Vec<LabelPair>, total: u64) -> Metric {
    counter_of(labels, total as f64)
}

/// The sample of a counter of fractions.
pub(super) fn counter_of(labels: Vec<LabelPair>, total: f64) -> Metric {
    let mut value = CounterValue::default();
    value.set_value(total);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(value);
    metric
}

/// A gauge's sample.
pub(super) fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut sample = Gauge::default();
    sample.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(sample);
    metric
}

/// A histogram's samples from the counts of its buckets (one more than `bounds`), or `None` before any observation.
pub(super) fn histogram(
    labels: Vec<LabelPair>,
    bounds: &[f64],
    counts: &[u64],
    sum: f64,
) -> Option<Metric> {
    let observed: u64 = counts.iter().sum();
    if observed == 0 {
        return None;
    }
    let mut below = 0;
    let buckets = bounds.iter().zip(counts).map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut value = Histogram::default();
    value.set_bucket(buckets.collect());
    value.set_sample_count(observed);
    value.set_sample_sum(sum);
    let mut metric = Metric::from_label(labels);
    metric.set_histogram(value);
    Some(metric)
}

/// The samples of a histogram of durations from its cells.
pub(super) fn durations(labels: Vec<LabelPair>, cells: &[u64]) -> Option<Metric> {
    let buckets = DURATION_BOUNDS.len() + 1;
    histogram(
        labels,
        &DURATION_BOUNDS,
        &cells[..buckets],
        seconds(cells[buckets]),
    )
}

/// Series by their label values, made on first demand and kept.
pub(super) struct Series<T>(Mutex<BTreeMap<Vec<String>, Arc<T>>>);

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<T> Series<T> {
    /// The series of these label values; a new one that is not kept if the family is full.
    pub(super) fn with(&self, values: &[&str], new: impl FnOnce() -> T) -> Arc<T> {
        let key: Vec<String> = values.iter().map(ToString::to_string).collect();
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = series.get(&key) {
            return Arc::clone(known);
        }
        let made = Arc::new(new());
        if series.len() < SERIES_MAX {
            series.insert(key, Arc::clone(&made));
        }
        made
    }

    /// All series with their label values. The lock is not held while they are read.
    pub(super) fn all(&self) -> Vec<(Vec<String>, Arc<T>)> {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        series
            .iter()
            .map(|(values, series)| (values.clone(), Arc::clone(series)))
            .collect()
    }
}

/// Counters that are incremented per query. A series appears on `/metrics` once it is not zero, as CoreDNS's do.
#[derive(Clone)]
pub struct CounterFamily(Arc<CounterSeries>);

struct CounterSeries {
    schema: Schema,
    series: Series<Counter>,
}

impl CounterFamily {
    pub(super) fn new(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        let schema = Schema::new(MetricType::COUNTER, name, help, labels);
        Self(Arc::new(CounterSeries {
            schema,
            series: Series::default(),
        }))
    }

    /// The counter of these label values, in the order in which the family's labels were named. To be asked for when a
    /// generation is built and kept, not per query.
    #[must_use]
    pub fn with(&self, values: &[&str]) -> Arc<Counter> {
        self.0.series.with(values, Counter::default)
    }
}

impl Collector for CounterFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.0.schema.desc()]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self
            .0
            .series
            .all()
            .into_iter()
            .filter_map(|(values, series)| {
                let total = series.total();
                (total > 0).then(|| counter(self.0.schema.pairs(&texts(&values)), total))
            });
        vec![self.0.schema.family(series.collect())]
    }
}

/// Histograms of durations that are observed per query, with CoreDNS's 16 time buckets.
#[derive(Clone)]
pub(super) struct DurationFamily(Arc<DurationSeries>);

struct DurationSeries {
    schema: Schema,
    series: Series<Durations>,
}

impl DurationFamily {
    pub(super) fn new(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        let schema = Schema::new(MetricType::HISTOGRAM, name, help, labels);
        Self(Arc::new(DurationSeries {
            schema,
            series: Series::default(),
        }))
    }

    /// The histogram of these label values; see [`CounterFamily::with`].
    #[must_use]
    pub(super) fn with(&self, values: &[&str]) -> Arc<Durations> {
        self.0.series.with(values, Durations::default)
    }
}

impl Collector for DurationFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.0.schema.desc()]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self
            .0
            .series
            .all()
            .into_iter()
            .filter_map(|(values, series)| {
                durations(self.0.schema.pairs(&texts(&values)), &series.totals())
            });
        vec![self.0.schema.family(series.collect())]
    }
}

/// Gauges that describe a state as a whole: what is not set again has gone.
#[derive(Clone)]
pub(super) struct GaugeFamily(Arc<GaugeSeries>);

struct GaugeSeries {
    schema: Schema,
    series: Mutex<BTreeMap<Vec<String>, f64>>,
}

impl GaugeFamily {
    pub(super) fn new(name: &str, help: &str, labels: &'static [&'static str]) -> Self {
        let schema = Schema::new(MetricType::GAUGE, name, help, labels);
        Self(Arc::new(GaugeSeries {
            schema,
            series: Mutex::new(BTreeMap::new()),
        }))
    }

    /// Replaces all series of the family; a scrape sees either the old or the new ones.
    pub(super) fn replace(&self, series: impl IntoIterator<Item = (Vec<String>, f64)>) {
        let series = series.into_iter().take(SERIES_MAX).collect();
        *self.0.series.lock().unwrap_or_else(PoisonError::into_inner) = series;
    }

    /// Sets one series and leaves the others.
    pub(super) fn set(&self, values: &[&str], value: f64) {
        let key: Vec<String> = values.iter().map(ToString::to_string).collect();
        let mut series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.len() < SERIES_MAX || series.contains_key(&key) {
            series.insert(key, value);
        }
    }
}

impl Collector for GaugeFamily {
    fn desc(&self) -> Vec<&Desc> {
        vec![self.0.schema.desc()]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series = self.0.series.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = series
            .iter()
            .map(|(values, value)| gauge(self.0.schema.pairs(&texts(values)), *value));
        vec![self.0.schema.family(samples.collect())]
    }
}

pub(super) fn texts(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}
