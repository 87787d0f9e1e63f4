//! How long it is waited before the next request.

use super::*;

/// Waits, in milliseconds, after each of a row of ends.
fn waits(mut follow: Follow, ends: &[(End, Duration)], jitter: f64) -> Vec<u128> {
    ends.iter()
        .map(|(end, lived)| follow.ended(end.clone(), *lived, jitter).wait.as_millis())
        .collect()
}

#[test]
fn waits_double_up_to_a_cap_that_depends_on_the_failure() {
    let many = |end: End| vec![(end, SOON); 8];
    let asked = |status, seconds| End::Refused(refusal(status, "", Some(seconds)));
    let away = End::Unreachable("refused".to_owned());
    let cut = End::Cut("reset".to_owned());
    let cases = [
        (
            "server ill, longest",
            many(refused(500, "")),
            1.0,
            vec![800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000],
        ),
        (
            "server ill, shortest",
            many(refused(500, "")),
            0.0,
            vec![400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "no server, longest",
            many(away.clone()),
            1.0,
            vec![800, 1600, 3200, 5000, 5000, 5000, 5000, 5000],
        ),
        (
            "connections made and cut",
            many(cut.clone()),
            1.0,
            vec![800, 1600, 1600, 1600, 1600, 1600, 1600, 1600],
        ),
        (
            "too old each time",
            many(refused(410, "")),
            1.0,
            vec![800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000],
        ),
        (
            "forbidden",
            many(refused(403, "no")),
            0.0,
            vec![5000, 5000, 5000, 5000, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "unauthorized",
            many(refused(401, "no")),
            0.0,
            vec![400, 5000, 5000, 5000, 6400, 12_800, 15_000, 15_000],
        ),
        (
            "asked to wait",
            vec![(asked(429, 7), SOON), (asked(503, 1), SOON)],
            0.0,
            vec![7000, 1000],
        ),
        (
            "asked to wait less than is due",
            vec![
                (refused(500, ""), SOON),
                (refused(500, ""), SOON),
                (asked(503, 1), SOON),
            ],
            1.0,
            vec![800, 1600, 3200],
        ),
        (
            "asked to wait for ever",
            vec![(asked(503, u64::MAX), SOON)],
            0.0,
            vec![300_000],
        ),
        (
            "a watch that lived",
            vec![
                (End::Closed, LONG),
                (cut.clone(), LONG),
                (End::Silent, LONG),
            ],
            1.0,
            vec![100, 100, 100],
        ),
        (
            "a watch that lived ends the row of failures",
            vec![
                (away.clone(), SOON),
                (away.clone(), SOON),
                (End::Closed, LONG),
                (away, SOON),
            ],
            1.0,
            vec![800, 1600, 100, 800],
        ),
        (
            "an error after a long watch is a first failure",
            vec![
                (refused(500, ""), SOON),
                (refused(500, ""), SOON),
                (End::Errored(refusal(500, "", None)), LONG),
            ],
            1.0,
            vec![800, 1600, 800],
        ),
    ];
    for (name, ends, jitter, expected) in cases {
        assert_eq!(waits(synced(), &ends, jitter), expected, "{name}");
    }
}

#[test]
fn a_way_of_asking_that_is_not_understood_costs_no_time() {
    assert_eq!(waits(empty(), &[(refused(422, ""), SOON)], 1.0), [0]);
    assert_eq!(waits(empty(), &[(End::Unending, SOON)], 1.0), [0]);
}
