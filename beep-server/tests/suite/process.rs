//! The server as a process: what it logs, what it makes of its environment, and that a demo leaves stores alone.

use crate::common::{Answer, Call, Pool, wav};
use crate::support::installation::Installation;
use crate::support::server::Server;
use beep_core::bite::{BiteKey, Label};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::block_in_place;

/// The lines of a log in JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn said<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line["fields"]).filter(|fields| fields["message"] == message).collect()
}

/// A server on a folder with one bite in it, whose first samples are these.
fn installation(dir: &Path, marks: &str) -> Installation {
    let made = Installation::create(dir, 1);
    let body: bytes::Bytes = wav(marks).into();
    made.fill(&made.conversation, 1_000, 1, 1, |_| body.clone());
    made
}

/// A failure of the server's own is one line, with the id that the client sent or got; a client's mistake is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_logged_under_the_id_of_its_request() {
    let dir = tempfile::tempdir().unwrap();
    let marks = "these samples are going to be damaged on the disk";
    let made = block_in_place(|| installation(dir.path(), marks));
    // One bit of what was said, wherever it lies.
    let file = dir.path().join("bites/data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let samples: Vec<u8> = marks.bytes().flat_map(|b| [b, 0]).collect();
    let at = bytes.windows(samples.len()).position(|w| w == samples).unwrap();
    bytes[at + 10] ^= 1;
    fs::write(&file, bytes).unwrap();

    let server = Server::start(dir.path(), &[("BEEP_LOG_FORMAT", "json")]);
    let (pool, token) = (Pool::default(), &made.people[0].token);
    let path = format!("/bite/conversation/{}/start/1000", made.conversation);
    let get = async |path: &str, id: Option<&str>| -> Answer {
        let call = Call::new(&pool, server.address, "GET", path).bearer(token);
        match id {
            Some(id) => call.header("x-request-id", id).send().await,
            None => call.send().await,
        }
    };
    let given = get(&path, Some("trace me 17")).await;
    assert_eq!((given.problem(500).as_str(), given.header("x-request-id")), ("corrupt", "trace me 17"));
    let made_up = get(&path, None).await;
    let id = made_up.header("x-request-id").to_owned();
    assert_eq!((made_up.status, id.len()), (500, 16), "{id}");
    // Too long or not printable: an id of our own.
    let long = "x".repeat(129);
    let replaced = get(&path, Some(&long)).await;
    assert_eq!(replaced.header("x-request-id").len(), 16);
    for (path, status) in [("/nowhere", 404), ("/store/bite/c-room/start/x", 400), ("/core/user/id/u-0", 404)]
    {
        let answer = get(path, Some("a client's mistake")).await;
        assert_eq!((answer.status, answer.header("x-request-id")), (status, "a client's mistake"));
    }
    let all = lines(&server.log());
    let failed = said(&all, "a request failed");
    let ids: Vec<_> = failed.iter().map(|fields| fields["request"].as_str().unwrap()).collect();
    assert_eq!(ids, ["trace me 17", &id, replaced.header("x-request-id")]);
    let key = BiteKey::new(Label::Bite, made.conversation.clone(), 1_000).to_string();
    for fields in failed {
        assert_eq!(fields["code"], "corrupt");
        assert!(fields["error"].as_str().unwrap().contains(&key), "which bite it was: {fields}");
    }
    assert!(!server.log().contains("a client's mistake"), "{}", server.log());
}

/// Hundreds of refusals are one line with the id of the first; the next one, ten seconds later, says how many there were.
#[tokio::test(flavor = "multi_thread")]
async fn repeated_trouble_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let made = block_in_place(|| installation(dir.path(), "x"));
    let settings =
        [("BEEP_LOG_FORMAT", "json"), ("BEEP_HTTP_MAX_BODY", "5000"), ("BEEP_HTTP_MAX_BODIES", "5000")];
    let server = Server::start(dir.path(), &settings);
    let (pool, token, room) = (Pool::default(), &made.people[0].token, &made.conversation);
    // One that takes all the room there is for bodies, and does not go on.
    let mut holder = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PUT /publish/conversation/{room}/start/9 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 5000\r\nexpect: 100-continue\r\n\r\n"
    );
    holder.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    holder.read_exact(&mut go_on).await.unwrap();

    let refused = async |n: u64| {
        let path = format!("/publish/conversation/{room}/start/{n}");
        let call = Call::new(&pool, server.address, "PUT", &path).bearer(token).body(wav("no room"));
        assert_eq!(call.header("x-request-id", &format!("r-{n}")).send().await.problem(503), "unavailable");
    };
    let begun = Instant::now();
    for n in 0..500 {
        refused(n).await;
    }
    let all = lines(&server.log());
    let told = said(&all, "requests are refused");
    // One, and one more for each ten seconds that this took.
    let most = 1 + begun.elapsed().as_secs() as usize / 10;
    assert!((1..=most).contains(&told.len()), "{told:#?}");
    assert_eq!((&told[0]["request"], &told[0]["requests"]), (&"r-0".into(), &1.into()));
    assert_eq!(told[0]["code"], "unavailable");

    let mut n = 500;
    let told = loop {
        refused(n).await;
        n += 1;
        let told: Vec<Value> =
            said(&lines(&server.log()), "requests are refused").into_iter().cloned().collect();
        if told.len() > most {
            break told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the rest is never told");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let sum: u64 = told.iter().map(|fields| fields["requests"].as_u64().unwrap()).sum();
    assert_eq!(sum, n, "all are counted, none twice");
    let all = lines(&server.log());
    // Without these, and without transcription, which it is told to do without.
    let others = all.iter().filter(|line| line["target"] != "beep_server::assemble").count() - told.len();
    assert_eq!(others, 0, "nothing else was wrong:\n{}", server.log());
}

/// The server's command line, with nothing of whoever runs the tests, in a home of its own.
fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beep-server"));
    // No pip to fetch speech with: nothing here is to download anything.
    command.env_clear().env("HOME", home).env("PATH", home).env("TMPDIR", home).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// Every file below, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// The demo runs on a folder of its own, which is gone afterwards, whatever installation the configuration names.
#[test]
fn a_demo_touches_no_installation() {
    let home = tempfile::tempdir().unwrap();
    let (data, other) = (home.path().join("data"), home.path().join("other"));
    for dir in [&data, &other] {
        drop(installation(dir, "mine"));
    }
    let before = (contents(&data), contents(&other));
    assert!(before.0.len() >= 4, "{:?}", before.0.keys());
    let configuration = home.path().join("beep.toml");
    fs::write(&configuration, format!("[store]\nbites = 'heed:{}'\n", other.join("bites").display()))
        .unwrap();
    let done: Output = command(home.path())
        .args(["demo", "--exit", "--config"])
        .arg(&configuration)
        .arg("--data-dir")
        .arg(&data)
        .env("BEEP_STORE_DIRECTORY", format!("sqlite:{}", other.join("beep.db").display()))
        .env("BEEP_STORE_BLOBS", format!("heed:{}", data.join("bites").display()))
        .output()
        .unwrap();
    let (out, err) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{out}\n{err}");
    assert!(out.contains("ada and ben in c-") && out.contains("durable"), "{out}");
    let after = (contents(&data), contents(&other));
    assert!(before == after, "changed: {:?}", after.0.keys().chain(after.1.keys()).collect::<Vec<_>>());
    let left = fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.starts_with("beep-demo-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What is no text is named in a sentence where it is ours, and is nobody's business where it is not.
#[test]
fn an_environment_that_is_no_text_is_no_panic() {
    let home = tempfile::tempdir().unwrap();
    let bytes = OsStr::from_bytes(b"\xff\xfe");
    for name in ["BEEP_LISTEN", "BEEP_LOGIN_TWILIO_TOKEN", "BEEP_DATA_DIR", "BEEP_NO_SUCH_SETTING"] {
        let done = command(home.path()).env(name, bytes).output().unwrap();
        assert_eq!(done.status.code(), Some(1), "{name}");
        let err = text(&done.stderr);
        assert!(err.starts_with("error: ") && err.contains(name) && err.contains("UTF-8"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    let done = command(home.path()).arg("--data-dir").arg(bytes).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--data-dir"));

    // Somebody else's variables, in name and in value: the next thing that is wrong is what is said.
    let done = command(home.path())
        .env("LESSOPEN", bytes)
        .env(OsStr::from_bytes(b"OTHER_\xff"), "x")
        .env(OsStr::from_bytes(b"BEEP_\xff"), "x")
        .env("BEEP_LOG_FORMAT", "loud")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("log.format"), "{}", text(&done.stderr));
}
