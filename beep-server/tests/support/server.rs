//! The real server binary as a child process that can be killed at any moment.

use super::http::Client;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// A start that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Killed when dropped.
pub struct Server {
    child: Child,
    log: NamedTempFile,
    pub address: SocketAddr,
    /// From the spawn to the first 200 of `/readyz`.
    pub ready_after: Duration,
}

impl Server {
    /// Starts the server on this folder and waits until it is ready. Nothing is transcribed unless `settings`
    /// (variables) say so.
    pub fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        // Between finding a free port and listening on it somebody else may take it.
        for attempt in 1.. {
            match Self::try_start(dir, settings) {
                Ok(server) => return server,
                Err(log) if attempt < 5 && log.contains("cannot listen") => {}
                Err(log) => panic!("the server did not start:\n{log}"),
            }
        }
        unreachable!("the loop ends by returning or panicking")
    }

    fn try_start(dir: &Path, settings: &[(&str, &str)]) -> Result<Self, String> {
        let address = free_address();
        let log = NamedTempFile::new().unwrap();
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_beep-server"))
            .arg("--data-dir")
            .arg(dir)
            .args(["--listen", &address.to_string()])
            .envs([("BEEP_TRANSCRIBE_ENABLED", "false"), ("BEEP_LOG_FILTER", "warn")])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut server = Self { child, log, address, ready_after: Duration::ZERO };
        while !server.is_ready() {
            if !server.is_running() || begun.elapsed() > PATIENCE {
                return Err(server.log());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.ready_after = begun.elapsed();
        Ok(server)
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        let answer = Client::connect(self.address).and_then(|mut client| client.get("/readyz", "none"));
        answer.is_ok_and(|a| a.status == 200)
    }

    /// Whether the process lives.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far: warnings and errors.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// `kill -9`, and waits until the process is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
