//! Keys of tokens are replaced while a server runs: no request fails for it, and tokens of a removed key are dead.

use crate::common::{Call, PATIENCE, Pool, eventually};
use beep_core::auth::jwt::JwtConfig;
use beep_core::clock::System;
use beep_server::assemble::{assemble, data_dir};
use beep_server::config::{Config, Secret};
use beep_server::{App, serve};
use beep_storage::DataDir;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const CLIENTS: usize = 6;

/// An installation with a server on it.
struct Installation {
    data: DataDir,
    app: App,
    address: SocketAddr,
    running: JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Installation {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: dir.path().display().to_string(), ..Config::default() };
        config.transcribe.enabled = false;
        // Each client signs in from an address of its own, as often as it can.
        config.auth.trusted_proxies = "127.0.0.1".into();
        let numbers: Vec<_> = (0..CLIENTS).map(|n| format!("{}=123456@2099-01-31", number(n))).collect();
        config.login.test_numbers = Secret(numbers.join(","));
        config.login.pause_s = 0;
        config.login.max_per_number_hour = 1_000_000;
        config.login.max_per_number_day = 1_000_000;
        config.login.max_per_network_hour = 1_000_000;
        let app = assemble(&config).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(serve(listener, app.clone(), std::future::pending()));
        Self { data: data_dir(&config), app, address, running, _dir: dir }
    }

    /// The names of the keys that others are shown, the signing one first.
    async fn shown(&self) -> Vec<String> {
        let pool = Pool::default();
        let jwks = Call::new(&pool, self.address, "GET", "/.well-known/jwks.json").send().await.expect(200);
        let keys = jwks.json()["keys"].as_array().unwrap().clone();
        assert!(keys.iter().all(|key| key["d"].is_null() && key["alg"] == "RS256"));
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    async fn eventually_shown(&self, kids: &[&str]) {
        eventually("the server has these keys", PATIENCE, async || self.shown().await == kids).await;
    }

    async fn status(&self, token: &str) -> u16 {
        let pool = Pool::default();
        Call::new(&pool, self.address, "GET", "/auth").bearer(token).send().await.status
    }

    async fn stop(self) {
        self.running.abort();
        self.app.beep().shutdown().await;
    }
}

/// What the clients did.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    requests: AtomicU64,
    failed: Mutex<Vec<String>>,
    /// A token of each key.
    tokens: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Done {
    fn judge(&self, what: &str, status: u16) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if status != 200 {
            self.failed.lock().unwrap().push(format!("{what}: {status}"));
        }
    }

    fn signed_by(&self, kid: &str) -> usize {
        self.tokens.lock().unwrap().get(kid).map_or(0, Vec::len)
    }

    /// Signs in, shows the new token and older ones, again and again.
    async fn hammer(self: Arc<Self>, address: SocketAddr, n: usize) {
        let pool = Pool::default();
        let mut own = Vec::new();
        for round in 0_u64.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let from = format!("10.{n}.{}.{}", round / 250 % 250, round % 250);
            let post = |path: &str, body: Value| {
                let call = Call::new(&pool, address, "POST", path).header("x-forwarded-for", &from);
                call.body(body.to_string()).send()
            };
            let init = post("/login/init", json!({"phone_number": number(n)})).await;
            self.judge("init", init.status);
            let body = json!({"code": "123456", "nonce": init.text(), "clientid": format!("d{}", round % 2)});
            let verify = post("/login/verify", body).await;
            self.judge("verify", verify.status);
            if verify.status != 200 {
                continue;
            }
            let token = verify.text();
            self.tokens.lock().unwrap().entry(kid(&token)).or_default().push(token.clone());
            own.push(token);
            // The session of the same device before it was ended by this sign-in.
            let good = &own[own.len().saturating_sub(2)..];
            for token in good.iter().cycle().take(10) {
                let asked = Call::new(&pool, address, "GET", "/auth").bearer(token).send().await;
                self.judge("auth", asked.status);
            }
        }
    }
}

fn number(n: usize) -> String {
    format!("+1555010000{n}")
}

/// The key that a token says it is signed by.
fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// A key is replaced twice under load: every request succeeds, the newest key signs, all of them verify.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_replaced_without_a_failed_request() {
    let here = Installation::start().await;
    let first = here.shown().await.remove(0);
    let done = Arc::new(Done::default());
    let clients: Vec<_> = (0..CLIENTS).map(|n| tokio::spawn(done.clone().hammer(here.address, n))).collect();
    eventually("clients are signed in", PATIENCE, async || done.signed_by(&first) >= 20).await;
    let mut kids = vec![first];
    for _ in 0..2 {
        let data = here.data.clone();
        let (_, key) = tokio::task::spawn_blocking(move || data.rotate_key()).await.unwrap().unwrap();
        kids.insert(0, key.kid().to_owned());
        here.eventually_shown(&kids.iter().map(String::as_str).collect::<Vec<_>>()).await;
        eventually("the new key signs", PATIENCE, async || done.signed_by(key.kid()) >= 20).await;
    }
    done.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(*done.failed.lock().unwrap(), [""; 0]);
    assert!(done.requests.load(Ordering::Relaxed) > 500, "{:?}", done.requests);
    here.stop().await;
}

/// What a removed key signed is worth nothing from then on, though the server has seen it a moment ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_removed_key_are_dead() {
    let here = Installation::start().await;
    let alice = crate::common::identity("u-alice");
    let issue = || here.app.issuer().issue(&alice, beep_core::auth::Scope::User).unwrap();
    let mut tokens = vec![issue()];
    for _ in 0..2 {
        let kid = here.data.rotate_key().unwrap().1.kid().to_owned();
        eventually("the new key signs", PATIENCE, async || here.shown().await[0] == kid).await;
        tokens.push(issue());
    }
    let statuses = async || {
        [here.status(&tokens[0]).await, here.status(&tokens[1]).await, here.status(&tokens[2]).await]
    };
    assert_eq!(statuses().await, [200, 200, 200]);
    let files: Vec<_> = here.data.stored_keys().unwrap().into_iter().map(|(file, _)| file).collect();
    let kids: Vec<_> = tokens.iter().map(|token| kid(token)).collect();

    // A stolen key: its file is removed.
    std::fs::remove_file(&files[2]).unwrap();
    here.eventually_shown(&[&kids[2], &kids[1]]).await;
    assert_eq!(statuses().await, [401, 200, 200]);

    // The last token of the second key might be good still; a year later it is not.
    let config = JwtConfig::default();
    assert!(here.data.prune_keys(&config, &System).unwrap().is_empty());
    let year = Duration::from_secs(365 * 24 * 3_600);
    let file = std::fs::File::options().write(true).open(&files[0]).unwrap();
    let written = file.metadata().unwrap().modified().unwrap_or(SystemTime::UNIX_EPOCH);
    file.set_modified(written - year).unwrap();
    assert_eq!(here.data.prune_keys(&config, &System).unwrap(), [files[1].clone()]);
    here.eventually_shown(&[&kids[2]]).await;
    assert_eq!(statuses().await, [401, 401, 200]);

    // Without any key left the server goes on with what it has.
    std::fs::rename(&files[0], files[0].with_extension("away")).unwrap();
    assert_eq!(here.status(&issue()).await, 200);
    here.stop().await;
}
