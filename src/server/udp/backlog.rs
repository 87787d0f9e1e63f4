//! Queries that must wait and are not begun yet, because the thread has not come to it.
//!
//! What is known is answered where it is read, and reading goes first; so under a flood of names that must be asked for,
//! this is what grows. The clients take turns, a client's queries go in the order in which they came, and when there are
//! too many, the client with the most loses its oldest: that is the one it has waited for the longest, and is about to
//! give up. It gets no reply, as if the kernel had had no room for it: a reply costs half of what an answer does, and a
//! client that is told asks again at once.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::admission::by_source::BySource;

/// Queries that may stand here for each thread: 60 ms of work, at some 15 µs each, and four seconds of 1,000 a second for a
/// thread that is kept from running. With some 4 KB each it is 16 MB.
const MAX: usize = 4096;

/// What has been read and not begun.
pub(super) struct Backlog<T> {
    queries: BySource<T>,
    /// The clients that have any here; whose turn it is first.
    turns: VecDeque<IpAddr>,
}

impl<T> Default for Backlog<T> {
    fn default() -> Backlog<T> {
        Backlog {
            queries: BySource::default(),
            turns: VecDeque::new(),
        }
    }
}

impl<T> Backlog<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds the newest query of a client. Returns the one that there is no room for.
    pub(super) fn push(&mut self, client: IpAddr, query: T) -> Option<T> {
        let dropped = if self.queries.len() < MAX {
            None
        } else {
            match self.queries.heaviest() {
                Some((heavy, count)) if count > 1 => self.queries.pop(heavy),
                // All have one: the client whose turn it is has had it here for the longest.
                _ => self.pop(),
            }
        };
        if self.queries.count(client) == 0 {
            self.turns.push_back(client);
        }
        self.queries.push(client, query);
        dropped
    }

    /// The query that is to be begun next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let client = self.turns.pop_front()?;
        let query = self.queries.pop(client);
        if self.queries.count(client) > 0 {
            self.turns.push_back(client);
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn rest(backlog: &mut Backlog<u32>) -> Vec<u32> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_each_is_served_in_the_order_of_its_queries() {
        let mut backlog = Backlog::default();
        for (of, query) in [(1, 10), (1, 11), (1, 12), (2, 20), (3, 30), (2, 21)] {
            assert_eq!(backlog.push(client(of), query), None);
        }
        assert_eq!(backlog.pop(), Some(10));
        assert_eq!(backlog.push(client(4), 40), None);
        assert_eq!(rest(&mut backlog), [20, 30, 11, 40, 21, 12]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn when_all_places_are_taken_the_client_with_the_most_loses_its_oldest() {
        let (flood, all) = (1, MAX as u32 - 1);
        let mut backlog = Backlog::default();
        assert_eq!(backlog.push(client(2), 2_000), None);
        for query in 0..all {
            assert_eq!(backlog.push(client(flood), query), None, "{query}");
        }
        assert_eq!(backlog.push(client(2), 2_001), Some(0), "another's comes");
        assert_eq!(backlog.push(client(flood), all), Some(1), "its own comes");
        let turns: Vec<u32> = rest(&mut backlog);
        assert_eq!(turns[..5], [2_000, 2, 2_001, 3, 4]);
        assert_eq!(turns.len(), MAX);
    }

    #[test]
    fn when_each_client_has_one_the_oldest_of_all_is_lost() {
        let mut backlog = Backlog::default();
        let max = MAX as u32;
        for number in 0..max {
            assert_eq!(backlog.push(client(number), number), None);
        }
        for number in 0..max {
            let next = max + number;
            assert_eq!(backlog.push(client(next), next), Some(number));
        }
        assert_eq!(rest(&mut backlog), (max..2 * max).collect::<Vec<u32>>());
    }
}
