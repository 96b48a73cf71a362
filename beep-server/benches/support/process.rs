//! CPU time, private memory and open sockets of a process, from the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// CPU time of all threads of a process, to the nanosecond. Threads that ended no longer count: servers keep theirs.
pub fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.filter_map(|thread| spent(&thread.ok()?.path().join("schedstat"))).sum()
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    spent("/proc/thread-self/schedstat".as_ref()).unwrap()
}

/// The first number in it is nanoseconds on a CPU; none when the thread has ended just now.
fn spent(schedstat: &Path) -> Option<Duration> {
    let text = fs::read_to_string(schedstat).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Runs something and answers what it cost that process.
pub fn costing<T>(pid: u32, work: impl FnOnce() -> T) -> (T, Duration) {
    let before = cpu(pid);
    let done = work();
    (done, cpu(pid).saturating_sub(before))
}

/// Private memory (RssAnon) in KiB: without the pages of mapped files, which are the system's to take back.
pub fn anon_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Private memory once it no longer moves.
pub fn settled_anon_kib(pid: u32) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut before = anon_kib(pid);
    let mut calm = 0;
    while calm < 3 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        let now = anon_kib(pid);
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
    }
    before
}

/// The most private memory while `work` runs, in KiB.
pub fn peak_anon_kib<T>(pid: u32, work: impl FnOnce() -> T) -> (T, u64) {
    let done = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                peak = peak.max(anon_kib(pid));
                thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        let result = work();
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        (result, watch.join().unwrap())
    })
}

/// How many sockets a process has open.
pub fn sockets(pid: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

/// Open sockets once none is opened or closed any more: those of clients that just went are still being closed.
pub fn settled_sockets(pid: u32) -> usize {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut before = sockets(pid);
    let mut calm = 0;
    while calm < 3 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        let now = sockets(pid);
        calm = if now == before { calm + 1 } else { 0 };
        before = now;
    }
    before
}

/// As many files as the system allows: thousands of connections need them, here and in the servers started from here.
pub fn raise_file_limit() {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
}
