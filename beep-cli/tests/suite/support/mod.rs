//! What the tests share: the real binary on a data directory of its own, recordings, and a look into the stores.

use beep_core::clock::System;
use beep_core::store::Stores;
use beep_storage::DataDir;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A fresh installation, and a folder for files beside it.
pub struct Installation {
    dir: TempDir,
}

/// How a run ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// The one line that a command prints alone.
    pub fn alone(&self) -> String {
        let line = self.text().strip_suffix('\n').unwrap();
        assert!(!line.is_empty() && !line.contains(['\n', ' ']), "not alone: {line:?}");
        line.to_owned()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// Every line of stdout as JSON.
    pub fn json(&self) -> Vec<Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every line of stderr as JSON.
    pub fn json_err(&self) -> Vec<Value> {
        self.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// The binary without any settings of whoever runs the tests.
pub fn beep_cli() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beep-cli"));
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BEEP_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "XDG_DATA_HOME"] {
        command.env_remove(name);
    }
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

pub fn finish(mut command: Command) -> Ran {
    let done = command.output().unwrap();
    ended(done)
}

pub fn ended(done: std::process::Output) -> Ran {
    let err = String::from_utf8(done.stderr).unwrap();
    assert!(!err.contains("panicked"), "{err}");
    Ran { code: done.status.code().unwrap_or(-1), out: done.stdout, err }
}

/// Runs it with these arguments and no data directory.
pub fn bare<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = beep_cli();
    command.args(args);
    finish(command)
}

impl Installation {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A path beside the data directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of this content and time, in a folder that is made if need be.
    pub fn write(&self, name: &str, bytes: &[u8], mtime: u64) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        touch(&path, mtime);
        path
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = beep_cli();
        command.arg("--data-dir").arg(self.data()).args(args);
        command
    }

    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        finish(self.command(args))
    }

    /// As [`Installation::run`], with something on standard input.
    pub fn feed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ran {
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may end without reading all of it.
        child.stdin.take().unwrap().write_all(input).ok();
        ended(child.wait_with_output().unwrap())
    }

    pub fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn user(&self, phone: &str, first: &str) -> String {
        self.run(["user", "create", "--phone", phone, "--first", first]).ok().alone()
    }

    /// A conversation with an owner.
    pub fn conversation(&self) -> (String, String) {
        let owner = self.user("+65 9999 9999", "Alice");
        let crew = self.run(["conversation", "create", "--title", "Crew", "--member", &owner]).ok().alone();
        (crew, owner)
    }

    pub fn scan(&self, conversation: &str) -> Vec<u64> {
        let scanned = self.run(["scan", conversation]).ok();
        scanned.lines().iter().map(|line| line.parse().unwrap()).collect()
    }

    pub fn get(&self, conversation: &str, start: u64) -> Vec<u8> {
        self.run(["get", conversation, &start.to_string()]).ok().out
    }

    /// Opens the stores in this process and closes them again.
    pub fn inside<T>(&self, look: impl AsyncFnOnce(Stores) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let storage = DataDir::new(self.data()).storage();
            look(beep_storage::open(&storage, Arc::new(System)).await.unwrap()).await
        })
    }
}

pub fn touch(path: &Path, mtime: u64) {
    let time = UNIX_EPOCH + Duration::from_millis(mtime);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The time of a file, in milliseconds.
pub fn mtime(path: &Path) -> u64 {
    let modified: SystemTime = fs::metadata(path).unwrap().modified().unwrap();
    modified.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A tenth of a second of 16 kHz mono, different for every `n`.
pub fn wav(n: u32) -> Vec<u8> {
    let samples: Vec<u8> =
        (0..1_600_u32).flat_map(|i| ((i * (n + 3) % 9_973) as i16).to_le_bytes()).collect();
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + samples.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend([1, 0, 1, 0]);
    bytes.extend(16_000_u32.to_le_bytes());
    bytes.extend(32_000_u32.to_le_bytes());
    bytes.extend([2, 0, 16, 0]);
    bytes.extend(b"data");
    bytes.extend((samples.len() as u32).to_le_bytes());
    bytes.extend(samples);
    bytes
}

/// The committed spoken clips.
pub fn clips() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../beep-pipeline/speech/clips")
}

/// Strings from anything, for argument lists.
pub fn args<const N: usize>(parts: [&dyn AsRef<OsStr>; N]) -> Vec<std::ffi::OsString> {
    parts.iter().map(|part| part.as_ref().to_owned()).collect()
}
