//! `/metrics`: everything the process counts, in the text format 0.0.4.

use hyper::StatusCode;

use super::page::Page;
use crate::telemetry::Metrics;

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn page(metrics: &Metrics) -> Page {
    Page::text(StatusCode::OK, metrics.render()).of_type(TEXT_FORMAT)
}
