//! R28: what is secret is in no line of the log, in no answer and in no `Debug`: a real server at `debug`, whose clients
//! do everything right and everything wrong, and whose providers take messages, refuse them and are away.

use crate::common::{Answer, Call, Pool, eventually, wav};
use crate::support::server::free_address;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::clock::System;
use beep_core::store::{NewUser, User};
use beep_pipeline::services::login::{Login as SignIn, LoginOptions, SignedIn, TestNumber};
use beep_pipeline::services::people::{Participant, Profile};
use beep_pipeline::services::sms_twilio::TwilioSms;
use beep_pipeline::services::sms_webhook::WebhookSms;
use beep_server::config::{Config, Login, Secret};
use beep_server::{App, Extras};
use beep_storage::{DataDir, StorageConfig};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Who signs in, as it is typed, and the digits that no spelling of it can do without.
const NUMBER: &str = "+6591827364";
const DIGITS: &str = "91827364";
/// Somebody added as a contact.
const FRIEND: &str = "+6593847562";
const REVIEWER: &str = "+6598765123=907856@2099-01-31";
const HOOK_SECRET: &str = "hook-secret-Wm7xq";
const HOOK_PASSWORD: &str = "hook-password-Kp3vd";
const HOOK_PATH: &str = "hook-path-Zr9tn";
const HOOK_QUERY: &str = "hook-query-Bd4sj";
const TWILIO_TOKEN: &str = "twilio-token-Jf8hc";
const DATABASE_PASSWORD: &str = "database-password-Lq2mw";

/// An SMS provider that answers as it is told and keeps what it is sent.
struct Provider {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    messages: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (status, messages) = (Arc::new(AtomicU16::new(201)), Arc::new(Mutex::new(Vec::new())));
        let (answers, kept) = (status.clone(), messages.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (mut request, mut bytes) = (Vec::new(), [0; 4_096]);
                // The whole request: its body ends with the object, or with the form.
                while !String::from_utf8_lossy(&request).contains("Tell it to nobody")
                    && !String::from_utf8_lossy(&request).contains("Tell+it+to+nobody")
                {
                    match stream.read(&mut bytes) {
                        Ok(n) if n > 0 => request.extend_from_slice(&bytes[..n]),
                        _ => break,
                    }
                }
                kept.lock().unwrap().push(String::from_utf8(request).unwrap());
                let status = answers.load(Ordering::SeqCst);
                // A refusal that repeats what it was sent, as some do.
                let body = match status {
                    201 => "{\"sid\":\"SM0123456789abcdef0123456789abcdef\"}".to_owned(),
                    // 21211 is what Twilio says of numbers that it cannot reach.
                    _ => {
                        let code = if status == 400 { 21211 } else { 30001 };
                        format!("{{\"code\":{code},\"message\":\"bad: {NUMBER} {HOOK_SECRET}\"}}")
                    }
                };
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        Self { address, status, messages }
    }

    /// The six digits in each message so far.
    fn codes(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        let bodies = messages.iter().filter_map(|request| request.split_once("\r\n\r\n"));
        bodies
            .filter_map(|(_, body)| {
                let runs = body.split(|c: char| !c.is_ascii_digit());
                runs.filter(|run| run.len() == 6).map(str::to_owned).next()
            })
            .collect()
    }
}

/// A server process, both of whose outputs are kept.
struct Process {
    child: Child,
    address: SocketAddr,
    out: tempfile::NamedTempFile,
}

impl Process {
    fn spawn(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let (address, out) = (free_address(), tempfile::NamedTempFile::new().unwrap());
        let child = Command::new(env!("CARGO_BIN_EXE_beep-server"))
            .arg("--data-dir")
            .arg(dir)
            .args(["--listen", &address.to_string()])
            .envs([("BEEP_TRANSCRIBE_ENABLED", "false"), ("BEEP_LOG_FILTER", "debug")])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.reopen().unwrap())
            .stderr(out.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, address, out }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.out.path()).unwrap()
    }

    /// Asks it to stop and answers everything it said.
    fn stop(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        // One that could not start has ended already.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        self.child.wait().unwrap();
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What must not be found, and what it is.
#[derive(Default)]
struct Planted(Vec<(&'static str, String)>);

impl Planted {
    fn new(dir: &Path) -> Self {
        let mut planted = Self::default();
        for (what, secret) in [
            ("the number", DIGITS),
            ("the number, spaced", "9182 7364"),
            ("a contact's number", &FRIEND[3..]),
            ("a contact's number, spaced", "9384 7562"),
            ("a test number's code", "907856"),
            ("the web hook's secret", HOOK_SECRET),
            ("the web hook's password", HOOK_PASSWORD),
            ("the web hook's path", HOOK_PATH),
            ("the web hook's query", HOOK_QUERY),
            ("Twilio's token", TWILIO_TOKEN),
            ("the database's password", DATABASE_PASSWORD),
        ] {
            planted.add(what, secret);
        }
        for (_, key) in DataDir::new(dir).stored_keys().unwrap_or_default() {
            planted.key(&key);
        }
        planted
    }

    fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 6, "{what}: {secret}");
        self.0.push((what, secret.to_owned()));
    }

    fn key(&mut self, key: &SigningKey) {
        for line in key.to_pem().lines().filter(|line| line.len() > 20 && !line.starts_with('-')) {
            self.add("a signing key", line);
        }
    }

    /// The claims and the signature: either is as good as the whole.
    fn token(&mut self, token: &str) {
        for part in token.split('.').skip(1) {
            self.add("a token", part);
        }
    }

    /// What is behind the session's own name.
    fn refresh(&mut self, token: &str) {
        self.add("a refresh token", token.split_once('.').unwrap().1);
    }

    fn hits(&self, place: &str, text: &str) -> Vec<String> {
        let found = |secret: &str| {
            text.match_indices(secret).any(|(at, _)| {
                // Six digits are a code by themselves only: any longer number has six digits in it.
                let digits = secret.bytes().all(|b| b.is_ascii_digit()) && secret.len() == 6;
                let (before, after) = (&text[..at], &text[at + secret.len()..]);
                !digits
                    || !(before.ends_with(|c: char| c.is_ascii_digit() || c == '.')
                        || after.starts_with(|c: char| c.is_ascii_digit()))
            })
        };
        self.0
            .iter()
            .filter(|(_, secret)| found(secret))
            .map(|(what, _)| format!("{what} in {place}"))
            .collect()
    }
}

/// A client that keeps every answer, and who it signed in as.
struct Client<'a> {
    pool: Pool,
    server: &'a Process,
    provider: &'a Provider,
    answers: Mutex<Vec<(String, Answer)>>,
}

impl Client<'_> {
    async fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Answer {
        let call = Call::new(&self.pool, self.server.address, method, path).body(body.to_owned());
        let call = call.header("accept", "application/json");
        self.keep(
            method,
            path,
            match token {
                Some(token) => call.bearer(token).send().await,
                None => call.send().await,
            },
        )
    }

    fn keep(&self, method: &str, path: &str, answer: Answer) -> Answer {
        self.answers.lock().unwrap().push((format!("{method} {path}"), answer.clone()));
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, None, &body.to_string()).await
    }

    /// Asks for a code; the attempt and the code.
    async fn code(&self) -> (String, String) {
        let nonce = self.post("/login/init", json!({"phone_number": NUMBER})).await.expect(200).text();
        (nonce, self.provider.codes().pop().unwrap())
    }

    async fn sign_in(&self, planted: &mut Planted) -> (String, String) {
        let (nonce, code) = self.code().await;
        planted.add("a code", &code);
        let wrong = json!({"code": code, "nonce": "0".repeat(32), "clientid": "phone"});
        self.post("/login/verify", wrong).await.expect(404);
        let right = json!({"code": code, "nonce": nonce, "clientid": "phone"});
        let pair = self.post("/login/verify", right.clone()).await.expect(200).json();
        self.post("/login/verify", right).await.expect(404);
        let text = |name: &str| pair[name].as_str().unwrap().to_owned();
        let (token, refresh) = (text("token"), text("refresh_token"));
        planted.token(&token);
        planted.refresh(&refresh);
        (token, refresh)
    }
}

/// Everything once, well and badly.
async fn everything(client: &Client<'_>, planted: &mut Planted) {
    let (token, refresh) = client.sign_in(planted).await;
    let token = &*token;
    // Registered by the code in the path, wrong and right.
    let (nonce, code) = client.code().await;
    planted.add("a code", &code);
    let names = json!({"first_name": "Ann", "last_name": "Lee"});
    client.post(&format!("/login/register/{code}/{}", "0".repeat(32)), names.clone()).await.expect(401);
    client.post(&format!("/login/register/{code}/{nonce}"), names).await.expect(200);
    client.post(&format!("/login/register/{code}/{nonce}/more"), json!({})).await.expect(404);
    client.send("GET", &format!("/login/register/{code}/{nonce}"), None, "").await.expect(405);

    // Renewed, and the old one again, which ends the session.
    let pair = client.post("/login/refresh", json!({"refresh_token": refresh})).await.expect(200).json();
    planted.token(pair["token"].as_str().unwrap());
    planted.refresh(pair["refresh_token"].as_str().unwrap());
    let renewed = pair["token"].as_str().unwrap().to_owned();
    client.post("/login/refresh", json!({"refresh_token": refresh})).await.expect(401);
    for dead in [token, &renewed] {
        client.send("GET", "/core/user/conversation", Some(dead), "").await.expect(401);
        client.send("GET", &format!("/core/user/conversation?token={dead}"), None, "").await.expect(401);
    }
    let (token, _) = client.sign_in(planted).await;
    let token = &*token;

    // Tokens wherever they may stand, and where they may not.
    client.send("GET", &format!("/login/sessions?token={token}"), None, "").await.expect(200);
    client.send("DELETE", &format!("/core/user?token={token}"), None, "").await.expect(401);
    client.send("GET", &format!("/nowhere?token={token}"), None, "").await.expect(404);
    for cut in [token.len() - 1, token.len() - 10] {
        client.send("GET", "/auth", Some(&token[..cut]), "").await.expect(401);
    }
    let uri = format!("/x?token={token}");
    let asked =
        Call::new(&client.pool, client.server.address, "GET", "/auth").header("x-forwarded-uri", &uri);
    let answer = asked.send().await.expect(200);
    client.keep("GET", "/auth by a gateway", answer);
    let cut = format!(
        "GET /auth?token={token} HTTP/1.1\r\nauthorization: Bearer {token}\r\nhost: x\r\nhost\r\n\r\n"
    );
    crate::common::raw::exchange(client.server.address, cut.as_bytes(), Duration::from_millis(50)).await;

    // Bodies that are no good.
    for body in [
        format!("{{\"phone_number\":\"{NUMBER}\""),
        format!("{{\"phone_number\":[\"{NUMBER}\"]}}"),
        format!("{{\"{NUMBER}\":1}}"),
        format!("{NUMBER} {token}"),
    ] {
        for path in ["/login/init", "/login/verify", "/login/refresh", "/login/register"] {
            let refused = client.send("POST", path, None, &body).await;
            assert!((400..500).contains(&refused.status), "{path}: {}", refused.status);
        }
        client.send("POST", "/core/user/contact", Some(token), &body).await.expect(400);
    }
    client.post("/login/init", json!({"phone_number": format!("{NUMBER}0000000")})).await.expect(400);

    // People, conversations, what is said there.
    let own = json!({"phone_number": NUMBER}).to_string();
    client.send("POST", "/core/user/contact", Some(token), &own).await.expect(422);
    let add = json!({"phone_number": FRIEND}).to_string();
    client.send("POST", "/core/user/contact", Some(token), &add).await.expect(200);
    let number = NUMBER.replace('+', "%2B");
    client.send("GET", &format!("/core/user?phone_number={number}"), Some(token), "").await.expect(200);
    client.send("GET", &format!("/core/user?phone_number={number}0"), Some(token), "").await.expect(400);
    client.send("GET", &format!("/core/user/username/{NUMBER}"), Some(token), "").await.expect(404);
    client.send("GET", &format!("/core/user/id/{NUMBER}"), Some(token), "").await.expect(400);
    client
        .send(
            "POST",
            "/core/user",
            Some(token),
            &json!({"phone_number": FRIEND, "first_name": "X", "last_name": "Y"}).to_string(),
        )
        .await
        .expect(403);
    let crew = client
        .send("POST", "/core/user/conversation", Some(token), r#"{"title":"t"}"#)
        .await
        .expect(200)
        .json();
    let crew = crew["id"].as_str().unwrap();
    let put = |start: u64, body: Vec<u8>| {
        let path = format!("/publish/conversation/{crew}/start/{start}");
        Call::new(&client.pool, client.server.address, "PUT", &path).bearer(token).body(body).send()
    };
    put(1, wav("hello")).await.expect(201);
    put(1, wav("other")).await.expect(409);
    put(2, NUMBER.repeat(40).into_bytes()).await.expect(415);
    client.send("GET", &format!("/bite/conversation/{crew}?token={token}"), None, "").await.expect(200);
    client
        .send("GET", &format!("/transcription/search?q={DIGITS}&token={token}"), None, "")
        .await
        .expect(200);
    for path in ["/subscribe", "/core/user/subscribe"] {
        let path = format!("{path}?token={token}");
        let head = Call::new(&client.pool, client.server.address, "GET", &path).head().await.expect(200);
        client.keep("GET", &path, head);
    }

    // The provider refuses, is out of order, and is believed in none of what it says.
    for (status, answered) in [(400, 422), (403, 503), (500, 503), (302, 503)] {
        client.provider.status.store(status, Ordering::SeqCst);
        let refused = client.post("/login/init", json!({"phone_number": NUMBER})).await;
        assert_eq!(refused.status, answered, "{status}: {}", refused.text());
    }
    client.provider.status.store(201, Ordering::SeqCst);
    for code in client.provider.codes() {
        planted.add("a code", &code);
    }
    client.send("POST", "/login/logout", Some(token), "").await.expect(204);
    client.send("GET", "/login/sessions", Some(token), "").await.expect(401);
}

/// Whether an answer is one in which the caller is handed their own secret, as they must be.
fn hands_out(request: &str, answer: &Answer) -> bool {
    let own = [
        "POST /login/verify",
        "POST /login/refresh",
        "POST /login/register",
        "GET /core/user",
        "POST /core/user",
    ];
    answer.status == 200 && own.iter().any(|place| request.starts_with(place))
}

async fn a_run(sms: &str, format: &str) {
    let dir = tempfile::tempdir().unwrap();
    let provider = Provider::start();
    let address = provider.address;
    let hook = format!("http://hook:{HOOK_PASSWORD}@{address}/{HOOK_PATH}?key={HOOK_QUERY}");
    let base = format!("http://{address}");
    let server = Process::spawn(
        dir.path(),
        &[
            ("BEEP_LOG_FORMAT", format),
            ("BEEP_LOGIN_SMS", sms),
            ("BEEP_LOGIN_WEBHOOK_URL", &hook),
            ("BEEP_LOGIN_WEBHOOK_SECRET", HOOK_SECRET),
            ("BEEP_LOGIN_TWILIO_SID", "AC0123456789abcdef0123456789abcdef"),
            ("BEEP_LOGIN_TWILIO_TOKEN", TWILIO_TOKEN),
            ("BEEP_LOGIN_TWILIO_FROM", "+15005550006"),
            ("BEEP_LOGIN_TWILIO_URL", &base),
            ("BEEP_LOGIN_TEST_NUMBERS", REVIEWER),
            ("BEEP_LOGIN_PAUSE_S", "0"),
            ("BEEP_LOGIN_MAX_PER_NUMBER_HOUR", "1000"),
            ("BEEP_LOGIN_MAX_PER_NUMBER_DAY", "1000"),
            ("BEEP_LOGIN_MAX_PER_ADDRESS_HOUR", "1000"),
            ("BEEP_LOGIN_MAX_PER_NETWORK_HOUR", "1000"),
        ],
    );
    eventually("the server is ready", PATIENCE, async || {
        tokio::net::TcpStream::connect(server.address).await.is_ok()
    })
    .await;
    let client =
        Client { pool: Pool::default(), server: &server, provider: &provider, answers: Mutex::default() };
    let mut planted = Planted::new(dir.path());
    everything(&client, &mut planted).await;
    // A key that cannot be read, and one that is replaced.
    let data = DataDir::new(dir.path());
    let (_, key) = data.rotate_key().unwrap();
    planted.key(&key);
    let broken = dir.path().join("keys/0003.pem");
    fs::write(&broken, key.to_pem().replacen("PRIVATE KEY", "PRIVATE KEX", 1)).unwrap();
    eventually("the broken key is told", PATIENCE, async || server.said().contains("cannot be read")).await;

    let mut hits = Vec::new();
    for (request, answer) in client.answers.lock().unwrap().iter() {
        let head = format!("{:?}", answer.headers);
        hits.extend(planted.hits(&format!("the head of {request}"), &head));
        if !hands_out(request, answer) {
            hits.extend(planted.hits(request, &String::from_utf8_lossy(&answer.body)));
        }
    }
    let answers = client.answers.lock().unwrap().len();
    drop(client);
    let said = server.stop();
    // It does say something at this level: what it was asked, what failed, that it stopped.
    for line in ["listening on http", "stopping", "came a second time"] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    for (n, line) in said.lines().enumerate() {
        hits.extend(planted.hits(&format!("line {} of the log: {line}", n + 1), line));
    }
    println!(
        "goal=R28 value={} limit=0 markers={} lines={} answers={answers} sms={sms} format={format}",
        hits.len(),
        planted.0.len(),
        said.lines().count()
    );
    assert!(hits.is_empty(), "{hits:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r28_nothing_secret_is_logged_or_answered() {
    for (sms, format) in [("webhook", "json"), ("webhook", "text"), ("twilio", "text")] {
        a_run(sms, format).await;
    }
}

/// A store that cannot be reached or is none is named without what is secret in its address.
#[tokio::test(flavor = "multi_thread")]
async fn r28_addresses_of_stores_are_told_without_their_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let planted = Planted::new(dir.path());
    let closed = free_address();
    for (setting, url) in [
        ("BEEP_STORE_DIRECTORY", format!("postgres://beep:{DATABASE_PASSWORD}@{closed}/beep")),
        ("BEEP_STORE_DIRECTORY", format!("postgres://beep@{closed}/beep?password={DATABASE_PASSWORD}")),
        ("BEEP_STORE_SEARCH", format!("mysql://beep:{DATABASE_PASSWORD}@{closed}/beep")),
        ("BEEP_STORE_SEARCH", format!("mysql://{closed}/beep?password={DATABASE_PASSWORD}")),
        ("BEEP_STORE_DIRECTORY", format!("mysql:beep:{DATABASE_PASSWORD}@{closed}")),
        ("BEEP_STORE_EPHEMERAL", format!("redis://:{DATABASE_PASSWORD}@{closed}/first")),
        ("BEEP_STORE_BITES", format!("https://key:{DATABASE_PASSWORD}@{closed}/bucket")),
    ] {
        let mut server = Process::spawn(dir.path(), &[(setting, &url)]);
        let deadline = Instant::now() + PATIENCE;
        let ended = loop {
            if let Some(ended) = server.child.try_wait().unwrap() {
                break ended;
            }
            assert!(Instant::now() < deadline, "it does not give up: {url}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(ended.code(), Some(1), "{url}");
        let said = server.said();
        assert!(said.contains("error: "), "{said}");
        let hits = planted.hits(&said, &said);
        assert!(hits.is_empty(), "{url}: {hits:#?}");
    }
    // A Redis that is away is waited for, which is said.
    let url = format!("redis://:{DATABASE_PASSWORD}@{closed}/1");
    let server = Process::spawn(dir.path(), &[("BEEP_STORE_EPHEMERAL", &url)]);
    let warned = || async { server.said().contains("Redis") };
    eventually("the server says that Redis is away", PATIENCE, warned).await;
    let hits = planted.hits(&server.said(), &server.said());
    assert!(hits.is_empty(), "{url}: {hits:#?}");
}

/// What may be written with `{:?}` by whoever embeds Beep.
#[tokio::test]
async fn r28_debug_of_public_types_shows_nothing_secret() {
    let mut planted = Planted::new(Path::new("/nonexistent"));
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    planted.key(&key);
    let config = Config {
        login: Login {
            test_numbers: Secret(REVIEWER.into()),
            webhook_url: Secret(format!(
                "https://hook:{HOOK_PASSWORD}@example.com/{HOOK_PATH}?k={HOOK_QUERY}"
            )),
            webhook_secret: Secret(HOOK_SECRET.into()),
            twilio_token: Secret(TWILIO_TOKEN.into()),
            ..Login::default()
        },
        ..Config::default()
    };
    let database = format!("postgres://beep:{DATABASE_PASSWORD}@db/beep");
    let by_query = format!("postgres://db/beep?password={DATABASE_PASSWORD}");
    let storage = StorageConfig { directory: database, search: by_query, ..StorageConfig::memory() };
    let stores = beep_storage::open(&StorageConfig::memory(), Arc::new(System)).await.unwrap();
    let new = NewUser {
        id: "u-1".parse().unwrap(),
        username: None,
        first_name: "Ann".into(),
        last_name: "Lee".into(),
        phone_number: NUMBER.into(),
    };
    let user: User = stores.directory.create_user(new.clone()).await.unwrap();
    let jwt = Jwt::new(vec![key.clone()], JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap();
    let jwt = Arc::new(jwt);
    let hook = WebhookSms::new(&config.login.webhook_url.0, HOOK_SECRET, Arc::new(System)).unwrap();
    let twilio = TwilioSms::new("AC0123456789abcdef0123456789abcdef", TWILIO_TOKEN, "+15005550006").unwrap();
    let test = TestNumber { number: NUMBER.into(), code: "907856".into(), until: u64::MAX };
    let options = LoginOptions { test_numbers: vec![test.clone()], ..LoginOptions::default() };
    let beep = beep_pipeline::Beep::builder(stores).start().await.unwrap();
    let sign_in = SignIn::new(beep.clone(), jwt.clone(), None, Arc::new(System), options.clone());
    let here = "127.0.0.1".parse().unwrap();
    let nonce = sign_in.init(NUMBER, here).await.unwrap();
    let signed_in: SignedIn = sign_in.verify("907856", &nonce, "phone".parse().unwrap(), here).await.unwrap();
    planted.token(&signed_in.token);
    planted.refresh(&signed_in.refresh_token);
    let session = beep.stores().directory.sessions(&user.id).await.unwrap().remove(0);
    let profile = Profile::with_number(user.clone());
    let participant = Participant { profile: profile.clone(), role: beep_core::store::Role::Owner };
    let extras = Extras { login: options.clone(), sms: Some(Arc::new(hook)), ..Extras::default() };
    let shown_extras = format!("{extras:?} {extras:#?}");
    let app = App::new(beep.clone(), jwt.clone(), config.http.clone(), extras);
    let error = beep_core::Error::new(beep_core::ErrorKind::Internal, "why");
    let all: [(&str, &dyn std::fmt::Debug); 17] = [
        ("Config", &config),
        ("StorageConfig", &storage),
        ("NewUser", &new),
        ("User", &user),
        ("Profile", &profile),
        ("Participant", &participant),
        ("SigningKey", &key),
        ("Jwt", &jwt),
        ("TwilioSms", &twilio),
        ("TestNumber", &test),
        ("LoginOptions", &options),
        ("Login", &sign_in),
        ("SignedIn", &signed_in),
        ("Session", &session),
        ("App", &app),
        ("Beep", &beep),
        ("Error", &error),
    ];
    let mut hits = planted.hits("Extras", &shown_extras);
    for (what, value) in all {
        hits.extend(planted.hits(what, &format!("{value:?} {value:#?}")));
    }
    beep.shutdown().await;
    assert!(hits.is_empty(), "{hits:#?}");
}
