//! R21: no bad token opens any route, and none of them leaves a trace.

use crate::common::{Call, Person, Server, Setup, raw, wav};
use crate::forge::vectors::{self, Shown, Vector, token};
use crate::forge::{Forge, NOW};
use beep_core::auth::Scope;
use beep_core::clock::{Clock, ManualClock};
use beep_core::store::Role;
use beep_pipeline::services::login::{Limits, LoginOptions, TestNumber};
use beep_server::{Extras, ROUTES};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The routes that look at no token; `idor_matrix` asks them with bad ones.
const PUBLIC: &[&str] = &[
    "/login/init",
    "/login/verify",
    "/login/register",
    "/login/register/{code}/{nonce}",
    "/login/refresh",
    "/healthz",
    "/readyz",
    "/.well-known/jwks.json",
];

/// Good in every letter: only the session or the user is gone.
async fn ended(server: &Server, forge: &Forge) -> Vec<Vector> {
    let login = server.app.login();
    let sign_in = async |device: &str| {
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let nonce = login.init(NUMBER, home).await.unwrap();
        let pair = login.verify("424242", &nonce, device.parse().unwrap(), home).await.unwrap();
        server.call("GET", "/auth").bearer(&pair.token).send().await.expect(200);
        pair
    };
    let out = sign_in("lost").await;
    server.call("POST", "/login/logout").bearer(&out.token).send().await.expect(204);

    let (other, ending) = (sign_in("pad").await, sign_in("stolen").await);
    let end = server.call("DELETE", "/login/sessions/stolen").bearer(&other.token);
    end.send().await.expect(204);

    let (before, now) = (sign_in("watch").await, sign_in("watch").await);
    let copied = sign_in("copied").await;
    let renewed = login.refresh(&copied.refresh_token).await.unwrap();
    login.refresh(&copied.refresh_token).await.unwrap_err();

    let gone = server.person("gone").await;
    server.get(&gone, "/auth").await.expect(200);
    server.app.beep().people().delete_user(&gone.identity.user).await.unwrap();
    vec![
        token("signed out", &out.token),
        token("signed out by another device", &ending.token),
        token("signed in again since", &before.token),
        token("its refresh token was used twice", &copied.token),
        token("renewed, then its refresh token was used twice", &renewed.token),
        token("refresh token", &now.refresh_token),
        token("refresh token of an ended session", &out.refresh_token),
        token("refresh token without its session", now.refresh_token.split_once('.').unwrap().1),
        token("deleted user", &gone.token),
        token("deleted user, issued since", server.token(&gone.identity)),
        token("deleted user, as an operator", server.scoped(&gone, Scope::Admin).token),
        token("a session that never was", forge.claim("sid", "s-none")),
        token("somebody else's session", forge.claim("sid", session(&now.token))),
        token("session a number", forge.claim("sid", 1)),
        token("session with a slash", forge.claim("sid", "s/1")),
        token("session empty", forge.claim("sid", "")),
    ]
}

const NUMBER: &str = "+6588888888";

/// The `sid` of a token.
fn session(token: &str) -> Value {
    let payload = crate::forge::decode(token.split('.').nth(1).unwrap());
    serde_json::from_slice::<Value>(&payload).unwrap()["sid"].clone()
}

#[tokio::test]
async fn bad_tokens_open_no_route_and_leave_no_trace() {
    let World { server, alice, forge, .. } = World::new().await;
    let mut vectors = ended(&server, &forge).await;
    vectors.extend(vectors::forged(&forge));
    let names: BTreeSet<_> = vectors.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), vectors.len(), "two vectors of one name");

    server.call("GET", "/auth").bearer(&forge.good()).send().await.expect(200);
    let before = traces(&server, &alice).await;
    let (mut requests, mut believed) = (0, Vec::new());
    for (name, shown) in &vectors {
        for (method, path) in protected() {
            for call in calls(&server, method, path, shown) {
                requests += 1;
                let answer = call.send().await;
                if answer.status != 401 {
                    believed.push(format!("{name}: {method} {path}: {}", answer.status));
                } else if method != "HEAD" {
                    assert_eq!(answer.problem(401), "unauthenticated", "{name}: {method} {path}");
                }
            }
        }
        assert_eq!(traces(&server, &alice).await, before, "{name} left a trace");
    }
    assert!(believed.is_empty(), "{} of {requests}:\n{}", believed.len(), believed.join("\n"));
    server.call("GET", "/auth").bearer(&forge.good()).send().await.expect(200);
    assert!(vectors.len() >= 60);
    println!("goal=token-vectors value={} limit=60 requests={requests}", vectors.len());
}

/// The same requests with a good token get past the door, to where it is asked what they are about.
#[tokio::test]
async fn good_tokens_open_every_route() {
    for (method, path) in protected() {
        let World { server, forge, .. } = World::new().await;
        let shown = Shown::Headers(vec![format!("Bearer {}", forge.good())]);
        for call in calls(&server, method, path, &shown) {
            let status = call.head().await.status;
            assert!(!matches!(status, 400 | 401 | 405 | 500..), "{method} {path}: {status}");
        }
    }
}

/// A megabyte is more than the head of a request may have: HTTP itself answers, or hangs up on who goes on sending.
#[tokio::test]
async fn megabyte_of_token_is_no_request() {
    let World { server, alice, forge, .. } = World::new().await;
    let before = traces(&server, &alice).await;
    let token = forge.claim("x", "x".repeat(1 << 20));
    for (method, path) in protected() {
        let path = filled(path);
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        let reply = raw::exchange(server.address, head.as_bytes(), Duration::from_secs(15)).await;
        // 0: the refusal was lost, as the rest of the head came when the connection was closed already.
        assert!(reply.closed && matches!(reply.status(), 0 | 431), "{method} {path}: {}", reply.text);
    }
    assert_eq!(traces(&server, &alice).await, before);
    server.assert_alive().await;
}

/// A token that was believed a millisecond ago, and is remembered for it, ends at the end of its time.
#[tokio::test]
async fn tokens_end_on_the_millisecond() {
    let World { server, clock, forge, alice } = World::new().await;
    let token = forge.claim("exp", NOW + 60);
    let ask = async |method: &str, path: &str| {
        server.call(method, &filled(path)).bearer(&token).head().await.status
    };
    clock.set((NOW + 60) * 1_000 - 1);
    for (method, path) in protected().filter(|(method, _)| *method == "GET") {
        assert_ne!(ask(method, path).await, 401, "{method} {path} in the last millisecond");
    }
    clock.set(clock.now() + 1);
    let before = traces(&server, &alice).await;
    for (method, path) in protected() {
        assert_eq!(ask(method, path).await, 401, "{method} {path}");
    }
    assert_eq!(traces(&server, &alice).await, before);
}

/// A server where Alice owns a conversation with a bite, whose clock stands still, and who forges her tokens.
struct World {
    server: Server,
    clock: Arc<ManualClock>,
    alice: Person,
    forge: Forge,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(NOW * 1_000));
        let limits = Limits { pause: Duration::ZERO, number_hour: 100, number_day: 100, ..Limits::default() };
        let number = TestNumber { number: NUMBER.into(), code: "424242".into(), until: u64::MAX };
        let login = LoginOptions { limits, test_numbers: vec![number] };
        let extras = Extras { login, ..Extras::default() };
        let server = Server::start(Setup { clock: clock.clone(), extras, ..Setup::default() }).await;
        let (alice, bob) = (server.person("alice").await, server.person("bob").await);
        server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
        server.put(&alice, "c-crew", 5, wav("secret")).await.expect(201);
        let forge = Forge::new(&server, alice.id());
        Self { server, clock, alice, forge }
    }
}

/// Every method of every route that asks for a token.
fn protected() -> impl Iterator<Item = (&'static str, &'static str)> {
    let routes = ROUTES.iter().filter(|(path, _)| !PUBLIC.contains(path));
    routes.flat_map(|(path, methods)| methods.iter().map(move |method| (*method, *path)))
}

/// The request that this vector makes of a route: by header, and on GET by the query as well.
fn calls<'a>(server: &'a Server, method: &str, path: &str, shown: &Shown) -> Vec<Call<'a>> {
    let (path, body) = (filled(path), body(path));
    let by_query = |token: &str| {
        let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
        let mark = if path.contains('?') { '&' } else { '?' };
        server.call(method, &format!("{path}{mark}token={token}")).body(body.clone())
    };
    match shown {
        Shown::Headers(values) => {
            let plain = server.call(method, &path).body(body.clone());
            let mut calls =
                vec![values.iter().fold(plain, |call, value| call.header("authorization", value))];
            let bearer = values.first().and_then(|value| value.strip_prefix("Bearer "));
            if let (Some(token), 1, "GET") = (bearer, values.len(), method) {
                // What /auth is asked with stands in another header.
                if path != "/auth" && !token.contains(' ') {
                    calls.push(by_query(token));
                }
            }
            calls
        }
        Shown::Query(token) if method == "GET" => vec![by_query(token)],
        Shown::Query(_) => Vec::new(),
    }
}

/// A path that there is something at, for Alice.
fn filled(path: &str) -> String {
    let mut path = path.to_owned();
    for (name, value) in [
        ("{label}", "bite"),
        ("{key}", "c-crew"),
        ("{conversation}", "c-crew"),
        ("{conversationid}", "c-crew"),
        ("{start}", "5"),
        ("{userid}", "u-alice"),
        ("{user}", "u-bob"),
        ("{username}", "bob"),
        ("{clientid}", "phone"),
    ] {
        path = path.replace(name, value);
    }
    match path.as_str() {
        "/core/user" => path + "?phone_number=%2B6590000001",
        "/transcription/search" => path + "?q=secret",
        _ => path,
    }
}

/// A body that the route would take.
fn body(path: &str) -> Vec<u8> {
    if path.starts_with("/publish") {
        return wav("let me in");
    }
    let all = json!({
        "id": "u-bob", "title": "x", "bio": "x", "phone_number": "+6590000001", "start": 5,
        "first_name": "A", "last_name": "B",
    });
    all.to_string().into()
}

/// Everything that a request of Alice's could change.
async fn traces(server: &Server, alice: &Person) -> String {
    let (stores, user) = (&server.stores, &alice.identity.user);
    let log = stores.directory.last_change().await.unwrap();
    let memberships = stores.directory.memberships(user).await.unwrap();
    let sessions = stores.directory.sessions(user).await.unwrap();
    format!("{log} {} {memberships:?} {sessions:?}", stores.bites.tail().await.unwrap())
}
