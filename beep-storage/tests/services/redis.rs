//! A Redis for tests: a prefix of its own on the server that `BEEP_TEST_REDIS` names, else on this machine's; or a server
//! of its own that can be killed and halted.
#![allow(dead_code)] // each crate uses its part

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, RedisResult, Value};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key prefix that nobody else uses. What begins with it is deleted with this value.
pub struct Space {
    server: String,
    /// What all keys begin with.
    pub prefix: String,
}

impl Space {
    /// None, said aloud, where no Redis answers.
    pub async fn fresh() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("BEEP_TEST_REDIS").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
        if let Err(e) = ask(&server, &redis::cmd("PING")).await {
            super::skip("redis", &format!("no server answers: {e}"));
            return None;
        }
        let prefix = format!("beep-test-{}-{}:", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Some(Self { server, prefix })
    }

    /// The URL that a store is opened with.
    pub fn url(&self) -> String {
        format!("{}?prefix={}", self.server, self.prefix)
    }

    /// Makes every value of this space older by so much: time cannot be moved, their ends can.
    pub async fn pass(server: &str, prefix: &str, by: Duration) {
        each(
            server,
            prefix,
            "redis.call('PEXPIRE', key, string.format('%.0f', redis.call('PTTL', key) - ARGV[2]))",
            by,
        )
        .await
        .unwrap();
    }

    /// [`Space::pass`] for this one.
    pub fn passing(&self) -> impl Fn(Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
        let (server, prefix) = (self.server.clone(), self.prefix.clone());
        move |by| {
            let (server, prefix) = (server.clone(), prefix.clone());
            Box::pin(async move { Self::pass(&server, &prefix, by).await })
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let (server, prefix) = (self.server.clone(), self.prefix.clone());
        // A thread of its own: this may be dropped inside a runtime, which must not be blocked on.
        let deleted = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(each(&server, &prefix, "redis.call('DEL', key)", Duration::ZERO))
        });
        if let Ok(Err(e)) = deleted.join() {
            eprintln!("keys that begin with {} stay behind: {e}", self.prefix);
        }
    }
}

/// Does this to every key that begins so.
async fn each(server: &str, prefix: &str, what: &str, by: Duration) -> RedisResult<Value> {
    let script = format!(
        "local cursor = '0'
         repeat
             local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000)
             cursor = page[1]
             for _, key in ipairs(page[2]) do {what} end
         until cursor == '0'"
    );
    let by = u64::try_from(by.as_millis()).unwrap();
    ask(server, redis::cmd("EVAL").arg(script).arg(0).arg(prefix).arg(by)).await
}

/// What a server answers to one command.
pub async fn ask(server: &str, command: &Cmd) -> RedisResult<Value> {
    let mut connection: MultiplexedConnection =
        Client::open(server)?.get_multiplexed_async_connection().await?;
    command.query_async(&mut connection).await
}

/// A server of a test's own, gone with this value.
pub struct Server {
    port: u16,
    dir: TempDir,
    arguments: Vec<String>,
    process: Child,
}

impl Server {
    /// An empty server that saves nothing by itself. None, said aloud, where there is no `redis-server`.
    pub async fn start(arguments: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let process = match spawn(port, &dir, &arguments) {
            Ok(process) => process,
            Err(e) => {
                super::skip("redis", &format!("`redis-server` does not start: {e}"));
                return None;
            }
        };
        let server = Self { port, dir, arguments, process };
        server.ready().await;
        Some(server)
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL that a store is opened with.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address())
    }

    /// Its folder.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// What it answers to this line.
    pub async fn told(&self, line: &str) -> Value {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        ask(&self.url(), &command).await.unwrap()
    }

    /// `kill -9`, and it is gone when this returns.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after [`Server::kill`], on the same port and with what it saved.
    pub async fn restart(&mut self) {
        self.process = spawn(self.port, &self.dir, &self.arguments).unwrap();
        self.ready().await;
    }

    /// SIGSTOP: it takes connections and answers nobody.
    pub fn halt(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(done.unwrap().success());
    }

    /// Until it answers, be it that it wants a password.
    async fn ready(&self) {
        let began = Instant::now();
        while let Err(e) = ask(&self.url(), &redis::cmd("PING")).await {
            if e.code().is_some_and(|code| code == "NOAUTH") {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer on port {}: {e}", self.port);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either may have happened already.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(port: u16, dir: &TempDir, arguments: &[String]) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--appendonly", "no", "--save", ""])
        .args(["--enable-debug-command", "yes"])
        .arg("--dir")
        .arg(dir.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
