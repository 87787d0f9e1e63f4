//! Work that may block, on a thread of its own.
//!
//! Tokio's pool for such work panics where no thread can be started, as under the limit of a Pod on its processes. What
//! is done here is done seldom, and can be told that it cannot be done now.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// Does `work` on a thread of this name. Dropped, it goes on, and what it comes to is nobody's.
///
/// # Errors
/// The system has no thread left, or the work has panicked.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, doing) = oneshot::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || drop(done.send(work())))?;
    doing
        .await
        .map_err(|_| io::Error::other("the work has panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_comes_to_what_it_comes_to() {
        assert_eq!(run("test", || 7).await.unwrap(), 7);
        let panicked = run("test", || -> u8 { panic!("a test may") }).await;
        assert!(panicked.unwrap_err().to_string().contains("panicked"));
    }
}
