//! R5: a full disk and a full map. A clear 507, nothing acknowledged is lost, reads go on, writes resume by themselves.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use beep_core::bite::Digest;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use support::http::{Answer, Client};
use support::installation::{Installation, wav};
use support::server::Server;
use support::{required, setting, skipped};

const BITE: usize = 16 << 10;
const RESUME_LIMIT: Duration = Duration::from_secs(1);
/// How long the server is pressed while it is full.
const PRESSED: Duration = Duration::from_secs(1);

/// A file system of 64 MiB in memory; unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// None where mounting is not allowed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|out| out.status.success()).then(|| Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: the log of a server that was killed just now may still be open for a moment.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[test]
fn full_disk_is_answered_and_survived() {
    let Some(disk) = Tmpfs::mount() else {
        assert!(!required("tmpfs"), "BEEP_REQUIRE asks for tmpfs, but it cannot be mounted");
        skipped("the full disk: a tmpfs can be mounted by root only");
        return;
    };
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![7u8; 16 << 20]).unwrap();
    let run = Run::start(&disk.0.path().join("data"), &[]);
    run.until_full_and_back("R5-disk", |_| fs::remove_file(&ballast).unwrap());
}

#[test]
fn full_map_is_answered_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let bites = format!("heed:{}?max_bytes={}", dir.path().join("bites").display(), 32 << 20);
    let run =
        Run::start(dir.path(), &[("BEEP_STORE_BITES", bites.as_str()), ("BEEP_STORE_BLOBS", bites.as_str())]);
    run.until_full_and_back("R5-map", |run| {
        // Space returns when somebody deletes bites, which a full store must still be able to do.
        let mut client = Client::connect(run.server.address).unwrap();
        let deleted: Vec<u64> = run.acknowledged.drain(..200).collect();
        for n in deleted {
            let answer = client.send("DELETE", &run.bite(n), run.token(), b"").unwrap();
            assert_eq!(
                answer.status,
                204,
                "deleting from a full store: {}",
                String::from_utf8_lossy(&answer.body)
            );
        }
    });
}

struct Run {
    installation: Installation,
    server: Server,
    /// The starts of the bites that were answered with 201.
    acknowledged: Vec<u64>,
    next: u64,
}

impl Run {
    fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let installation = Installation::create(dir, 1);
        let server = Server::start(&PathBuf::from(dir), settings);
        Self { installation, server, acknowledged: Vec::new(), next: 1 }
    }

    fn until_full_and_back(mut self, goal: &str, free: impl FnOnce(&mut Self)) {
        let mut client = Client::connect(self.server.address).unwrap();
        let most = setting("BEEP_FULL_DISK_BITES", 8_192);
        let first = loop {
            let answer = self.publish(&mut client);
            if answer.status != 201 {
                break answer;
            }
            assert!(self.next < most, "the store never gets full");
        };
        assert_full(&first);
        let before = self.acknowledged.len();
        assert!(before > 100, "full after only {before} bites");

        // Pressed on: always the same clear answer, and everything can be read all the time.
        let (began, mut refused, mut unreadable) = (Instant::now(), 1, 0);
        while began.elapsed() < PRESSED {
            let answer = self.publish(&mut client);
            if answer.status != 201 {
                assert_full(&answer);
                refused += 1;
            }
            let n = self.acknowledged[refused % self.acknowledged.len()];
            unreadable += u32::from(!self.reads(&mut client, n));
        }
        unreadable += self.unreadable();

        free(&mut self);
        let freed = Instant::now();
        let resumed = loop {
            if self.publish(&mut client).status == 201 {
                break freed.elapsed();
            }
            assert!(freed.elapsed() < Duration::from_secs(30), "writes never resume:\n{}", self.server.log());
            thread::sleep(Duration::from_millis(5));
        };
        for _ in 0..50 {
            assert_eq!(self.publish(&mut client).status, 201, "and go on");
        }
        let lost = self.unreadable();
        let restarts = u32::from(!self.server.is_running());
        // What was acknowledged is on disk as well, not only in the running process.
        self.server.kill();
        self.server = Server::start(self.installation.dir(), &[]);
        let lost = lost + self.unreadable();
        let fail = u32::from(unreadable + lost + restarts > 0 || resumed > RESUME_LIMIT);
        println!(
            "goal={goal} pass={} fail={fail} acknowledged={} refused={refused} unreadable_while_full={unreadable} \
             lost={lost} restarts={restarts} resumed_ms={} limit_ms={}",
            1 - fail,
            self.acknowledged.len(),
            resumed.as_millis(),
            RESUME_LIMIT.as_millis(),
        );
        assert_eq!((unreadable, lost, restarts), (0, 0, 0));
        assert!(resumed <= RESUME_LIMIT, "writes resumed after {resumed:?}");
    }

    fn token(&self) -> &str {
        &self.installation.people[0].token
    }

    fn bite(&self, start: u64) -> String {
        format!("/bite/conversation/{}/start/{start}", self.installation.conversation)
    }

    fn publish(&mut self, client: &mut Client) -> Answer {
        let start = self.next;
        self.next += 1;
        let path = format!("/publish/conversation/{}/start/{start}", self.installation.conversation);
        let answer = client.send("PUT", &path, self.token(), &body(start)).unwrap();
        if answer.status == 201 {
            self.acknowledged.push(start);
        }
        answer
    }

    fn reads(&self, client: &mut Client, start: u64) -> bool {
        let answer = client.get(&self.bite(start), self.token()).unwrap();
        answer.status == 200 && Digest::of(&answer.body) == Digest::of(&body(start))
    }

    /// How many acknowledged bites cannot be read.
    fn unreadable(&self) -> u32 {
        let mut client = Client::connect(self.server.address).unwrap();
        self.acknowledged.iter().map(|n| u32::from(!self.reads(&mut client, *n))).sum()
    }
}

fn assert_full(answer: &Answer) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 507, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["code"], "storage_full", "{text}");
}

fn body(start: u64) -> Vec<u8> {
    wav(BITE, |samples| {
        for (n, sample) in samples.chunks_exact_mut(8).enumerate() {
            sample.copy_from_slice(&(start << 16 | n as u64).to_le_bytes());
        }
    })
}
