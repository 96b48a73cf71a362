//! What lies beside the matrix of `idor_matrix`: methods that a route has not, and what a refusal leaves and tells
//! (B1, B3, D15).

use crate::common::{Echo, Person, Server, Setup, wav};
use beep_core::clock::{Clock, ManualClock};
use beep_core::store::Role;
use beep_server::ROUTES;
use std::sync::Arc;

/// A conversation, somebody who speaks there, and others who must not.
struct World {
    server: Server,
    author: Person,
    listener: Person,
    stranger: Person,
    /// A member whose token has expired.
    gone: Person,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(1_800_000_000_000));
        let setup = Setup { clock: clock.clone(), transcriber: Some(Arc::new(Echo)), ..Setup::default() };
        let server = Server::start(setup).await;
        let gone = server.person("gone").await;
        clock.set(clock.now() + 3_600_001);
        let (author, listener) = (server.person("author").await, server.person("listener").await);
        let stranger = server.person("stranger").await;
        let others = [(&listener, Role::Listener), (&gone, Role::Owner)];
        server.conversation("c-crew", &author, &others).await;
        Self { server, author, listener, stranger, gone }
    }

    /// Who may not speak: a name, a token, and how that is said.
    fn refused(&self) -> [(&str, Option<&str>, u16); 5] {
        [
            ("nobody", None, 401),
            ("garbage", Some("garbage"), 401),
            ("expired", Some(&self.gone.token), 401),
            ("stranger", Some(&self.stranger.token), 403),
            ("listener", Some(&self.listener.token), 403),
        ]
    }
}

/// `{label}` stands for each of the three.
fn spelled(path: &str) -> Vec<String> {
    let labels: &[&str] = if path.contains("{label}") { &["bite", "user", "transcription"] } else { &[""] };
    labels.iter().map(|label| path.replace("{label}", label)).collect()
}

#[tokio::test]
async fn other_methods_are_405_and_change_nothing() {
    let world = World::new().await;
    let server = &world.server;
    server.put(&world.author, "c-crew", 7, wav("hello")).await.expect(201);
    server.settle().await;
    let before = server.stores.bites.tail().await.unwrap();
    for (path, methods) in ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter(|m| !methods.contains(m)) {
            for path in spelled(path) {
                let there = path.replace("{key}", "c-crew").replace("{start}", "7").replace(['{', '}'], "");
                let answer = server.call(method, &there).by(&world.author).body("{}").send().await;
                assert_eq!(answer.problem(405), "no_method", "{method} {there}");
                let allow = answer.header("allow");
                assert!(methods.iter().all(|method| allow.contains(method)), "{method} {there}: {allow}");
            }
        }
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), before);
}

/// B3: the bytes of somebody who may not speak are neither stored nor told to anybody.
#[tokio::test]
async fn stranger_cannot_publish() {
    let world = World::new().await;
    let server = &world.server;
    let before = server.stores.bites.tail().await.unwrap();
    for (who, token, refused) in world.refused() {
        for (method, path) in
            [("PUT", "/publish/conversation/c-crew/start/7"), ("POST", "/publish/conversation/c-crew")]
        {
            let mut call = server.call(method, path).body(wav("let me in"));
            if let Some(token) = token {
                call = call.bearer(token);
            }
            assert_eq!(call.send().await.status, refused, "{method} by {who}");
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
    let stranger = world.stranger.token.as_str();
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
    let stranger = world.stranger.token.as_str();
    let asked = ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |method| (method, path)));
    for (method, path) in asked.filter(|(_, path)| path.contains("{key}")) {
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
