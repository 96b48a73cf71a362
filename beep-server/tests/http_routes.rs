//! Every route for every kind of caller (B1, B3, R22): the table below says what each may do, and covers all routes.
#![allow(clippy::unwrap_used)] // the helpers of a test are a test as well

mod common;

use beep_core::clock::{Clock, ManualClock};
use beep_core::store::Role;
use beep_server::ROUTES;
use common::{Answer, Echo, Person, Server, Setup, wav};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The columns of [`TABLE`].
const ROLES: [&str; 8] =
    ["anonymous", "garbage", "expired", "stranger", "listener", "member", "owner", "author"];

/// Whoever has a valid token.
const ANYBODY: [u16; 8] = [401, 401, 401, 200, 200, 200, 200, 200];
/// Whoever may hear the conversation.
const HEARS: [u16; 8] = [401, 401, 401, 403, 200, 200, 200, 200];
/// Whoever may speak there.
const SPEAKS: [u16; 8] = [401, 401, 401, 403, 403, 201, 201, 201];
/// Only who said it.
const AUTHOR: [u16; 8] = [401, 401, 401, 403, 403, 403, 403, 201];
/// Who said it, and whoever moderates.
const REMOVES: [u16; 8] = [401, 401, 401, 403, 403, 403, 204, 204];
/// The whole world.
const OPEN: [u16; 8] = [200; 8];

/// Method, path, and the status per role.
const TABLE: &[(&str, &str, [u16; 8])] = &[
    ("GET", "/auth", ANYBODY),
    ("POST", "/auth", ANYBODY),
    ("PUT", "/auth", ANYBODY),
    ("PATCH", "/auth", ANYBODY),
    ("DELETE", "/auth", ANYBODY),
    ("HEAD", "/auth", ANYBODY),
    ("POST", "/publish/conversation/{key}", SPEAKS),
    ("PUT", "/publish/conversation/{key}/start/{start}", SPEAKS),
    ("PUT", "/publish/conversation/{key}/start/{start}/user", AUTHOR),
    ("GET", "/store/{label}/{key}/scan", HEARS),
    ("GET", "/store/{label}/{key}/start/{start}", HEARS),
    ("GET", "/bite/conversation/{key}", HEARS),
    ("GET", "/bite/conversation/{key}/scan", HEARS),
    ("GET", "/bite/conversation/{key}/start/{start}", HEARS),
    ("DELETE", "/bite/conversation/{key}/start/{start}", REMOVES),
    ("GET", "/bite/conversation/{key}/start/{start}/user", HEARS),
    ("GET", "/transcription/conversation/{key}/scan", HEARS),
    ("GET", "/transcription/conversation/{key}/start/{start}", HEARS),
    ("GET", "/transcription/search", ANYBODY),
    ("GET", "/subscribe", ANYBODY),
    ("GET", "/healthz", OPEN),
    ("GET", "/readyz", OPEN),
    ("GET", "/.well-known/jwks.json", OPEN),
];

/// The routes whose answer differs with what they are asked for: query, and the status per role.
const ASKED: &[(&str, &str, [u16; 8])] = &[
    ("GET", "/transcription/search?q=hello&conversation={key}", HEARS),
    ("GET", "/subscribe?conversation={key}", HEARS),
];

/// A conversation with one of each role, and the tokens of all columns.
struct World {
    server: Server,
    author: Person,
    tokens: [Option<String>; 8],
    starts: std::cell::Cell<u64>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let server = Server::start(Setup {
            clock: clock.clone(),
            transcriber: Some(Arc::new(Echo)),
            lifetime: Duration::from_secs(3_600),
            ..Setup::default()
        })
        .await;
        let gone = server.person("gone").await;
        // From here on that token has expired and the others have not.
        clock.set(clock.now() + 3_600_001);
        let stranger = server.person("stranger").await;
        let listener = server.person("listener").await;
        let member = server.person("member").await;
        let owner = server.person("owner").await;
        let author = server.person("author").await;
        let others = [
            (&listener, Role::Listener),
            (&member, Role::Member),
            (&author, Role::Member),
            (&gone, Role::Owner),
        ];
        server.conversation("c-crew", &owner, &others).await;
        let tokens = [
            None,
            Some("garbage".to_owned()),
            Some(gone.token),
            Some(stranger.token),
            Some(listener.token),
            Some(member.token),
            Some(owner.token),
            Some(author.token.clone()),
        ];
        Self { server, author, tokens, starts: std::cell::Cell::new(1_000) }
    }

    /// One request of a role; each finds a bite of its own, transcribed, with something attached where it may be.
    async fn ask(&self, method: &str, path: &str, role: usize) -> Answer {
        let start = self.starts.replace(self.starts.get() + 10);
        let attaches = path.ends_with("/user") && path.starts_with("/publish");
        if !(path.starts_with("/publish") && method == "PUT") || attaches {
            self.server.put(&self.author, "c-crew", start, wav("hello crew")).await.expect(201);
            if path.contains("/store/user/") {
                let attach = format!("/publish/conversation/c-crew/start/{start}/user");
                self.server.call("PUT", &attach).by(&self.author).body("note").send().await.expect(201);
            }
            self.server.settle().await;
        }
        let mut path = path.replace("{key}", "c-crew").replace("{start}", &start.to_string());
        if path == "/transcription/search" {
            path.push_str("?q=hello");
        }
        let call = || {
            let mut call = self.server.call(method, &path);
            if let Some(token) = &self.tokens[role] {
                call = call.bearer(token);
            }
            if path.starts_with("/publish") {
                call = call.body(wav(&format!("{method} {role}")));
            }
            call
        };
        if path.starts_with("/subscribe") {
            let head = call().head().await;
            // A stream does not end; a refusal does, and its body is looked at.
            if head.status < 400 {
                return head;
            }
        }
        call().send().await
    }

    async fn assert_row(&self, method: &str, path: &str, row: &[u16; 8]) {
        for (role, expected) in row.iter().enumerate() {
            let answer = self.ask(method, path, role).await;
            assert_eq!(answer.status, *expected, "{method} {path} by {}: {:?}", ROLES[role], answer.body);
            if *expected >= 400 && method != "HEAD" {
                let code = answer.problem(*expected);
                assert_eq!(code, if *expected == 401 { "unauthenticated" } else { "denied" });
            }
        }
    }
}

/// `{label}` stands for each of the three.
fn spelled(path: &str) -> Vec<String> {
    let labels: &[&str] = if path.contains("{label}") { &["bite", "user", "transcription"] } else { &[""] };
    labels.iter().map(|label| path.replace("{label}", label)).collect()
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let routes: BTreeSet<_> =
        ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (*m, *path))).collect();
    let rows: BTreeSet<_> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    assert_eq!(routes.difference(&rows).collect::<Vec<_>>(), [&("", ""); 0], "routes without a row");
    assert_eq!(rows.difference(&routes).collect::<Vec<_>>(), [&("", ""); 0], "rows without a route");
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    for (method, path, row) in TABLE {
        let allowed = row.iter().filter(|status| **status < 400).count();
        assert!(*row == OPEN || (1..8).contains(&allowed), "{method} {path} allows nobody or everybody");
    }
}

#[tokio::test]
async fn every_route_answers_every_role_as_the_table_says() {
    let world = World::new().await;
    for (method, path, row) in TABLE {
        for path in spelled(path) {
            world.assert_row(method, &path, row).await;
        }
    }
    for (method, path, row) in ASKED {
        world.assert_row(method, path, row).await;
    }
}

/// Whatever may be read with GET answers HEAD with the same status.
#[tokio::test]
async fn head_is_guarded_like_get() {
    let world = World::new().await;
    for (_, path, row) in TABLE.iter().filter(|(method, ..)| *method == "GET") {
        for path in spelled(path) {
            for (role, expected) in row.iter().enumerate() {
                let answer = world.ask("HEAD", &path, role).await;
                assert_eq!(answer.status, *expected, "HEAD {path} by {}", ROLES[role]);
                assert!(answer.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn other_methods_are_405_and_change_nothing() {
    let world = World::new().await;
    for (path, methods) in ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|m| !methods.contains(m)) {
            for path in spelled(path) {
                let answer = world.ask(method, &path, 6).await;
                assert_eq!(answer.problem(405), "no_method", "{method} {path}");
                for allowed in *methods {
                    assert!(
                        answer.header("allow").contains(allowed),
                        "{method} {path}: {}",
                        answer.header("allow")
                    );
                }
            }
        }
    }
    // Nothing but the bites that the requests were to find: one log entry each, and one for each transcript.
    let bites = world.server.get(&world.author, "/store/bite/c-crew/scan").await.expect(200).json();
    let stored = bites["starts"].as_array().unwrap().len() as u64;
    let notes = world.server.get(&world.author, "/store/user/c-crew/scan").await.expect(200).json();
    let attached = notes["starts"].as_array().unwrap().len() as u64;
    assert_eq!(world.server.stores.bites.tail().await.unwrap(), stored * 2 + attached);
}

/// B3: the bytes of somebody who may not speak are neither stored nor told to anybody.
#[tokio::test]
async fn stranger_cannot_publish() {
    let world = World::new().await;
    let server = &world.server;
    let before = server.stores.bites.tail().await.unwrap();
    for (role, token) in world.tokens.iter().enumerate().take(5) {
        for (method, path) in
            [("PUT", "/publish/conversation/c-crew/start/7"), ("POST", "/publish/conversation/c-crew")]
        {
            let mut call = server.call(method, path).body(wav("let me in"));
            if let Some(token) = token {
                call = call.bearer(token);
            }
            let status = call.send().await.status;
            assert_eq!(status, if role < 3 { 401 } else { 403 }, "{method} by {}", ROLES[role]);
        }
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), before);
    server.put(&world.author, "c-crew", 7, wav("I may")).await.expect(201);
}

/// B1: neither bytes nor anything about them reaches somebody who may not hear; and whoever may gets them.
#[tokio::test]
async fn stranger_cannot_read() {
    let world = World::new().await;
    let server = &world.server;
    server.put(&world.author, "c-crew", 50, wav("secret plans")).await.expect(201);
    server.settle().await;
    let stranger = world.tokens[3].as_deref().unwrap();
    for path in [
        "/store/bite/c-crew/start/50",
        "/store/transcription/c-crew/start/50",
        "/bite/conversation/c-crew",
        "/bite/conversation/c-crew/scan",
        "/bite/conversation/c-crew/start/50/user",
        "/transcription/conversation/c-crew/start/50",
        "/transcription/search?q=secret&conversation=c-crew",
    ] {
        let denied = server.call("GET", path).bearer(stranger).send().await;
        assert_eq!(denied.problem(403), "denied");
        for leak in ["secret", "u-author", "50"] {
            assert!(!denied.text().contains(leak), "{path}: {}", denied.text());
        }
        server.get(&world.author, path).await.expect(200);
    }
    let found =
        server.call("GET", "/transcription/search?q=secret").bearer(stranger).send().await.expect(200).json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 0);
    let found = server.get(&world.author, "/transcription/search?q=secret").await.json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 1);
}

/// D15: the answer to somebody who may not hear is the same whether or not there is such a conversation or bite.
#[tokio::test]
async fn stranger_is_not_told_what_exists() {
    let world = World::new().await;
    let server = &world.server;
    server.put(&world.author, "c-crew", 50, wav("here")).await.expect(201);
    let stranger = world.tokens[3].as_deref().unwrap();
    for (method, path, _) in TABLE.iter().filter(|(_, path, _)| path.contains("{key}")) {
        for path in spelled(path) {
            let mut answers = Vec::new();
            for (key, start) in [("c-crew", "50"), ("c-crew", "51"), ("c-none", "50")] {
                let path = path.replace("{key}", key).replace("{start}", start);
                let mut call = server.call(method, &path).bearer(stranger);
                if *method != "GET" {
                    call = call.body(wav("x"));
                }
                let mut answer = call.send().await;
                assert_eq!(answer.status, 403, "{method} {path}");
                for own in ["x-request-id", "date"] {
                    answer.headers.remove(own);
                }
                answers.push((answer.headers, answer.body));
            }
            assert!(answers.iter().all(|a| *a == answers[0]), "{method} {path}: {answers:?}");
        }
    }
}
