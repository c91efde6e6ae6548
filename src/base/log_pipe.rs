//! The log on its way to stderr: nobody who logs waits for whoever reads it.
//!
//! Invariants
//! - `write` returns at once, whatever stderr does: lines wait in memory, `QUEUE_BYTES_MAX` at most.
//! - Lines that found no room are counted, and the count stands in the log where they would have stood.
//! - Before the process ends, by itself or by a panic, `settle` gives what waits a moment to get out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Most bytes of lines that wait.
pub const QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// What an end of the process waits for a reader who stands still.
pub const SETTLE_MAX: Duration = Duration::from_secs(1);

/// The one that this process logs through.
static PIPE: OnceLock<LogPipe> = OnceLock::new();

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
    /// Whether a line is being written.
    writing: bool,
}

/// The writing end; clones are the same pipe.
#[derive(Clone, Debug, Default)]
pub struct LogPipe(Arc<(Mutex<Queue>, Condvar)>);

/// The pipe of this process to its stderr.
///
/// # Errors
/// When the thread that writes cannot be started.
pub fn to_stderr() -> io::Result<LogPipe> {
    if let Some(pipe) = PIPE.get() {
        return Ok(pipe.clone());
    }
    let pipe = LogPipe::default();
    let lines = pipe.clone();
    // Stderr that is closed or full loses lines; nobody could be told.
    std::thread::Builder::new().name("log".to_owned()).spawn(move || lines.drain_to(&mut io::stderr()))?;
    Ok(PIPE.get_or_init(|| pipe).clone())
}

/// Waits until all lines are written, `SETTLE_MAX` at most.
pub fn settle() {
    if let Some(pipe) = PIPE.get() {
        pipe.settle(SETTLE_MAX);
    }
}

impl LogPipe {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.0.1.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines as they come, for ever.
    fn drain_to(&self, out: &mut impl Write) {
        loop {
            let mut queue = self.queue();
            while queue.lines.is_empty() && queue.lost == 0 {
                queue = self.wait(queue);
            }
            let line = queue.lines.pop_front();
            queue.bytes -= line.as_ref().map_or(0, Vec::len);
            // What was lost came behind everything that waits.
            let lost = if line.is_none() { std::mem::take(&mut queue.lost) } else { 0 };
            queue.writing = true;
            drop(queue);
            let line = line.unwrap_or_else(|| {
                format!("[{lost} lines of this log are lost: they came faster than they were read]\n").into_bytes()
            });
            let _ = out.write_all(&line);
            let _ = out.flush();
            self.queue().writing = false;
            self.0.1.notify_all();
        }
    }

    fn settle(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut queue = self.queue();
        while queue.writing || !queue.lines.is_empty() || queue.lost > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.0.1.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for LogPipe {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.queue();
        // Once something is lost, all is until the count of it is written: no line stands before an earlier one.
        if queue.lost > 0 || queue.bytes + line.len() > QUEUE_BYTES_MAX {
            queue.lost += 1;
        } else {
            queue.bytes += line.len();
            queue.lines.push_back(line.to_vec());
        }
        drop(queue);
        self.0.1.notify_all();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A reader that takes a line only when it is told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        read: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(io::Error::other)?;
            self.read.send(String::from_utf8_lossy(line).into_owned()).map_err(io::Error::other)?;
            Ok(line.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_does_not_wait_for_who_reads_and_what_is_lost_is_told() {
        let mut pipe = LogPipe::default();
        let ((go, gone), (read, out)) = (mpsc::channel(), mpsc::channel());
        let lines = pipe.clone();
        std::thread::spawn(move || lines.drain_to(&mut Slow { go: gone, read }));
        let line = [b'x'; 1000];
        let fit = QUEUE_BYTES_MAX / line.len();
        // The reader stands still all the while; one line may be in its hands.
        for _ in 0..2 * fit {
            assert_eq!(pipe.write(&line).unwrap(), line.len());
        }
        assert!(pipe.queue().bytes <= QUEUE_BYTES_MAX && pipe.queue().lost > 0);
        let mut seen = 0;
        let lost = loop {
            go.send(()).unwrap();
            match out.recv().unwrap() {
                text if text.starts_with('x') => seen += 1,
                text => break text,
            }
        };
        assert!(seen >= fit && lost.contains("lines of this log are lost"), "{seen}, {lost}");
        drop(go);
        pipe.settle(Duration::from_secs(30));
        assert!(pipe.queue().lines.is_empty());
    }
}
