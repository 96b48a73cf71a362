//! Three servers on one Postgres, one Redis, one NATS and one folder of bodies, all the test's own.

use super::services::nats::NatsServer;
use super::services::{postgres, redis};
use super::support::installation::{Installation, runtime};
use super::support::server::Server;
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::event::{Event, LogEntry};
use beep_core::store::{BiteStoreExt, Stores};
use beep_storage::StorageConfig;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Where a server can be reached; it moves when the server is started anew.
#[derive(Clone)]
pub struct Door(Arc<Mutex<SocketAddr>>);

impl Door {
    pub fn address(&self) -> SocketAddr {
        *self.0.lock().unwrap()
    }
}

pub struct Cluster {
    pub installation: Installation,
    pub postgres: postgres::Server,
    pub nats: NatsServer,
    redis: redis::Server,
    nodes: Vec<Option<Server>>,
    doors: Vec<Door>,
    settings: Vec<(String, String)>,
    victim: usize,
    dir: TempDir,
}

impl Cluster {
    /// None, said aloud, where one of the services is not installed.
    pub fn start(nodes: usize, people: usize, more: &[(&str, &str)]) -> Option<Self> {
        let postgres = postgres::Server::start()?;
        let redis = runtime().block_on(redis::Server::start(&[]))?;
        let nats = NatsServer::start()?;
        let dir = tempfile::tempdir().unwrap();
        let storage = StorageConfig {
            bites: postgres.url(),
            directory: postgres.url(),
            search: postgres.url(),
            blobs: postgres.url(),
            ephemeral: format!("redis://{}", redis.address()),
            bodies: format!("file:{}", dir.path().join("bodies").display()),
        };
        let installation = Installation::create_in(dir.path(), storage, people);
        let mut settings = installation.settings();
        settings.push(("BEEP_BUS".into(), nats.address()));
        settings.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let (nodes, doors) = (0..nodes)
            .map(|_| {
                let node = start(&dir, &settings);
                let door = Door(Arc::new(Mutex::new(node.address)));
                (Some(node), door)
            })
            .unzip();
        Some(Self { installation, postgres, nats, redis, nodes, doors, settings, victim: 0, dir })
    }

    pub fn doors(&self) -> Vec<Door> {
        self.doors.clone()
    }

    /// A node that was not hurt for the longest time.
    pub fn next_victim(&mut self) -> usize {
        self.victim = (self.victim + 1) % self.nodes.len();
        self.victim
    }

    /// `kill -9`.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().kill();
    }

    pub fn start_node(&mut self, node: usize) {
        let server = start(&self.dir, &self.settings);
        *self.doors[node].0.lock().unwrap() = server.address;
        self.nodes[node] = Some(server);
    }

    /// As an operator does: SIGTERM, wait for the end, start again.
    pub fn restart_gracefully(&mut self, node: usize) {
        let mut server = self.nodes[node].take().unwrap();
        let pid = server.pid().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        while server.is_running() {
            thread::sleep(Duration::from_millis(5));
        }
        drop(server);
        self.start_node(node);
    }

    /// Killed with everything that it held, and started empty after a while.
    pub fn restart_redis(&mut self, away: Duration) {
        self.redis.kill();
        thread::sleep(away);
        runtime().block_on(self.redis.restart());
    }

    /// The servers that run now.
    pub fn running(&self) -> Vec<&Server> {
        self.nodes.iter().flatten().collect()
    }

    /// How much of what was acknowledged is not there, and how much is there twice.
    pub fn check(&self, acknowledged: &[(u64, Digest)]) -> (usize, usize) {
        self.installation.with_stores(async |stores| {
            let entries = whole_log(stores).await;
            let mut times: HashMap<u64, usize> = HashMap::new();
            for entry in &entries {
                if let Event::Stored { key, .. } = &entry.event {
                    *times.entry(key.start).or_default() += 1;
                }
            }
            let mut lost = 0;
            for (start, digest) in acknowledged {
                let key = BiteKey::new(Label::Bite, self.installation.conversation.clone(), *start);
                let stored = stores.bites.get(&key).await.unwrap();
                let intact = stored.is_some_and(|bite| bite.meta.sha256 == *digest);
                lost += usize::from(!intact || !times.contains_key(start));
            }
            (lost, times.values().filter(|times| **times > 1).count())
        })
    }

    /// How often the log tells of a transcript, by start.
    pub fn transcripts(&self) -> HashMap<u64, usize> {
        self.installation.with_stores(async |stores| {
            let mut times = HashMap::new();
            for entry in whole_log(stores).await {
                if let Event::Stored { key, .. } = entry.event
                    && key.label == Label::Transcription
                {
                    *times.entry(key.start).or_default() += 1;
                }
            }
            times
        })
    }
}

fn start(dir: &TempDir, settings: &[(String, String)]) -> Server {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Server::start(dir.path(), &settings)
}

/// Every entry, after checking that they are numbered 1, 2, 3…
async fn whole_log(stores: &Stores) -> Vec<LogEntry> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let each = &mut |entry: LogEntry| {
        entries.push(entry);
        ControlFlow::Continue(())
    };
    stores.bites.replay(0, each).await.unwrap();
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.seq, n as u64 + 1, "the log has a gap");
    }
    entries
}
