//! Which Redis is trusted with codes, and who learns its password: nobody.
#![cfg(feature = "store-redis")]

use crate::services::redis::Server;
use crate::services::skip;
use beep_core::store::Ephemeral;
use beep_core::{Error, ErrorKind};
use beep_storage::redis::RedisEphemeral;
use bytes::Bytes;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// A password that must show nowhere.
const SECRET: &str = "hunter2-marker";

async fn refused(url: &str) -> Error {
    let error = RedisEphemeral::open(url).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    error
}

#[tokio::test]
async fn what_is_no_redis_url_is_refused_without_repeating_it() {
    for url in [
        "",
        "redis:",
        "redis://",
        "heed:/tmp",
        "unix:///tmp/hunter2-marker",
        "redis://:hunter2-marker@:1:2/0",
        "redis://host/hunter2-marker",
        "redis://host?hunter2-marker@other",
        "redis://host?prefix=a&hunter2-marker=1",
        "redis://:x@host/0#hunter2-marker",
        "redis://:hunter2-marker#x@host/0",
        "rediss://:hunter2-marker@host/0#insecure",
    ] {
        let error = refused(url).await;
        assert_eq!(error.kind(), ErrorKind::Malformed, "{url}: {error}");
        assert!(error.message().contains("redis://[user:password@]"), "{error}");
    }
}

#[tokio::test]
async fn the_password_shows_nowhere() {
    let Some(mut server) = Server::start(&["--requirepass", SECRET]).await else { return };
    let url = |password: &str| format!("redis://:{password}@{}/0", server.address());
    let refusing = [
        refused(&server.url()).await,
        refused(&url("hunter2-marker-wrong")).await,
        refused(&format!("redis://nobody:{SECRET}@{}/0", server.address())).await,
        refused(&format!("redis://:{SECRET}@{}/999", server.address())).await,
    ];
    for error in &refusing {
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false), "{error}");
    }
    assert!(refusing[1].message().contains("check name and password"), "{}", refusing[1]);
    assert!(refusing[3].message().contains("database number"), "{}", refusing[3]);

    let store = RedisEphemeral::open(&url(SECRET)).await.unwrap();
    store.put("k", Bytes::from("a value"), MINUTE).await.unwrap();
    server.kill();
    let error = store.get("k").await.unwrap_err();
    let away = RedisEphemeral::open(&format!("redis://:{SECRET}@{}/0", server.address())).await.unwrap();
    let shown = format!("{store:?} {store:#?} {away:?} {error} {error:?} {:?}", error.message());
    assert!(!shown.contains(SECRET) && !shown.contains("a value"), "{shown}");
    assert!(shown.contains(&server.address()), "and where it is does: {shown}");
}

/// A Redis that knows no such command repeats it, with keys that hold people's numbers.
#[tokio::test]
async fn commands_are_not_repeated() {
    let renamed =
        ["--rename-command", "GETDEL", "", "--rename-command", "AUTH", "", "--rename-command", "HELLO", ""];
    let Some(server) = Server::start(&renamed[..3]).await else { return };
    let store = RedisEphemeral::open(&server.url()).await.unwrap();
    let error = store.take("sms/pause/+6591111111").await.unwrap_err();
    let shown = format!("{error:?}");
    assert!(shown.contains("GETDEL") && !shown.contains("+65"), "{shown}");

    let Some(server) = Server::start(&renamed[3..]).await else { return };
    let error = refused(&format!("redis://:{SECRET}@{}/0", server.address())).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Where Redis makes room by itself, a count of tries may go before its code.
#[tokio::test]
async fn a_redis_that_evicts_is_refused() {
    let limited = ["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"];
    let Some(server) = Server::start(&limited).await else { return };
    let error = refused(&server.url()).await;
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false));
    assert!(error.message().contains("maxmemory-policy noeviction"), "{error}");

    server.told("CONFIG SET maxmemory-policy noeviction").await;
    let store = RedisEphemeral::open(&server.url()).await.unwrap();
    let mut kinds = Vec::new();
    for n in 0..40 {
        let put = store.put(&format!("k{n}"), Bytes::from(vec![0; 100_000]), MINUTE).await;
        kinds.extend(put.err().map(|e| e.kind()));
    }
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == ErrorKind::Full), "{kinds:?}");
    server.told("CONFIG SET maxmemory 1mb").await;
    assert_eq!(store.count("n", MINUTE).await.unwrap_err().kind(), ErrorKind::Full);
    assert!(store.get("k0").await.unwrap().is_some());
}

/// A user who may not ask for what is needed is told what to look at.
#[tokio::test]
async fn a_user_without_permission_is_refused() {
    let Some(server) = Server::start(&[]).await else { return };
    server.told(&format!("ACL SETUSER beep on >{SECRET} ~* +@connection +info +get")).await;
    let store = RedisEphemeral::open(&format!("redis://beep:{SECRET}@{}/0", server.address())).await.unwrap();
    assert_eq!(store.get("k").await.unwrap(), None);
    let error = store.put("k", Bytes::new(), MINUTE).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unavailable, false));
    assert!(error.message().contains("permissions"), "{error}");
}

const URL: &str = "BEEP_TEST_TLS_URL";

/// Not a test of its own: the process below, which trusts another authority.
#[tokio::test]
async fn tls_child() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = RedisEphemeral::open(&url).await.unwrap();
    store.put("k", Bytes::from("sealed"), MINUTE).await.unwrap();
    assert_eq!(store.take("k").await.unwrap().unwrap(), "sealed");
    println!("\nserved over TLS");
}

/// `openssl` with these words, in this folder.
fn openssl(dir: &Path, words: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(words.split(' ')).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[tokio::test]
async fn rediss_is_encrypted_and_knows_whom_it_trusts() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("names"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE")
        .unwrap();
    let made = openssl(
        dir.path(),
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca",
    ) && openssl(
        dir.path(),
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout redis.key -out redis.csr -subj /CN=redis",
    ) && openssl(
        dir.path(),
        "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out redis.crt",
    );
    if !made {
        return skip("openssl", "no certificates for a Redis with TLS");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let tls = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", file("redis.crt")),
        ("--tls-key-file", file("redis.key")),
        ("--tls-ca-cert-file", file("ca.crt")),
        ("--tls-auth-clients", "no".to_owned()),
    ];
    let words: Vec<&str> = tls.iter().flat_map(|(name, value)| [*name, value.as_str()]).collect();
    let Some(_server) = Server::start(&words).await else { return };
    let url = format!("rediss://127.0.0.1:{port}/0");
    // Nobody trusts this authority here.
    let store = RedisEphemeral::open(&url).await.unwrap();
    let error = store.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("certificate"), "{error:?}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redis_trust::tls_child", "--nocapture"])
        .env(URL, &url)
        .env("SSL_CERT_FILE", file("ca.crt"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("served over TLS"), "{said}");
}
