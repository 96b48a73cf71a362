//! A NATS server for tests: on a port and with a folder of its own, so that it may be killed, stopped and wiped.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running server with JetStream. It ends with this value.
pub struct NatsServer {
    running: Option<Child>,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// None, said aloud, where no `nats-server` is installed.
    pub fn start() -> Option<Self> {
        let mut server = Self::stopped()?;
        server.restart();
        Some(server)
    }

    /// One that does not run yet.
    pub fn stopped() -> Option<Self> {
        let version = Command::new("nats-server").arg("--version").stdout(Stdio::null()).status();
        if let Err(e) = version {
            super::skip("nats", &format!("nats-server cannot be started: {e}"));
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self { running: None, port, folder: tempfile::tempdir().unwrap() })
    }

    /// Its URL, with such a query.
    pub fn url(&self, query: &str) -> String {
        format!("nats://127.0.0.1:{}?{query}", self.port)
    }

    /// Where plain clients connect.
    pub fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it (again), on the same port with the same folder. Returns when it answers.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.answers() {
            assert!(Instant::now() < deadline, "nats-server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut hello = String::new();
        BufReader::new(stream).read_line(&mut hello).is_ok() && hello.starts_with("INFO")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        let mut child = self.running.take().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        child.wait().unwrap();
    }

    /// Everything that it stored is gone. It must not run.
    pub fn wipe(&self) {
        assert!(self.running.is_none(), "it runs");
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
