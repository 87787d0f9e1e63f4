//! The questions of one race that are out at a time.
//!
//! Nearly every race has one, which lies where the race lies: no allocation for it. The others, a few at most, have
//! boxes, and all are polled whenever one of them may go on.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Questions that are out.
pub(super) struct Runners<'r, F> {
    first: Pin<&'r mut Option<F>>,
    others: Vec<Pin<Box<F>>>,
}

impl<'r, F: Future> Runners<'r, F> {
    /// Nobody out. `first` is the place of the first one.
    pub(super) fn new(first: Pin<&'r mut Option<F>>) -> Runners<'r, F> {
        Runners {
            first,
            others: Vec::new(),
        }
    }

    /// One more is out.
    pub(super) fn push(&mut self, runner: F) {
        if self.first.is_none() {
            self.first.set(Some(runner));
        } else {
            self.others.push(Box::pin(runner));
        }
    }

    /// Whether nobody is out.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.others.is_empty()
    }

    /// What the first to come back says; `None` with nobody out. May be left and called again.
    pub(super) async fn next(&mut self) -> Option<F::Output> {
        if self.is_empty() {
            return None;
        }
        Some(poll_fn(|context| self.poll(context)).await)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        if let Some(runner) = self.first.as_mut().as_pin_mut()
            && let Poll::Ready(said) = runner.poll(context)
        {
            self.first.set(None);
            return Poll::Ready(said);
        }
        for at in 0..self.others.len() {
            if let Poll::Ready(said) = self.others[at].as_mut().poll(context) {
                drop(self.others.swap_remove(at));
                return Poll::Ready(said);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn each_comes_back_once_in_the_order_in_which_they_answer() {
        let first = pin!(None);
        let mut out = Runners::new(first);
        assert!(out.is_empty() && out.next().await.is_none());
        let (mut answers, mut asked): (Vec<_>, Vec<_>) =
            (0..3).map(|_| oneshot::channel::<u8>()).unzip();
        for _ in 0..3 {
            out.push(asked.remove(0));
        }
        assert!(out.next().now_or_never().is_none(), "nobody answers yet");
        for (at, said) in [(2, 2), (0, 0), (0, 1)] {
            answers.remove(at).send(said).unwrap();
            assert_eq!(out.next().await, Some(Ok(said)));
        }
        assert!(out.is_empty());
    }

    #[tokio::test]
    async fn who_is_out_later_takes_the_place_that_is_free() {
        let first = pin!(None);
        let mut out = Runners::new(first);
        for round in 0..3 {
            out.push(std::future::ready(round));
            assert_eq!(out.next().await, Some(round));
            assert!(out.is_empty() && out.others.capacity() == 0);
        }
    }
}
