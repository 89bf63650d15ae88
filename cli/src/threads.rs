//! Threads for parallel work, fewer under resource limits.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rayon::ThreadPoolBuilder;

use crate::failure::Failure;
use crate::memory::{self, Needs};

/// Runs `work` on a pool of `wanted` threads, by default one for each core. Uses fewer if threads or memory
/// do not suffice, and in the end only the current thread.
pub fn run<T: Send>(
    wanted: Option<u16>,
    needs: Needs,
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let wanted = wanted.map_or_else(cores, usize::from);
    let mut threads = wanted;
    while threads > 1 {
        if memory::has(needs.bytes(threads))
            && let Ok(pool) = ThreadPoolBuilder::new().num_threads(threads).build()
        {
            tell(threads, wanted);
            return pool.install(work);
        }
        threads /= 2;
    }
    memory::check(needs.bytes(1))?;
    tell(1, wanted);
    let pool = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
    pool.map_err(|error| refused(std::io::Error::other(error)))?.install(work)
}

fn tell(threads: usize, wanted: usize) {
    if threads < wanted {
        tracing::info!(threads, wanted, "threads or memory are limited");
    }
}

/// Starts a thread.
///
/// # Errors
/// [`BlockError::Io`] if the system refuses the thread.
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Failure> {
    thread::Builder::new().spawn(work).map_err(refused)
}

/// Counts the threads that can run at once, up to `wanted`, by trying, since no limit tells the number.
pub fn available(wanted: usize) -> usize {
    let mut waiting = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..wanted {
        let (go_on, wait) = mpsc::channel::<()>();
        let Ok(thread) = thread::Builder::new().spawn(move || wait.recv().is_ok()) else { break };
        waiting.push(go_on);
        threads.push(thread);
    }
    drop(waiting);
    threads.into_iter().map(JoinHandle::join).filter(Result::is_ok).count()
}

fn refused(source: std::io::Error) -> Failure {
    Failure::Start { what: "a thread", source }
}
