//! Asks for every name, one after the other, for as long as the run lasts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::oracle::Oracle;
use crate::support::dns;

/// The thread that asks.
pub(super) struct Asker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    asked: AtomicUsize,
    /// The first answer that was wrong, which ends the asking.
    wrong: Mutex<Option<String>>,
}

impl Asker {
    /// Asks `server` for the names of `oracle`.
    pub(super) fn begin(server: SocketAddr, oracle: Arc<Oracle>) -> Asker {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::spawn(move || of_thread.ask(server, &oracle));
        Asker {
            shared,
            thread: Some(thread),
        }
    }

    /// What was wrong so far.
    pub(super) fn so_far(&self) -> Result<(), String> {
        let wrong = self.shared.wrong.lock();
        match &*wrong.unwrap_or_else(PoisonError::into_inner) {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(()),
        }
    }

    /// Ends the asking and says how many questions there were.
    pub(super) fn end(mut self) -> Result<usize, String> {
        self.stop();
        self.so_far()?;
        Ok(self.shared.asked.load(Ordering::Relaxed))
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("asking does not panic");
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn ask(&self, server: SocketAddr, oracle: &Oracle) {
        loop {
            for name in oracle.names() {
                if self.ended.load(Ordering::Relaxed) {
                    return;
                }
                let answer = dns::ask(server, &name, "A");
                self.asked.fetch_add(1, Ordering::Relaxed);
                if let Err(wrong) = oracle.judge(&name, answer.as_deref()) {
                    let first = self.wrong.lock();
                    *first.unwrap_or_else(PoisonError::into_inner) = Some(wrong);
                    return;
                }
            }
        }
    }
}
