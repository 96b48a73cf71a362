//! Clients that speak at any server, and go to another with the same bite until one has acknowledged it.

use crate::cluster::Door;
use crate::support::http::Client;
use crate::support::installation::{Person, wav};
use beep_core::bite::Digest;
use beep_core::id::ConversationId;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A pause between two bites: what is measured is that nothing is lost, not how fast two cores are.
const PAUSE: Duration = Duration::from_millis(5);
/// A bite that nobody takes for so long is given up, and counts as refused.
const PATIENCE: Duration = Duration::from_secs(20);

/// What all speakers know, and when something was away.
#[derive(Default)]
pub struct Load {
    next: AtomicU64,
    ended: AtomicBool,
    moves: AtomicU64,
    acknowledged: Mutex<Vec<(u64, Digest)>>,
    refused: Mutex<Vec<(Instant, String)>>,
    disturbances: Mutex<Vec<(Instant, Instant)>>,
}

impl Load {
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub fn disturbed(&self, from: Instant, until: Instant) {
        self.disturbances.lock().unwrap().push((from, until));
    }

    /// Whether something was away then, or came back less than `grace` before.
    pub fn was_disturbed(&self, at: Instant, grace: Duration) -> bool {
        self.disturbances.lock().unwrap().iter().any(|(from, until)| (*from..*until + grace).contains(&at))
    }

    /// Answers that no client should have got, of those that came when `counts` says so.
    pub fn refused(&self, counts: impl Fn(Instant) -> bool) -> Vec<String> {
        let refused = self.refused.lock().unwrap();
        refused.iter().filter(|(at, _)| counts(*at)).map(|(_, why)| why.clone()).collect()
    }

    /// The starts of what was acknowledged so far.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.lock().unwrap().iter().map(|(start, _)| *start).collect()
    }

    pub fn acknowledged_digests(&self) -> Vec<(u64, Digest)> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// How often a bite was taken to another server than the one that was asked first.
    pub fn moves(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }
}

/// One client.
pub struct Speaking<'a> {
    pub load: &'a Load,
    pub doors: Vec<Door>,
    pub room: ConversationId,
    pub person: Person,
    pub seed: u64,
}

impl Speaking<'_> {
    /// Speaks until the load ends.
    pub fn go_on(self) {
        let mut rng = SmallRng::seed_from_u64(self.seed);
        let mut connections = HashMap::new();
        while !self.load.ended.load(Ordering::SeqCst) {
            let start = 1 + self.load.next.fetch_add(1, Ordering::SeqCst);
            let size = 2f64.powf(rng.random_range(7.0..=16.0)) as usize / 2 * 2;
            let body = wav(size, |samples| rng.fill_bytes(samples));
            self.say(start, &body, &mut rng, &mut connections);
            thread::sleep(PAUSE);
        }
    }

    /// Until some server has it.
    fn say(
        &self,
        start: u64,
        body: &[u8],
        rng: &mut SmallRng,
        connections: &mut HashMap<SocketAddr, Client>,
    ) {
        let path = format!("/publish/conversation/{}/start/{start}", self.room);
        let begun = Instant::now();
        loop {
            let door = self.doors[rng.random_range(0..self.doors.len())].address();
            let connection = connections.remove(&door).map_or_else(|| Client::connect(door), Ok);
            let answer = connection.and_then(|mut client| {
                let answer = client.send("PUT", &path, &self.person.token, body)?;
                connections.insert(door, client);
                Ok(answer)
            });
            match answer {
                // 200 where an earlier attempt had arrived, and only its answer was lost.
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    self.load.acknowledged.lock().unwrap().push((start, Digest::of(body)));
                    return;
                }
                Ok(answer) => {
                    let why = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                    let mut refused = self.load.refused.lock().unwrap();
                    refused.push((Instant::now(), why));
                }
                // The server died or is about to: another one has to take it.
                Err(_) => {}
            }
            if begun.elapsed() > PATIENCE {
                let why = format!("nobody took the bite at {start} within {PATIENCE:?}");
                self.load.refused.lock().unwrap().push((Instant::now(), why));
                return;
            }
            self.load.moves.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(10));
        }
    }
}
