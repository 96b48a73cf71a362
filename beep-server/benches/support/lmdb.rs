//! The bare storage engine: LMDB through heed, and the disk itself.

use super::numbered_wav;
use super::process::thread_cpu;
use heed::types::Bytes;
use heed::{CommitOrAbort, EnvFlags, EnvOpenOptions};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// What bare LMDB does.
pub struct Puts {
    pub per_s: f64,
    pub cpu_us: f64,
}

/// Puts of `size` bytes, `batch` in each transaction, in a fresh store below `dir`, for so long.
#[allow(unsafe_code)]
pub fn puts(dir: &Path, size: usize, batch: u64, sync: bool, time: Duration) -> Puts {
    let folder = tempfile::tempdir_in(dir).unwrap();
    let mut options = EnvOpenOptions::new();
    options.map_size(32 << 30);
    if !sync {
        // SAFETY: the data is scratch; losing it in a crash is what is measured.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: the folder is private to this process.
    let env = unsafe { options.open(folder.path()).unwrap() };
    let made = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        opener.create_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
    });
    let db = made.unwrap().unwrap_commit();
    let body = numbered_wav(0, size);
    let (mut done, begun, cpu) = (0u64, Instant::now(), thread_cpu());
    while begun.elapsed() < time {
        let mut txn = env.write_txn().unwrap();
        for _ in 0..batch {
            let mut key = *b"bite+c-00000000@........";
            key[16..].copy_from_slice(&done.to_be_bytes());
            db.put(&mut txn, &key, &body).unwrap();
            done += 1;
        }
        txn.commit().unwrap();
    }
    let cpu = thread_cpu() - cpu;
    Puts { per_s: done as f64 / begun.elapsed().as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / done as f64 }
}

/// Appends of 4 KiB, each synced, per second: what this disk can do this minute.
pub fn fdatasyncs(dir: &Path, time: Duration) -> f64 {
    let mut file: File = tempfile::tempfile_in(dir).unwrap();
    let (mut done, begun) = (0, Instant::now());
    while begun.elapsed() < time {
        file.write_all(&[7u8; 4_096]).unwrap();
        file.sync_data().unwrap();
        done += 1;
    }
    f64::from(done) / begun.elapsed().as_secs_f64()
}
