//! The threads that own Kafka clients, counted until they have ended.
//!
//! A process must not end while librdkafka still closes connections on some thread: the C library takes OpenSSL down at exit, and a thread that
//! uses it then crashes the process, whose work was done. So whoever ends a process waits for these first.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Counts a thread while it lives.
struct Alive;

impl Alive {
    fn new() -> Self {
        *running() += 1;
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        *running() -= 1;
        ENDED.notify_all();
    }
}

fn running() -> MutexGuard<'static, usize> {
    RUNNING.lock().expect("invariant: nothing panics while it holds this lock")
}

/// Starts a thread that owns a client, or drops one.
pub(super) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let alive = Alive::new();
    std::thread::Builder::new().name(name).spawn(move || {
        work();
        drop(alive);
    })?;
    Ok(())
}

/// Waits until every client that has been let go is closed. Gives whether they were in time. Call it last, when no log is open any more.
pub fn wait_until_closed(within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let mut count = running();
    while *count > 0 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        (count, _) = ENDED.wait_timeout(count, left).expect("invariant: nothing panics while it holds this lock");
    }
    true
}
