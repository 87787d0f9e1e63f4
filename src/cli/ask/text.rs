//! Columns, as `kubectl` prints them.

use std::fmt::Write;

use crate::admin::words::RecordText;

/// Blanks between two columns.
const GAP: usize = 3;

/// Rows below a head, each column as wide as its widest cell; the last is not filled up.
pub(super) fn table<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let head = head.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let widths: [usize; COLUMNS] = std::array::from_fn(|at| {
        let cells = all().map(|row| row[at].chars().count());
        cells.max().unwrap_or_default()
    });
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{:width$}", printable(cell), width = width + GAP);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Records as rows of a table: name, TTL, type, data.
pub(super) fn record(record: &RecordText) -> [String; 4] {
    [
        record.name.clone(),
        record.ttl.to_string(),
        record.rtype.clone(),
        record.data.clone(),
    ]
}

/// Text that does nothing to a terminal, whoever the server is.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(escape).collect()
}

/// Seconds, minutes or hours, as `kubectl` prints ages.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["a", "bb", ""].map(str::to_owned),
            ["é\u{1b}", "", "c"].map(str::to_owned),
        ];
        let expected = "A    B    C\na    bb\né\u{fffd}        c\n";
        assert_eq!(table(["A", "B", "C"], &rows), expected);
    }

    #[test]
    fn an_age_is_short() {
        for (seconds, expected) in [(0, "0s"), (119, "119s"), (125, "2m5s"), (7300, "2h1m")] {
            assert_eq!(age(seconds), expected);
        }
    }
}
