//! A Postgres for tests: a schema of its own on the server that `BEEP_TEST_POSTGRES` names, else on this machine's; or
//! a whole server of the test's own, which it may kill.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A schema that nobody else uses, and the URL that leads there. It is dropped with this value.
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// None, said aloud, where no Postgres answers.
    pub async fn fresh() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("BEEP_TEST_POSTGRES")
            .unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into());
        let mut connection = match PgConnection::connect(&server).await {
            Ok(connection) => connection,
            Err(e) => {
                super::skip("postgres", &format!("no server answers: {e}"));
                return None;
            }
        };
        let name = format!("beep_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).await.unwrap();
        Some(Self { server, name })
    }

    /// What it is called in the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL that a store is opened with.
    pub fn url(&self) -> String {
        format!("{}?options=-csearch_path%3D{}", self.server, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread of its own: this may be dropped inside a runtime, which must not be blocked on.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&server).await?;
                connection.execute(AssertSqlSafe(format!("DROP SCHEMA {name} CASCADE"))).await
            })
        });
        if let Ok(Err(e)) = dropped.join() {
            eprintln!("the schema {} stays behind: {e}", self.name);
        }
    }
}

/// How long a server may take to start or to die.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of the test's own with one empty database. It and its files go with this value, and with this process.
pub struct Server {
    programs: PathBuf,
    folder: TempDir,
    /// Whom it runs as: it refuses to be root.
    user: Option<(u32, u32)>,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// A new one, which answers. None, said aloud, where Postgres is not installed.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            super::skip("postgres", "neither PATH nor /usr/lib/postgresql has `initdb` and `postgres`");
            return None;
        };
        let user = (number("-u", None) == Some(0)).then(|| {
            let user = number("-u", Some("postgres")).zip(number("-g", Some("postgres")));
            user.expect("a user `postgres`, because the server refuses to run as root")
        });
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { programs, folder, user, port, running: None };
        let made = server
            .command(&server.programs.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "-D"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.restart();
        Some(server)
    }

    /// The URL that a store is opened with; the same after a restart.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it at once, as a crash would: nobody is waited for, no checkpoint. Returns when it is gone.
    pub fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    /// Starts it on the same files and port; ends it before if it runs. Returns when it answers.
    pub fn restart(&mut self) {
        self.stop();
        // One that was killed leaves it behind, and it would say that all is well.
        std::fs::remove_file(self.data().join("postmaster.pid")).ok();
        let begun = Instant::now();
        loop {
            // The shell ends the server when its standard input is closed: by `stop`, or by the end of this process.
            let watched = r#""$0" "$@" >>log 2>&1 & server=$!; read never; kill -QUIT $server; wait"#;
            let mut child = self
                .command(Path::new("sh"))
                .args(["-c", watched])
                .arg(self.programs.join("postgres"))
                .arg("-D")
                .arg(self.data())
                .args(["-p", &self.port.to_string(), "-k", "", "-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "shared_buffers=16MB"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // One that could not start has no `postmaster.pid`; then, once more: the port may be taken for a moment.
            while begun.elapsed() < PATIENCE {
                if self.is_ready() {
                    self.running = Some(child);
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
                if begun.elapsed() > PATIENCE / 3 && !self.data().join("postmaster.pid").exists() {
                    break;
                }
            }
            drop(child.stdin.take());
            child.wait().unwrap();
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "the server does not start: {log}");
        }
    }

    /// What the server itself says in its file of states.
    fn is_ready(&self) -> bool {
        let states = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        states.lines().nth(7).is_some_and(|state| state.trim() == "ready")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env_remove("PGDATA").env("LC_ALL", "C");
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of the newest installed server.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev().map(|(_, bin)| bin));
    folders.into_iter().find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

/// What `id` says of a user, or of this process.
fn number(option: &str, user: Option<&str>) -> Option<u32> {
    let said = Command::new("id").arg(option).args(user).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}
