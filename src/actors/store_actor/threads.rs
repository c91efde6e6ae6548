//! Worker threads for what waits for a disk or takes long, so that no arbiter ever does.
//!
//! A job that panics calls the pool's panic hook: jobs run for the StoreActor, and a half-known disk
//! state is worse than a restart. The queue needs no bound of its own: every job belongs to a
//! request that holds a permit.

use crossbeam_channel::{Sender, unbounded};
use std::io;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. Clones share it; it ends with its last clone.
#[derive(Clone, Debug)]
pub struct Threads {
    queue: Sender<Job>,
}

struct OnPanic(fn());

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

impl Threads {
    /// Starts `count` threads, one at least. `on_panic` is called on a thread whose work panics.
    pub fn start(count: usize, on_panic: fn()) -> io::Result<Self> {
        let (queue, jobs) = unbounded::<Job>();
        for n in 0..count.max(1) {
            let jobs = jobs.clone();
            std::thread::Builder::new().name(format!("store-{n}")).spawn(move || {
                while let Ok(job) = jobs.recv() {
                    let guard = OnPanic(on_panic);
                    job();
                    drop(guard);
                }
            })?;
        }
        Ok(Threads { queue })
    }

    /// Runs `work` on a thread. `None` when the pool has ended. Begun work runs on when the answer
    /// is no longer awaited.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job = move || {
            // Nobody waits any more: the value is dropped here, which is what ends a transfer.
            let _ = reply.send(work());
        };
        self.queue.send(Box::new(job)).ok()?;
        answer.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    static PANICS: AtomicU32 = AtomicU32::new(0);

    #[test]
    fn work_comes_back_and_a_panic_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let threads = Threads::start(2, || {
            PANICS.fetch_add(1, Ordering::SeqCst);
        })
        .expect("threads");
        runtime.block_on(async {
            assert_eq!(threads.run(|| 41 + 1).await, Some(42));
            assert_eq!(threads.run(|| -> u32 { panic!("on purpose") }).await, None);
            assert_eq!(threads.run(|| 1).await, Some(1), "the other thread still works");
        });
        // The reply is dropped while the panicking thread unwinds, perhaps before its guard runs:
        // the guard is what the second thread's answer does not wait for.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while PANICS.load(Ordering::SeqCst) == 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(PANICS.load(Ordering::SeqCst), 1);
    }
}
