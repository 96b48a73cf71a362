//! Forward authentication with nginx itself in front of a service, by the very file that is there for users.

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
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONFIGURATION: &str = include_str!("../../deploy/nginx-forward-auth.conf");
const NUMBER: &str = "+15550100001";

/// A running nginx, Beep for its questions, and behind it a service that answers the head that it got.
struct Gateway {
    server: Server,
    address: SocketAddr,
    pool: Pool,
    child: Child,
    dir: TempDir,
}

impl Gateway {
    /// None where there is no nginx; fails there when `BEEP_REQUIRE` lists it.
    async fn start() -> Option<Self> {
        let Some(binary) = binary() else {
            assert!(!required("nginx"), "BEEP_REQUIRE asks for nginx, but it is not installed");
            skipped("forward authentication by nginx, as nginx is not installed");
            return None;
        };
        let test = TestNumber { number: NUMBER.into(), code: "123456".into(), until: u64::MAX };
        let limits = Limits { pause: Duration::ZERO, ..Limits::default() };
        let login = LoginOptions { limits, test_numbers: vec![test] };
        let extras = Extras { login, ..Extras::default() };
        let server = Server::start(Setup { extras, ..Setup::default() }).await;
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address().await);
        let child = nginx(&binary, dir.path(), address, server.address, echo().await);
        let gateway = Self { server, address, pool: Pool::default(), child, dir };
        eventually("nginx listens", PATIENCE, async || TcpStream::connect(address).await.is_ok()).await;
        Some(gateway)
    }

    /// Begins a request to the service.
    fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.pool, self.address, method, path)
    }

    /// The status that the service's visitor gets with this token.
    async fn status(&self, token: &str) -> u16 {
        self.call("GET", "/x").bearer(token).send().await.status
    }

    /// Somebody who is signed in by phone.
    async fn signed_in(&self, device: &str) -> Person {
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

/// Where nginx is, if it is.
fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("nginx")).find(|file| file.is_file())
}

async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Starts it with the users' file, with these addresses in it.
fn nginx(binary: &Path, dir: &Path, own: SocketAddr, beep: SocketAddr, service: SocketAddr) -> Child {
    let at = dir.display();
    let mut text = CONFIGURATION.to_owned();
    for (given, here) in [
        ("server 127.0.0.1:8080;", format!("server {beep};")),
        ("server 127.0.0.1:9000;", format!("server {service};")),
        ("listen 127.0.0.1:8000;", format!("listen {own};")),
        ("/var/log/nginx/service.log", format!("{at}/access.log")),
    ] {
        assert_eq!(text.matches(given).count(), 1, "{given}");
        text = text.replace(given, &here);
    }
    fs::write(dir.join("forward-auth.conf"), text).unwrap();
    // One process: no master that would leave a worker behind when it is killed.
    let around = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;
         events {{ worker_connections 1024; }}
         http {{
             client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;
             uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;
             include {at}/forward-auth.conf;
         }}"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, around).unwrap();
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).args(["-e", "stderr"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
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
                Ok::<_, std::io::Error>(())
            });
        }
    });
    address
}

/// The claims in a head that the service got.
fn claims(head: &str) -> Vec<Value> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    // Some services read `_` as `-`.
    let named = lines.filter(|(name, _)| name.replace('_', "-") == "x-user-claim");
    named.map(|(_, claim)| serde_json::from_str(claim.trim()).unwrap()).collect()
}

/// Whoever has a good token gets through, and the service is told who it is: by nginx, and by nobody else.
#[tokio::test]
async fn nginx_lets_good_tokens_through_and_says_whose_they_are() {
    let Some(gateway) = Gateway::start().await else { return };
    let (alice, bob) = (gateway.server.person("alice").await, gateway.server.person("bob").await);
    let hers = vec![json!({"userid": "u-alice", "clientid": "phone"})];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let head = gateway.call(method, "/some/where?x=1").by(&alice).send().await.expect(200).text();
        assert!(head.starts_with(&format!("{} /some/where?x=1 ", method.to_lowercase())), "{head}");
        assert_eq!(claims(&head), hers, "{method}");
        assert!(!head.contains("authorization"), "the service got the token: {head}");
    }
    // What the client says itself does not arrive.
    let his = json!({"userid": "u-bob", "clientid": "phone"}).to_string();
    for name in ["X-User-Claim", "x-user-claim", "X_User_Claim", "x-user_claim"] {
        let head = gateway.call("GET", "/").by(&alice).header(name, &his).send().await.expect(200).text();
        assert_eq!(claims(&head), hers, "{name}: {head}");
        assert_eq!(gateway.call("GET", "/").header(name, &his).send().await.status, 401, "{name}");
    }
    // A body is the service's, not Beep's.
    gateway.call("PUT", "/").by(&bob).body("x".repeat(100_000)).send().await.expect(200);
}

/// Who has no token, a bad one or an old one gets 401, and the service is not asked.
#[tokio::test]
async fn nginx_turns_away_who_has_no_good_token() {
    let Some(gateway) = Gateway::start().await else { return };
    let alice = gateway.server.person("alice").await;
    let none = gateway.call("GET", "/x").send().await.expect(401);
    assert_eq!(none.header("www-authenticate"), "Bearer");
    assert!(!none.text().contains("get /x"));
    let expired = signed(&gateway.server, -60);
    for token in ["garbage", "", &expired, &alice.token[1..]] {
        assert_eq!(gateway.status(token).await, 401, "{token:.20}");
    }
    // The one that is expired differs from a good one in nothing else.
    assert_eq!(gateway.status(&signed(&gateway.server, 60)).await, 200);
    // Where nginx asks is not for clients.
    gateway.call("GET", "/.beep/auth").by(&alice).send().await.expect(404);
}

/// `?token=` counts on GET only, by nginx's word and not by the client's, and is not logged.
#[tokio::test]
async fn nginx_passes_on_tokens_in_the_query_of_get() {
    let Some(gateway) = Gateway::start().await else { return };
    let (alice, bob) = (gateway.server.person("alice").await, gateway.server.person("bob").await);
    let path = format!("/x?a=b&token={}", alice.token);
    let head = gateway.call("GET", &path).send().await.expect(200).text();
    assert_eq!(claims(&head), [json!({"userid": "u-alice", "clientid": "phone"})]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let call = gateway.call(method, &path).header("x-forwarded-method", "GET");
        assert_eq!(call.send().await.status, 401, "{method}");
    }
    gateway.call("GET", "/x").header("x-forwarded-uri", &path).send().await.expect(401);
    let header_wins = gateway.call("GET", &path).by(&bob).send().await.expect(200).text();
    assert_eq!(claims(&header_wins)[0]["userid"], "u-bob");
    let logged = || fs::read_to_string(gateway.dir.path().join("access.log")).unwrap();
    // nginx writes its line after the answer.
    eventually("all is logged", PATIENCE, async || logged().lines().count() >= 7).await;
    assert!(logged().contains("GET /x 200"), "{}", logged());
    let signature = alice.token.rsplit('.').next().unwrap();
    assert!(!logged().contains(signature), "a token was logged");
}

/// Who signs out or is deleted is out at the very next request.
#[tokio::test]
async fn nginx_turns_away_who_signed_out_or_was_deleted_at_once() {
    let Some(gateway) = Gateway::start().await else { return };
    let (phone, tablet) = (gateway.signed_in("phone").await, gateway.signed_in("tablet").await);
    assert_eq!((gateway.status(&phone.token).await, gateway.status(&tablet.token).await), (200, 200));
    gateway.server.call("POST", "/login/logout").by(&phone).send().await.expect(204);
    assert_eq!((gateway.status(&phone.token).await, gateway.status(&tablet.token).await), (401, 200));
    gateway.server.call("DELETE", "/core/user").by(&tablet).send().await.expect(204);
    assert_eq!(gateway.status(&tablet.token).await, 401);
    assert_eq!(gateway.status(&gateway.server.token(&tablet.identity)).await, 401);
}

/// A token of alice's that ends in so many seconds.
fn signed(server: &Server, seconds: i64) -> String {
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
