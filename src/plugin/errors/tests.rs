use std::sync::Arc;
use std::time::Duration;

use tracing::subscriber::with_default;

use super::*;
use crate::chain::{Failure, Reason};
use crate::dns::edns::{ErrorCode, ExtendedError};
use crate::dns::{Class, Question, Reply, Type};
use crate::plugin::PluginId;
use crate::testing::Lines;

fn failed(reason: Reason) -> (Query, Answer) {
    let mut query = Query::empty();
    query.question = Question::new("WWW.example.org.".parse().unwrap(), Type::A, Class::IN);
    let failure = Failure {
        by: PluginId::named("forward"),
        reason,
    };
    let answer = Answer {
        reply: Reply::new(&mut query, failure.rcode()),
        by: None,
        failure: Some(Box::new(failure)),
    };
    (query, answer)
}

fn plugin(period: u64, regex: &str, show_first: bool) -> Errors {
    let regex = regex.parse().unwrap();
    let patterns = vec![Pattern {
        regex,
        period: Duration::from_secs(period),
        level: Level::Warning,
        show_first,
    }];
    Errors::new(Config {
        patterns,
        ..Config::default()
    })
}

#[test]
fn a_failure_is_told_with_its_code_its_question_and_its_reason() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let errors = Errors::new(Config::default());
        let (query, mut answer) = failed(Reason::NoHealthyUpstream);
        errors.up(&query, &mut answer);
        answer.failure = None;
        errors.up(&query, &mut answer);
    });
    let failure = failed(Reason::NoHealthyUpstream).1.failure.unwrap();
    let expected = format!("ERROR plugin/errors: 2 www.example.org. A: {failure}");
    assert_eq!(*lines.0.lock().unwrap(), [expected]);
}

#[test]
fn clients_are_told_unless_the_corefile_says_no() {
    static ERROR: ExtendedError = ExtendedError::of(ErrorCode::Other, "no such Namespace");
    for no_extended_errors in [false, true] {
        let errors = Errors::new(Config {
            no_extended_errors,
            ..Config::default()
        });
        let (query, mut answer) = failed(Reason::NoHealthyUpstream);
        // A reply that is no failure of the chain has errors too.
        for failure in [answer.failure.take(), None] {
            (answer.failure, answer.reply.error) = (failure, Some((&ERROR).into()));
            errors.up(&query, &mut answer);
            let told = answer.reply.error.take();
            assert_eq!(told.is_none(), no_extended_errors);
        }
    }
}

#[test]
fn failures_alike_are_told_once_at_the_latest_when_the_plugin_goes() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let errors = plugin(3600, "no healthy", false);
        for _ in 0..3 {
            let (query, mut answer) = failed(Reason::NoHealthyUpstream);
            errors.up(&query, &mut answer);
        }
        let (query, mut answer) = failed(Reason::TooManyConcurrent(1));
        errors.up(&query, &mut answer);
    });
    let other = failed(Reason::TooManyConcurrent(1)).1.failure.unwrap();
    let expected = [
        format!("ERROR plugin/errors: 5 www.example.org. A: {other}"),
        "WARN plugin/errors: 3 errors like 'no healthy' occurred in last 1h0m0s".to_owned(),
    ];
    assert_eq!(*lines.0.lock().unwrap(), expected);
}

#[test]
fn of_a_storm_some_lines_are_written_and_the_others_told_in_one() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let errors = plugin(3600, "no healthy", false);
        let now = Instant::now();
        let (query, answer) = failed(Reason::TooManyConcurrent(1));
        for _ in 0..throttle::LINES_MAX + 3 {
            errors.tell(&query, &answer, now);
        }
        let (query, answer) = failed(Reason::NoHealthyUpstream);
        errors.tell(&query, &answer, now);
    });
    let lines = lines.0.lock().unwrap();
    let (written, told) = lines.split_at(throttle::LINES_MAX as usize);
    let failure = failed(Reason::TooManyConcurrent(1)).1.failure.unwrap();
    let line = format!("5 www.example.org. A: {failure}");
    for one in written {
        assert_eq!(*one, format!("ERROR plugin/errors: {line}"));
    }
    let expected = [
        "WARN plugin/errors: 1 errors like 'no healthy' occurred in last 1h0m0s".to_owned(),
        format!(
            "ERROR plugin/errors: 3 more errors in the last second were left out; the last: {line}"
        ),
    ];
    assert_eq!(told, expected);
}

/// Lets the task of the plugin run until then.
fn report_until(errors: &Arc<Errors>, is_over: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let report = tokio::spawn(errors.clone().report());
        while !is_over() {
            tokio::task::yield_now().await;
        }
        report.abort();
    });
}

#[test]
fn the_task_tells_what_was_left_out_when_the_second_is_over() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let mut errors = Errors::new(Config::default());
        let now = Instant::now() - Duration::from_secs(2);
        errors.throttle = Throttle::new(now);
        let errors = Arc::new(errors);
        let (query, answer) = failed(Reason::NoHealthyUpstream);
        for _ in 0..=throttle::LINES_MAX {
            errors.tell(&query, &answer, now);
        }
        report_until(&errors, || {
            lines.0.lock().unwrap().len() > throttle::LINES_MAX as usize
        });
    });
    let lines = lines.0.lock().unwrap();
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("ERROR plugin/errors: 1 more errors in the last second were left out"),
        "{last}"
    );
}

#[test]
fn the_first_of_a_period_is_shown_where_it_shall() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let errors = plugin(3600, "no healthy", true);
        for _ in 0..2 {
            let (query, mut answer) = failed(Reason::NoHealthyUpstream);
            errors.up(&query, &mut answer);
        }
    });
    let failure = failed(Reason::NoHealthyUpstream).1.failure.unwrap();
    let expected = [
        format!("WARN plugin/errors: 2 www.example.org. A: {failure}"),
        "WARN plugin/errors: 2 errors like 'no healthy' occurred in last 1h0m0s".to_owned(),
    ];
    assert_eq!(*lines.0.lock().unwrap(), expected);
}

#[test]
fn the_task_reports_a_period_when_it_is_over() {
    let lines = Lines::new();
    with_default(lines.clone(), || {
        let errors = Arc::new(plugin(0, "no healthy", false));
        let (query, mut answer) = failed(Reason::NoHealthyUpstream);
        errors.up(&query, &mut answer);
        report_until(&errors, || !lines.0.lock().unwrap().is_empty());
    });
    let expected = "WARN plugin/errors: 1 errors like 'no healthy' occurred in last 0s";
    assert_eq!(*lines.0.lock().unwrap(), [expected]);
}
