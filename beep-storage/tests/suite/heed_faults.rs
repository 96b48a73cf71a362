//! R3: the disk fails at the Nth call. Nothing answered is lost, and after a failed sync nothing more is answered.
//!
//! A shim between LMDB and libc (`LD_PRELOAD`, built here with `cc`) fails one call in a child process: writes and
//! syncs, with EIO, with ENOSPC, or by writing half. The parent then reads what the child was told is stored.
#![cfg(all(feature = "store-heed", target_os = "linux"))]

use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::id::Identity;
use beep_core::store::{BiteStore, NewBite, Start};
use beep_storage::heed::{HeedBites, HeedEnv};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::process::Command;

const PUTS: u64 = 12;

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static long left = -2;

/* The fault of this call: 0 none, 1 EIO, 2 ENOSPC, 3 half a write. Only files of LMDB's size count. */
static int fault(int fd) {
    char link[64], path[512];
    if (left == -2) left = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    const char *name = strrchr(path, '/');
    if (!name || strcmp(name, "/data.mdb") || left < 0 || left-- > 0) return 0;
    const char *how = getenv("FAULT_HOW");
    return how[0] == 'i' ? 1 : how[0] == 's' ? 2 : 3;
}
#define REAL(name) (((typeof(&name))dlsym(RTLD_NEXT, #name)))
#define FAIL(f) if (f == 1) { errno = EIO; return -1; } if (f == 2) { errno = ENOSPC; return -1; }

ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { int f = fault(fd); FAIL(f) return REAL(pwrite)(fd, b, f == 3 ? n / 2 : n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { int f = fault(fd); FAIL(f) return REAL(pwrite64)(fd, b, f == 3 ? n / 2 : n, o); }
ssize_t writev(int fd, const struct iovec *v, int n) { int f = fault(fd); FAIL(f) return REAL(writev)(fd, v, f == 3 && n > 1 ? n / 2 : n); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { int f = fault(fd); FAIL(f) return REAL(pwritev)(fd, v, f == 3 && n > 1 ? n / 2 : n, o); }
int fdatasync(int fd) { int f = fault(fd); if (f) { errno = f == 2 ? ENOSPC : EIO; return -1; } return REAL(fdatasync)(fd); }
int fsync(int fd) { int f = fault(fd); if (f) { errno = f == 2 ? ENOSPC : EIO; return -1; } return REAL(fsync)(fd); }
"#;

fn said(start: u64) -> NewBite {
    let body = Bytes::from(vec![start as u8; 5_000]);
    NewBite {
        label: Label::Bite,
        conversation: "c-1".parse().unwrap(),
        start: Start::At(start),
        author: Identity { user: "u-1".parse().unwrap(), device: "phone".parse().unwrap() },
        media_type: "audio/ogg".into(),
        duration_ms: None,
        sha256: Digest::of(&body),
        body,
        received: 1,
        idempotency: None,
    }
}

/// Puts one bite after the other and says how each ended.
async fn write(dir: &Path) {
    let store = match HeedEnv::open(dir) {
        Ok(env) => HeedBites::new(&env),
        Err(error) => return println!("\nclosed {error}"),
    };
    for start in 0..PUTS {
        match store.put(said(start)).await {
            Ok(_) => println!("\nstored {start}"),
            Err(error) => {
                let ready = store.ready().await.map_err(|e| e.kind());
                println!("\nfailed {:?} {} {ready:?}", error.kind(), error.is_temporary());
            }
        }
    }
}

fn build_shim(dir: &Path) -> PathBuf {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    std::fs::write(&source, SHIM).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
    assert!(cc.status().expect("a C compiler, as LMDB needed one too").success());
    library
}

/// `BEEP_FAULTS` says up to which call (30).
#[tokio::test]
async fn a_failing_disk_loses_nothing_that_was_answered() {
    if let Ok(dir) = std::env::var("BEEP_CHILD") {
        return write(dir.as_ref()).await;
    }
    let calls: u64 = std::env::var("BEEP_FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let scratch = tempfile::tempdir().unwrap();
    let shim = build_shim(scratch.path());
    let (mut cases, mut hit, mut poisoned, mut full, mut resumes) = (0, 0, 0, 0, 0);
    for how in ["io", "space", "half"] {
        for at in 0..calls {
            let dir = tempfile::tempdir().unwrap();
            let child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "heed_faults::a_failing_disk_loses_nothing_that_was_answered",
                    "--nocapture",
                ])
                .env("BEEP_CHILD", dir.path())
                .env("LD_PRELOAD", &shim)
                .env("FAULT_AT", at.to_string())
                .env("FAULT_HOW", how)
                .output()
                .unwrap();
            let text = String::from_utf8(child.stdout).unwrap();
            let case = format!("{how} at call {at}:\n{text}");
            assert!(child.status.success(), "{case}");
            let lines: Vec<&str> =
                text.lines().filter(|l| l.starts_with("stored") || l.starts_with("failed")).collect();
            cases += 1;

            let first = lines.iter().position(|line| line.starts_with("failed"));
            if let Some(first) = first {
                hit += 1;
                if lines[first].starts_with("failed Full") {
                    full += 1;
                    assert_ne!(how, "io", "an I/O error is no full disk; {case}");
                    // Except where the last write of a commit failed: then LMDB itself asks to be reopened.
                    let after = &lines[first + 1..];
                    let resumed = after.iter().all(|line| line.starts_with("stored"));
                    let stopped = after.iter().all(|line| line.starts_with("failed Unavailable"));
                    assert!(resumed || stopped, "writes resume, or stop until reopened; {case}");
                    resumes += u32::from(resumed);
                } else {
                    poisoned += 1;
                    assert_eq!(lines[first], "failed Unavailable false Err(Unavailable)", "{case}");
                    assert!(
                        lines[first..].iter().all(|l| *l == lines[first]),
                        "nothing more is answered; {case}"
                    );
                }
            }
            let store = HeedBites::new(&HeedEnv::open(dir.path()).unwrap());
            for line in &lines {
                let Some(start) = line.strip_prefix("stored ") else { continue };
                let start: u64 = start.parse().unwrap();
                let key = BiteKey::new(Label::Bite, "c-1".parse().unwrap(), start);
                let bite =
                    store.get(&key).await.unwrap().unwrap_or_else(|| panic!("{start} is lost; {case}"));
                assert!(bite.body == said(start).body);
            }
            assert_eq!(store.verify(None, 1_000).await.unwrap().corrupt, [], "{case}");
            let log = store.log(0, 1_000).await.unwrap();
            assert!(log.iter().map(|e| e.seq).eq(1..=log.len() as u64), "{case}");
            store.put(said(PUTS)).await.expect("reopened, it takes writes again");
        }
    }
    println!(
        "goal=faults-heed pass={cases} fail=0 hit={hit} poisoned={poisoned} full={full} resumed={resumes}"
    );
    assert!(poisoned > 0 && resumes > 0, "the shim reached nothing");
}
