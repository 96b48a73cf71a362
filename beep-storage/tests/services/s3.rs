//! An S3 server for tests: `garage`, one node on this machine, with its own folder.
//!
//! Found in `BEEP_TEST_GARAGE`, else in `PATH`, else packed as `shared/bin/garage.xz` beside the repository.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BUCKET: &str = "beep";

/// A server of its own, killed with this value.
pub struct Garage {
    binary: PathBuf,
    dir: TempDir,
    port: u16,
    key_id: String,
    secret: String,
    server: Option<Child>,
}

impl Garage {
    /// A server that answers and has an empty bucket. None, said aloud, where there is no `garage`.
    pub fn start() -> Option<Self> {
        let Some(binary) = binary() else {
            super::skip(
                "s3",
                "no `garage`: install it (`cargo install garage --locked`) or set BEEP_TEST_GARAGE",
            );
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        // Both at once, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [port, rpc] = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(free);
        let at = dir.path().display();
        let config = format!(
            r#"metadata_dir = "{at}/meta"
data_dir = "{at}/data"
db_engine = "lmdb"
metadata_fsync = true
data_fsync = true
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{port}"
"#,
            secret = hex(64)
        );
        fs::write(dir.path().join("garage.toml"), config).unwrap();
        let key_id = format!("GK{}", hex(24));
        let mut garage = Self { binary, dir, port, key_id, secret: hex(64), server: None };
        garage.restart();
        Some(garage)
    }

    /// The bucket, without a prefix.
    pub fn url(&self) -> String {
        format!("s3://{BUCKET}?endpoint=http://127.0.0.1:{}&region=garage", self.port)
    }

    /// The name of the key that may use the bucket, and the key.
    pub fn key(&self) -> (String, String) {
        (self.key_id.clone(), self.secret.clone())
    }

    /// Ends it as a power cut would, without a word.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Starts it again on what it kept, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let log = File::create(self.dir.path().join("log")).unwrap();
        let server = self
            .command()
            // The layout of one node, the key and the bucket are made where they are missing.
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", &self.key_id)
            .env("GARAGE_DEFAULT_SECRET_KEY", &self.secret)
            .env("GARAGE_DEFAULT_BUCKET", BUCKET)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !(self.answers() && self.has_bucket()) {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap();
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "garage does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs its own command line, such as `bucket set-quotas`.
    pub fn tell(&self, args: &[&str]) -> String {
        let told = self.command().args(args).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(self.dir.path().join("garage.toml")).env("RUST_LOG", "garage=warn");
        command
    }

    /// Whether it speaks HTTP; without a key it refuses, which is an answer.
    fn answers(&self) -> bool {
        let asked = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 403"))
    }

    fn has_bucket(&self) -> bool {
        let listed = self.command().args(["bucket", "list"]).output().unwrap();
        String::from_utf8_lossy(&listed.stdout).contains(BUCKET)
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("BEEP_TEST_GARAGE") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut installed = std::env::split_paths(&path).map(|folder| folder.join("garage"));
    installed.find(|file| file.is_file()).or_else(|| {
        let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/bin/garage.xz");
        packed.is_file().then(|| unpacked(&packed))
    })
}

/// Once for all tests that run now or later.
fn unpacked(packed: &Path) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder).unwrap();
    let binary = folder.join(format!("garage-{}", fs::metadata(packed).unwrap().len()));
    let lock = File::create(folder.join("garage.lock")).unwrap();
    lock.lock().unwrap();
    if !binary.is_file() {
        let part = folder.join("garage.part");
        let file = File::create(&part).unwrap();
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let done = Command::new("xz").arg("-dc").arg(packed).stdout(file).status().unwrap();
        assert!(done.success(), "xz cannot unpack {}", packed.display());
        fs::rename(part, &binary).unwrap();
    }
    binary
}

/// Random hex digits; keys that live as long as a test.
fn hex(digits: usize) -> String {
    let mut text = String::new();
    while text.len() < digits {
        text.push_str(&format!("{:016x}", RandomState::new().hash_one(text.len())));
    }
    text.truncate(digits);
    text
}
