//! A point in time as RFC 3339 has it, in UTC with microseconds.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_SECONDS: u64 = 86_400;

/// Displays a time; one before 1970 as 1970.
pub(super) struct Rfc3339(pub(super) SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = date(since.as_secs() / DAY_SECONDS);
        let second = since.as_secs() % DAY_SECONDS;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = since.subsec_micros();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counted in years that begin on March 1st: so the leap day is the last of its year, and months 0 to 11 begin at day
/// (153 m + 2) / 5.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_400_YEARS: u64 = 146_097;
    // 1970-01-01 is day 719,468 of the count that begins on 0000-03-01.
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / DAYS_400_YEARS, days % DAYS_400_YEARS);
    let leap_days = day_of_cycle / 1460 - day_of_cycle / 36_524 + day_of_cycle / 146_096;
    let year_of_cycle = (day_of_cycle - leap_days) / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = 400 * cycle + year_of_cycle;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        // From `date -u -d @SECONDS`.
        let rows = [
            ("the epoch", 0, "1970-01-01T00:00:00.000000Z"),
            ("end of February", 5_097_599, "1970-02-28T23:59:59.000000Z"),
            ("a leap day", 951_782_400, "2000-02-29T00:00:00.000000Z"),
            ("the day after", 951_868_800, "2000-03-01T00:00:00.000000Z"),
            (
                "end of a leap year",
                1_735_689_599,
                "2024-12-31T23:59:59.000000Z",
            ),
            ("no leap year", 4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ];
        for (name, seconds, expected) in rows {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Rfc3339(time).to_string(), expected, "{name}");
        }
        let time = UNIX_EPOCH + Duration::from_micros(1_500_000_012_345_678);
        assert_eq!(Rfc3339(time).to_string(), "2017-07-14T02:40:12.345678Z");
    }
}
