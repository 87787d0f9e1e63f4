//! Figures as a table, as ratios and as JSON; goals and whether they are met.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::numbers::{median, paired};

/// What a figure is of, and how it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Column {
    Qps,
    CpuUs,
    UserUs,
    P50Us,
    P99Us,
    P999Us,
    MaxUs,
    Lost,
    Wrong,
    RssMb,
    Busy,
    Asked,
    StartMb,
    LoadMb,
    RelistMb,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Column::Qps => "qps",
            Column::CpuUs => "CPU us/query",
            Column::UserUs => "user us",
            Column::P50Us => "p50 us",
            Column::P99Us => "p99 us",
            Column::P999Us => "p99.9 us",
            Column::MaxUs => "max us",
            Column::Lost => "lost",
            Column::Wrong => "wrong",
            Column::RssMb => "RSS MB",
            Column::Busy => "generator",
            Column::Asked => "asked",
            Column::StartMb => "peak of start",
            Column::LoadMb => "peak of load",
            Column::RelistMb => "peak of relist",
        }
    }

    fn write(self, value: f64) -> String {
        match self {
            Column::CpuUs | Column::UserUs => format!("{value:.2}"),
            Column::RssMb | Column::StartMb | Column::LoadMb | Column::RelistMb => {
                format!("{value:.1}")
            }
            Column::Busy => format!("{:.0} %", value * 100.0),
            _ => format!("{value:.0}"),
        }
    }

    /// Whether one server's is worth dividing by another's.
    fn is_compared(self) -> bool {
        !matches!(
            self,
            Column::Lost | Column::Wrong | Column::Busy | Column::Asked
        )
    }
}

/// The figures of one work: by server and column, one a round.
#[derive(Default)]
pub(crate) struct Figures {
    servers: Vec<String>,
    values: BTreeMap<(usize, Column), Vec<f64>>,
}

impl Figures {
    pub(crate) fn add(&mut self, server: &str, column: Column, value: f64) {
        let known = self.servers.iter().position(|name| name == server);
        let at = known.unwrap_or_else(|| {
            self.servers.push(server.to_owned());
            self.servers.len() - 1
        });
        self.values.entry((at, column)).or_default().push(value);
    }

    /// The order in which servers are told.
    pub(crate) fn order<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut ordered = Figures::default();
        for name in names {
            let Some(at) = self.servers.iter().position(|server| server == name) else {
                continue;
            };
            for ((_, column), values) in self.values.iter().filter(|((of, _), _)| *of == at) {
                values
                    .iter()
                    .for_each(|value| ordered.add(name, *column, *value));
            }
        }
        *self = ordered;
    }

    fn of(&self, server: &str, column: Column) -> &[f64] {
        let at = self.servers.iter().position(|name| name == server);
        let values = at.and_then(|at| self.values.get(&(at, column)));
        values.map_or(&[], Vec::as_slice)
    }

    pub(crate) fn median(&self, server: &str, column: Column) -> Option<f64> {
        median(self.of(server, column).iter().copied())
    }

    pub(crate) fn sum(&self, server: &str, column: Column) -> Option<f64> {
        let values = self.of(server, column);
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// The median over the rounds of `of(one, other)`.
    pub(crate) fn against(
        &self,
        one: &str,
        other: &str,
        column: Column,
        of: fn(f64, f64) -> f64,
    ) -> Option<f64> {
        paired(self.of(one, column), self.of(other, column), of)
    }
}

/// A promise, what came of it, and where there is nothing to judge it by, why.
struct Goal {
    text: String,
    figure: String,
    met: Option<bool>,
}

#[derive(Default)]
pub(crate) struct Report {
    works: Vec<Value>,
    goals: Vec<Goal>,
}

/// Which way is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Report {
    /// Prints the figures of a work, and of Cairn as a ratio to everybody else.
    pub(crate) fn table(&mut self, title: &str, figures: &Figures) {
        let mut columns: Vec<Column> = figures.values.keys().map(|(_, column)| *column).collect();
        columns.sort_unstable();
        columns.dedup();
        let mut rows = vec![
            std::iter::once(title.to_owned())
                .chain(columns.iter().map(|c| c.title().into()))
                .collect(),
        ];
        let cell = |value: Option<f64>, write: &dyn Fn(f64) -> String| {
            value.map_or_else(String::new, write)
        };
        for server in &figures.servers {
            let values = columns.iter().map(|column| {
                let value = match column {
                    Column::Lost | Column::Wrong | Column::Asked => figures.sum(server, *column),
                    _ => figures.median(server, *column),
                };
                cell(value, &|value| column.write(value))
            });
            rows.push(
                std::iter::once(server.clone())
                    .chain(values)
                    .collect::<Vec<String>>(),
            );
        }
        for other in figures
            .servers
            .iter()
            .filter(|name| *name != "cairn" && !figures.of("cairn", Column::CpuUs).is_empty())
        {
            let ratios = columns.iter().map(|column| {
                let ratio = figures.against("cairn", other, *column, |one, other| one / other);
                cell(ratio.filter(|_| column.is_compared()), &|ratio| {
                    format!("x {ratio:.2}")
                })
            });
            rows.push(
                std::iter::once(format!("  cairn : {other}"))
                    .chain(ratios)
                    .collect(),
            );
        }
        print_rows(&rows);
        self.keep(title, figures);
    }

    fn keep(&mut self, title: &str, figures: &Figures) {
        let of_server = |(at, server): (usize, &String)| {
            let values = figures.values.iter().filter(|((of, _), _)| *of == at);
            let columns =
                values.map(|((_, column), rounds)| (column.title().to_owned(), json!(rounds)));
            (server.clone(), Value::Object(columns.collect()))
        };
        let servers: serde_json::Map<String, Value> =
            figures.servers.iter().enumerate().map(of_server).collect();
        self.works.push(json!({"work": title, "rounds": servers}));
    }

    /// Prints and keeps a figure that stands by itself.
    pub(crate) fn fact(&mut self, work: &str, what: &str, value: f64, unit: &str) {
        println!("{work}: {what}: {value:.2} {unit}");
        self.works
            .push(json!({"work": work, "figure": what, "value": value, "unit": unit}));
    }

    /// Judges a figure; without one the goal stays open.
    pub(crate) fn goal(&mut self, text: &str, value: Option<f64>, unit: &str, limit: Limit) {
        let met = value.map(|value| match limit {
            Limit::AtMost(most) => value <= most,
            Limit::AtLeast(least) => value >= least,
        });
        let figure = value.map_or_else(
            || "not measured".to_owned(),
            |value| format!("{value:.2} {unit}"),
        );
        self.goals.push(Goal {
            text: text.to_owned(),
            figure,
            met,
        });
    }

    /// Prints all goals at the end.
    pub(crate) fn verdict(&self) {
        if self.goals.is_empty() {
            return;
        }
        let head = ["goal", "figure", ""].map(str::to_owned).to_vec();
        let rows = self.goals.iter().map(|goal| {
            vec![
                goal.text.clone(),
                goal.figure.clone(),
                word(goal.met).into(),
            ]
        });
        print_rows(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    }

    pub(crate) fn json(&self, machine: &Value) -> Value {
        let goals = self
            .goals
            .iter()
            .map(|goal| json!({"goal": goal.text, "figure": goal.figure, "met": goal.met}));
        json!({"machine": machine, "works": self.works, "goals": goals.collect::<Vec<_>>()})
    }
}

fn word(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "open",
    }
}

/// The first column to the left, the others to the right, each as wide as its widest cell.
fn print_rows(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    println!();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
        println!("{}", cells.collect::<String>().trim_end());
    }
}
