//! What is given after its time, and what takes its place.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_given_at_once_and_refreshed_behind() {
    play_all(&[
        (
            "the next who asks has the new one",
            "cache {\n serve_stale\n}",
            &[
                Below(10, Address(1)),
                Asked("#1 for 30 s after 10 ms"),
                Later(29),
                Asked("#1 for 1 s"),
                Later(1),
                Below(10, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Asked("#2 for 30 s"),
                Times(2),
            ],
        ),
        (
            "one refresh at a time, however many ask",
            "cache {\n serve_stale 1h immediate 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(5000, Address(2)),
                Asked("#1 for 30 s, error 3"),
                Asked("#1 for 30 s, error 3"),
                Later(4),
                Asked("#1 for 30 s, error 3"),
                Times(2),
                Later(2),
                Asked("#2 for 29 s"),
            ],
        ),
        (
            "for as long as it may be given",
            "cache {\n serve_stale 1m\n servfail 0\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(89),
                Below(0, timed_out()),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_failed_is_not_made_again_at_once() {
    play_all(&[
        (
            "not before the recheck",
            "cache {\n serve_stale 1h immediate 0s 30s\n servfail 0\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Asked("#2 for 30 s"),
            ],
        ),
        (
            "nor, without one, before a failure would be forgotten",
            "cache {\n serve_stale\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3"),
                Later(4),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Times(3),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_denial_ends_a_stale_answer() {
    play_all(&[
        (
            "it takes its place, and may be stale itself",
            "cache {\n serve_stale\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Asked("NXDOMAIN for 30 s"),
                Later(31),
                Below(0, timed_out()),
                Asked("NXDOMAIN for 0 s, error 19"),
            ],
        ),
        (
            "unless positive answers are preferred",
            "cache {\n serve_stale\n serve_stale_policy prefer_positive\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Address(2)),
                Asked("#1 for 0 s, error 3"),
                Asked("#2 for 30 s"),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_below_are_asked_before_a_stale_answer_is_given() {
    play_all(&[
        (
            "who answer in time",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(1799, Address(2)),
                Asked("#2 for 30 s after 1799 ms"),
            ],
        ),
        (
            "who are late, and whose answer is kept all the same",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(4000, Address(2)),
                Asked("#1 for 0 s, error 3 after 1800 ms"),
                Asked("#1 for 0 s, error 3"),
                Later(3),
                Asked("#2 for 30 s"),
                Times(2),
            ],
        ),
        (
            "who never answer, and for whom not everybody waits",
            "cache {\n serve_stale 1h verify 500ms 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Silence),
                Asked("#1 for 30 s, error 3 after 500 ms"),
                Later(4),
                Asked("#1 for 30 s, error 3"),
                Times(2),
                Later(1),
                Below(0, Silence),
                Asked("#1 for 30 s, error 3 after 500 ms"),
                Times(3),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_gives_way_to_answers_of_those_below_alone() {
    play_all(&[
        (
            "who fail",
            "cache {\n serve_stale 1h verify 1s 0s 30s\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(10, Code(Rcode::SERVFAIL)),
                Asked("#1 for 0 s, error 3 after 10 ms"),
                Later(29),
                Asked("#1 for 0 s, error 3"),
                Later(1),
                Below(10, timed_out()),
                Asked("#1 for 0 s, error 3 after 10 ms"),
                Times(3),
            ],
        ),
        (
            "who refuse, or are too many",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Code(Rcode::REFUSED)),
                Asked("#1 for 0 s, error 3"),
                Below(0, Failed(Reason::TooManyConcurrent(7))),
                Asked("#1 for 0 s, error 3"),
                Times(3),
            ],
        ),
        (
            "who deny it",
            "cache {\n serve_stale 1h verify\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("NXDOMAIN for 30 s"),
            ],
        ),
        (
            "who deny it, where positive answers are preferred",
            "cache {\n serve_stale 1h verify\n serve_stale_policy prefer_positive\n}",
            &[
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
                Later(31),
                Below(0, Denied),
                Asked("#1 for 0 s, error 3"),
                Asked("#1 for 0 s, error 3"),
                Times(2),
            ],
        ),
    ])
    .await;
}
