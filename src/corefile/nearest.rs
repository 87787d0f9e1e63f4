//! The nearest known word, for `did you mean`.

/// Longer words are no typing errors of a name.
const WORD_MAX: usize = 64;

/// The candidate that `word` is most likely a typing error of: at most one change for each three letters, the first
/// of equals. None if nothing is that near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= allowed && distance < candidate.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbors that turn one word into the other
/// (Damerau's distance, each letter changed at most once).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut previous = None;
    for (row, letter) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(letter != other);
            let mut least = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            if column > 0 && previous == Some(other) && letter == right[column - 1] {
                least = least.min(before_last[column - 1] + 1);
            }
            current.push(least);
        }
        previous = Some(letter);
        before_last = std::mem::replace(&mut last, current);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let known = [
            "forward", "cache", "errors", "log", "loop", "reload", "ready",
        ];
        let rows = [
            ("swapped letters", "forwrad", Some("forward")),
            ("missing letter", "cahe", Some("cache")),
            ("wrong case", "FORWARD", Some("forward")),
            ("one of four", "loog", Some("log")),
            ("equal is nearest", "loop", Some("loop")),
            ("too far", "kubernetes", None),
            ("one letter is no hint", "x", None),
            ("empty", "", None),
        ];
        for (name, word, expected) in rows {
            assert_eq!(nearest(word, known), expected, "{name}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), known), None, "a megabyte");
    }

    #[test]
    fn distances() {
        let rows = [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("ab", "ba", 1),
            ("kitten", "sitting", 3),
        ];
        for (left, right, expected) in rows {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
