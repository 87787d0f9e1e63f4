//! Lines from any thread to standard output, without waiting for it.
//!
//! A line is copied into one queue under a mutex that is held for the copy alone; one thread swaps the queue for an
//! empty one and writes all lines of a swap with one call. If the reader of standard output is slow, the queue fills,
//! and further lines are dropped and counted: a log must never slow an answer.
//!
//! One queue keeps the lines of a task in order while it moves between threads, which queues of each thread would not.
//! Measured with lines of 110 octets, 200,000 a second from each thread: a push costs 17 ns from one thread, 150 to
//! 400 ns from each of two at once, most of it the queue's cache lines going to and fro.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::LocalKey;
use std::time::{Duration, SystemTime};

use super::log::{JsonFields, LogFormat, record};

/// Octets that wait to be written, some 10,000 lines of a query log: enough for a pause of the reader of 50 ms at
/// 200,000 lines a second. As much again is being written.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// How long lines are gathered for one write: too short for a person who watches, and a busy log wakes the writer 200
/// times a second and not once a line.
const BATCH_TIME: Duration = Duration::from_millis(5);

/// How long the end of the process waits for lines to be written; nobody may be reading.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// Octets that a scratch buffer has from the start: a line of the query log with the longest name fits, so that no line
/// but the first costs memory.
const SCRATCH_BYTES: usize = 1 << 10;

/// Scratch buffers larger than this are given back after use.
const SCRATCH_BYTES_KEPT: usize = 128 << 10;

thread_local! {
    /// Where a line is formatted before the queue is locked.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// Where the text of a line is formatted before it is put into a JSON object.
    static TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Takes lines; clones feed the same writer.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

/// Held by `main`: dropped at the end of the process, it waits until the lines are written, for 2 seconds at most.
#[must_use = "lines that are waiting are lost when the process ends without it"]
pub struct LinesGuard(Arc<Shared>);

struct Shared {
    format: LogFormat,
    queue: Mutex<Queue>,
    /// For the writer: there are lines again, or the end has come.
    filled: Condvar,
    /// For the guard: the writer is done.
    finished: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The writer sleeps until it is woken. While lines keep coming it wakes up by the clock instead, and a push is
    /// no system call.
    parked: bool,
    closed: bool,
    finished: bool,
}

impl Lines {
    /// Starts the writer of `out`. Lines pushed after the guard is dropped are counted as dropped.
    ///
    /// # Errors
    /// The system gave no thread.
    pub fn start(
        format: LogFormat,
        out: impl Write + Send + 'static,
    ) -> io::Result<(Self, LinesGuard)> {
        let queue = Queue {
            bytes: whole_queue(),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            format,
            queue: Mutex::new(queue),
            filled: Condvar::new(),
            finished: Condvar::new(),
            dropped: AtomicU64::new(0),
        });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_all(out))?;
        Ok((Self(Arc::clone(&shared)), LinesGuard(shared)))
    }

    /// The format that lines are expected in.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.0.format
    }

    /// Queues whole lines, each with its newline at the end.
    pub fn push(&self, lines: &[u8]) {
        let mut queue = self.0.lock();
        if queue.closed || queue.bytes.len() + lines.len() > QUEUE_BYTES_MAX {
            drop(queue);
            self.0.drop_lines(lines);
            return;
        }
        queue.bytes.extend_from_slice(lines);
        let wake = std::mem::take(&mut queue.parked);
        drop(queue);
        if wake {
            self.0.filled.notify_one();
        }
    }

    /// Queues what `format` appends to the buffer it is given, which is the thread's own: no lock is held meanwhile.
    pub fn push_with(&self, format: impl FnOnce(&mut Vec<u8>)) {
        // Taken out, so that a line pushed by `format` itself finds an empty buffer.
        let mut buffer = SCRATCH.take();
        buffer.reserve(SCRATCH_BYTES);
        format(&mut buffer);
        self.push(&buffer);
        keep(buffer, &SCRATCH);
    }

    /// Queues one line of the query log: `[INFO] ` and the text, or a JSON object with the text as `msg` and `fields`
    /// beside it, which are asked for in that format alone.
    pub fn push_query(
        &self,
        text: impl FnOnce(&mut Vec<u8>),
        fields: impl FnOnce(&mut JsonFields<'_>),
    ) {
        self.push_with(|line| match self.0.format {
            LogFormat::Text => {
                line.extend_from_slice(b"[INFO] ");
                text(line);
                line.push(b'\n');
            }
            LogFormat::Json => {
                let mut msg = TEXT.take();
                msg.reserve(SCRATCH_BYTES);
                text(&mut msg);
                let message = String::from_utf8_lossy(&msg);
                record(line, SystemTime::now(), "INFO", &message, fields);
                keep(msg, &TEXT);
            }
        });
    }

    /// Lines dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn drop_lines(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// The writer: until the guard is dropped and the queue is empty.
    fn write_all(&self, mut out: impl Write) {
        let mut batch = whole_queue();
        let mut told = 0;
        loop {
            let closed = self.wait(&mut batch);
            let dropped = self.dropped.load(Ordering::Relaxed);
            if dropped > told && !closed {
                self.report_dropped(dropped - told, &mut batch);
                told = dropped;
            }
            if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
                // Nowhere to say so but in the metric.
                self.drop_lines(&batch);
                told = self.dropped.load(Ordering::Relaxed);
            }
            batch.clear();
            if closed {
                break;
            }
        }
        self.lock().finished = true;
        self.finished.notify_all();
    }

    /// Waits for a batch and swaps it for the empty `batch`; whether it is the last.
    fn wait(&self, batch: &mut Vec<u8>) -> bool {
        let mut queue = self.lock();
        if queue.bytes.is_empty() {
            queue = self.wait_batch_time(queue);
        }
        if queue.bytes.is_empty() && !queue.closed {
            queue.parked = true;
            queue = self
                .filled
                .wait_while(queue, |queue| queue.parked && !queue.closed)
                .unwrap_or_else(PoisonError::into_inner);
            queue = self.wait_batch_time(queue);
        }
        std::mem::swap(&mut queue.bytes, batch);
        queue.closed
    }

    fn wait_batch_time<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        let waited = self
            .filled
            .wait_timeout_while(queue, BATCH_TIME, |queue| !queue.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn report_dropped(&self, count: u64, batch: &mut Vec<u8>) {
        let message = format!("{count} log lines dropped: standard output takes them too slowly");
        match self.format {
            LogFormat::Text => batch.extend_from_slice(format!("[WARNING] {message}\n").as_bytes()),
            LogFormat::Json => record(batch, SystemTime::now(), "WARN", &message, |_| {}),
        }
    }
}

/// Room for all lines that may wait, so that no thread that pushes one ever waits for memory. The system gives it page
/// by page, as far as it is written to.
fn whole_queue() -> Vec<u8> {
    Vec::with_capacity(QUEUE_BYTES_MAX)
}

/// Gives a buffer back to the thread, unless it has become large.
fn keep(mut buffer: Vec<u8>, place: &'static LocalKey<Cell<Vec<u8>>>) {
    if buffer.capacity() <= SCRATCH_BYTES_KEPT {
        buffer.clear();
        place.set(buffer);
    }
}

impl Drop for LinesGuard {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.closed = true;
        self.0.filled.notify_all();
        let waited = self
            .0
            .finished
            .wait_timeout_while(queue, FLUSH_TIME_MAX, |queue| !queue.finished);
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Collects what is written, one entry a call.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Takes a write only when it is allowed to.
    struct Stalled {
        entered: mpsc::Sender<()>,
        allowed: mpsc::Receiver<()>,
        writes: Writes,
    }

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.entered.send(());
            let _ = self.allowed.recv();
            self.writes.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_one_thread_are_written_in_order_and_many_at_a_time() {
        let writes = Writes::default();
        let (lines, guard) = Lines::start(LogFormat::Text, writes.clone()).unwrap();
        for number in 0..1000 {
            lines.push_with(|line| writeln!(line, "line {number}").unwrap());
        }
        drop(guard);
        let writes = writes.0.lock().unwrap();
        let expected: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        assert_eq!(String::from_utf8(writes.concat()).unwrap(), expected);
        assert!(writes.len() < 1000, "{} writes", writes.len());
    }

    #[test]
    fn lines_beyond_the_queue_are_dropped_counted_and_reported() {
        let (entered, writing) = mpsc::channel();
        let (allow, allowed) = mpsc::channel();
        let writes = Writes::default();
        let out = Stalled {
            entered,
            allowed,
            writes: writes.clone(),
        };
        let (lines, guard) = Lines::start(LogFormat::Text, out).unwrap();
        lines.push(b"first\n");
        writing.recv().unwrap();
        let line = [vec![b'x'; 1023], vec![b'\n']].concat();
        for _ in 0..QUEUE_BYTES_MAX / 1024 + 7 {
            lines.push(&line);
        }
        assert_eq!(lines.dropped(), 7);
        allow.send(()).unwrap();
        writing.recv().unwrap();
        drop(allow);
        drop(guard);
        let text = String::from_utf8(writes.0.lock().unwrap().concat()).unwrap();
        assert_eq!(text.lines().count(), 1 + QUEUE_BYTES_MAX / 1024 + 1);
        assert!(
            text.contains("\n[WARNING] 7 log lines dropped"),
            "the loss is told"
        );
    }

    #[test]
    fn lines_after_the_end_are_counted_as_dropped() {
        let (lines, guard) = Lines::start(LogFormat::Text, io::sink()).unwrap();
        drop(guard);
        lines.push(b"late\n");
        assert_eq!(lines.dropped(), 1);
    }

    #[test]
    fn a_line_pushed_while_another_is_formatted_is_whole() {
        let writes = Writes::default();
        let (lines, guard) = Lines::start(LogFormat::Text, writes.clone()).unwrap();
        lines.push_with(|outer| {
            outer.extend_from_slice(b"outer ");
            lines.push_with(|inner| inner.extend_from_slice(b"inner\n"));
            outer.extend_from_slice(b"line\n");
        });
        drop(guard);
        assert_eq!(writes.0.lock().unwrap().concat(), b"inner\nouter line\n");
    }

    #[test]
    fn a_query_line_has_the_form_of_the_log() {
        for (format, expected) in [
            (LogFormat::Text, r#"[INFO] 10.0.0.1:53 - "A""#),
            (
                LogFormat::Json,
                r#""level":"INFO","msg":"10.0.0.1:53 - \"A\"","qtype":"A","size":45}"#,
            ),
        ] {
            let writes = Writes::default();
            let (lines, guard) = Lines::start(format, writes.clone()).unwrap();
            lines.push_query(
                |text| text.extend_from_slice(br#"10.0.0.1:53 - "A""#),
                |fields| {
                    fields.text("qtype", "A");
                    fields.number("size", 45);
                },
            );
            drop(guard);
            let text = String::from_utf8(writes.0.lock().unwrap().concat()).unwrap();
            assert!(
                text.ends_with(&format!("{expected}\n")),
                "{format:?}: {text}"
            );
        }
    }
}
