//! Failures that are kept, and for how long.

use super::*;

#[tokio::test(start_paused = true)]
async fn that_nobody_could_be_asked_is_kept_for_seconds() {
    play_all(&[
        (
            "for longer while it goes on, up to five",
            "cache",
            &[
                Below(4500, timed_out()),
                Asked("SERVFAIL, error 22 after 4500 ms"),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(4),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(4),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "from the shortest again, after a while",
            "cache",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(12),
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "for a second where all are known to be down",
            "cache",
            &[
                Below(0, Failed(Reason::NoHealthyUpstream)),
                Asked("SERVFAIL, error 22"),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Failed(Reason::NoHealthyUpstream)),
                Asked("SERVFAIL, error 22"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_kept_as_its_cause_and_the_stanza_say() {
    play_all(&[
        (
            "not where failures are not kept",
            "cache {\n servfail 0\n}",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "not where denials are not",
            "cache {\n disable denial example.com\n}",
            &[
                Below(0, timed_out()),
                Asked("SERVFAIL, error 22"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "not where the fault is ours, or there are too many",
            "cache",
            &[
                Below(0, out_of_sockets()),
                Asked("SERVFAIL, error 0"),
                Below(0, Failed(Reason::TooManyConcurrent(7))),
                Asked("REFUSED, error 0"),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
        (
            "an upstream that says so itself is believed for as long as `servfail`",
            "cache {\n servfail 20s\n}",
            &[
                Below(0, Code(Rcode::SERVFAIL)),
                Asked("SERVFAIL"),
                Later(19),
                Asked("SERVFAIL, error 13"),
                Later(1),
                Below(0, Address(1)),
                Asked("#1 for 30 s"),
            ],
        ),
    ])
    .await;
}
