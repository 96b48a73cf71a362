//! A gateway in front of a service, with Beep for its questions: what the tests of forward authentication share.

pub mod proofs;

use crate::common::{Call, PATIENCE, Person, Pool, Server, Setup, eventually};
use crate::support::{required, skipped};
use beep_core::clock::{Clock, System};
use beep_core::id::Identity;
use beep_pipeline::services::login::{Limits, LoginOptions, TestNumber};
use beep_server::Extras;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NUMBER: &str = "+15550100001";

/// Who talks to whom.
pub struct Addresses {
    /// Where the gateway listens.
    pub own: SocketAddr,
    pub beep: SocketAddr,
    pub service: SocketAddr,
}

/// A running gateway, Beep for its questions, and behind it a service that answers the head that it got.
pub struct Gateway {
    pub server: Server,
    address: SocketAddr,
    pool: Pool,
    child: Child,
    pub dir: TempDir,
}

impl Gateway {
    /// By this program; `run` starts it with its files in this folder. None where there is none; fails there when
    /// `BEEP_REQUIRE` lists it.
    pub async fn start(program: &str, run: impl FnOnce(&Path, &Path, &Addresses) -> Child) -> Option<Self> {
        let Some(binary) = binary(program) else {
            assert!(!required(program), "BEEP_REQUIRE asks for {program}, but it is not installed");
            skipped(&format!("forward authentication by {program}, as {program} is not installed"));
            return None;
        };
        let test = TestNumber { number: NUMBER.into(), code: "123456".into(), until: u64::MAX };
        let limits = Limits { pause: Duration::ZERO, ..Limits::default() };
        let login = LoginOptions { limits, test_numbers: vec![test] };
        let extras = Extras { login, ..Extras::default() };
        let server = Server::start(Setup { extras, ..Setup::default() }).await;
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
        let addresses = Addresses { own: address, beep: server.address, service: echo().await };
        let child = run(&binary, dir.path(), &addresses);
        let gateway = Self { server, address, pool: Pool::default(), child, dir };
        eventually("the gateway listens", PATIENCE, async || TcpStream::connect(address).await.is_ok()).await;
        Some(gateway)
    }

    /// Begins a request to the service.
    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.pool, self.address, method, path)
    }

    /// The status that the service's visitor gets with this token.
    pub async fn status(&self, token: &str) -> u16 {
        self.call("GET", "/x").bearer(token).send().await.status
    }

    /// Somebody who is signed in by phone.
    pub async fn signed_in(&self, device: &str) -> Person {
        let body = json!({"phone_number": NUMBER}).to_string();
        let nonce = self.server.call("POST", "/login/init").body(body).send().await.expect(200).text();
        let body = json!({"code": "123456", "nonce": nonce, "clientid": device}).to_string();
        let verify =
            self.server.call("POST", "/login/verify").header("accept", "application/json").body(body);
        let pair = verify.send().await.expect(200).json();
        let token = pair["token"].as_str().unwrap().to_owned();
        let user = pair["user"]["id"].as_str().unwrap().parse().unwrap();
        Person { identity: Identity { user, device: device.parse().unwrap() }, token }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The users' file of this name in `deploy/`, with each of these words, which stand there once, replaced.
pub fn configuration(name: &str, changes: &[(&str, String)]) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = fs::read_to_string(file).unwrap();
    for (given, here) in changes {
        assert_eq!(text.matches(given).count(), 1, "{given}");
        text = text.replace(given, here);
    }
    text
}

/// Where the program is, if it is.
fn binary(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A service that answers each request with the head of it, in small letters.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                head.make_ascii_lowercase();
                let length = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n", head.len());
                stream.write_all(length.as_bytes()).await?;
                stream.write_all(&head).await?;
                stream.shutdown().await?;
                // What is closed with a body unread in it resets the connection, and the answer with it.
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

/// The claims in a head that the service got.
pub fn claims(head: &str) -> Vec<Value> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    // Some services read `_` as `-`.
    let named = lines.filter(|(name, _)| name.replace('_', "-") == "x-user-claim");
    named.map(|(_, claim)| serde_json::from_str(claim.trim()).unwrap()).collect()
}

/// A token of alice's that ends in so many seconds.
pub fn signed(server: &Server, seconds: i64) -> String {
    let now = i64::try_from(System.now() / 1_000).unwrap();
    let claims = json!({
        "userid": "u-alice", "clientid": "phone", "sub": "u-alice", "iss": "beep", "aud": "beep",
        "iat": now - 600, "exp": now + seconds, "jti": seconds.to_string(),
    });
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some(server.key.kid().to_owned());
    let key = jsonwebtoken::EncodingKey::from_ed_pem(server.key.to_pem().as_bytes()).unwrap();
    jsonwebtoken::encode(&header, &claims, &key).unwrap()
}
