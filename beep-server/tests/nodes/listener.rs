//! Somebody who listens, now at this server and now at that, and picks up each time behind the last event heard.

use crate::cluster::Door;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// What was heard: place in the log, and start of the bite.
pub type Heard = Vec<(u64, u64)>;

#[derive(Default)]
struct Ears {
    ended: AtomicBool,
    heard: Mutex<Heard>,
    more: Condvar,
}

pub struct Listener<'scope> {
    ears: Arc<Ears>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl<'scope> Listener<'scope> {
    pub fn begin<'env>(scope: &'scope Scope<'scope, 'env>, doors: Vec<Door>, token: &str, seed: u64) -> Self {
        let ears = Arc::new(Ears::default());
        let (own, token) = (ears.clone(), token.to_owned());
        let thread = scope.spawn(move || {
            let mut rng = SmallRng::seed_from_u64(seed);
            while !own.ended.load(Ordering::SeqCst) {
                let door = doors[rng.random_range(0..doors.len())].address();
                let until = Instant::now() + Duration::from_millis(rng.random_range(50..800));
                // A server that ends or dies is left for the next.
                if listen(door, &token, &own, until).is_err() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        Self { ears, thread }
    }

    /// Which of these starts were not heard by then.
    pub fn wait_for(&self, starts: &[u64], deadline: Instant) -> Vec<u64> {
        let mut heard = self.ears.heard.lock().unwrap();
        loop {
            let known: HashSet<u64> = heard.iter().map(|(_, start)| *start).collect();
            let missing: Vec<u64> = starts.iter().copied().filter(|start| !known.contains(start)).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if missing.is_empty() || left.is_zero() {
                return missing;
            }
            heard = self.ears.more.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Ends it; everything in the order in which it was heard.
    pub fn end(self) -> Heard {
        self.ears.ended.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        std::mem::take(&mut self.ears.heard.lock().unwrap())
    }
}

/// Hears what one server tells until then.
fn listen(server: SocketAddr, token: &str, ears: &Ears, until: Instant) -> std::io::Result<()> {
    let last = ears.heard.lock().unwrap().last().map_or(0, |(seq, _)| *seq);
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    write!(
        stream,
        "GET /subscribe HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\nlast-event-id: {last}\r\n\r\n"
    )?;
    let mut reader = BufReader::new(stream);
    let (mut line, mut seq) = (Vec::new(), None);
    while Instant::now() < until && !ears.ended.load(Ordering::SeqCst) {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if line.ends_with(b"\n") => {}
            // Half a line at the end of the stream.
            Ok(_) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            // The rest of the line is yet to come.
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(e) => return Err(e),
        }
        // Chunk sizes stand between the lines; they look like none of these.
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        if let Some(id) = text.strip_prefix("id: ") {
            seq = id.parse::<u64>().ok();
        } else if let Some(event) = text.strip_prefix("event: ") {
            assert_ne!(event, "reset", "a listener was told to begin anew");
        } else if let Some(data) = text.strip_prefix("data: ")
            && let Some(seq) = seq.take()
        {
            let data: Value = serde_json::from_str(data).unwrap();
            let mut heard = ears.heard.lock().unwrap();
            heard.push((seq, data["start"].as_u64().unwrap()));
            ears.more.notify_all();
        }
    }
    Ok(())
}
