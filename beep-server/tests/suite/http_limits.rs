//! Too much at once, and the end: refused before it is accepted, and nothing accepted is dropped.

use crate::common::{Person, Server, conversation, eventually, raw, wav};
use beep_core::bite::Label;
use beep_core::store::{BiteStoreExt, Role};
use beep_server::config::Http;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The head of a PUT with a body of this length, which the server waits for when this returns.
async fn begin_put(server: &Server, who: &Person, start: u64, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "PUT /publish/conversation/c-crew/start/{start} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        who.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// Sends the body and reads the whole answer.
async fn finish_put(mut stream: TcpStream, body: &[u8]) -> String {
    stream.write_all(body).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// More bytes of bodies at once than there is room for are refused before they are read; those under way are taken.
#[tokio::test]
async fn overload_of_bodies_is_503_before_accepting() {
    let body = wav(&"x".repeat(2_000));
    let http = Http { max_body: 5_000, max_bodies: body.len() * 2, ..Http::default() };
    let (server, alice) = Server::hers(http).await;
    let first = begin_put(&server, &alice, 1, body.len()).await;
    let second = begin_put(&server, &alice, 2, body.len()).await;
    for _ in 0..20 {
        let refused = server.put(&alice, "c-crew", 3, body.clone()).await;
        assert_eq!(refused.problem(503), "unavailable");
        assert_eq!(refused.header("retry-after"), "1");
        let chunked =
            server.call("POST", "/publish/conversation/c-crew").by(&alice).body(body.clone()).chunked();
        assert_eq!(chunked.send().await.problem(503), "unavailable");
        // What needs no room goes on.
        server.get(&alice, "/bite/conversation/c-crew").await.expect(200);
    }
    for stream in [first, second] {
        assert!(finish_put(stream, &body).await.starts_with("HTTP/1.1 201 "));
    }
    server.put(&alice, "c-crew", 3, body.clone()).await.expect(201);
    let starts = server.stores.bites.starts(Label::Bite, &conversation("c-crew")).await.unwrap();
    assert_eq!(starts, [1, 2, 3]);
}

/// The permission of when the head came is not one of when the body has come: a minute may lie between.
#[tokio::test]
async fn removed_while_speaking_is_not_recorded() {
    let (server, alice) = Server::hers(Http::default()).await;
    let bob = server.person("bob").await;
    let crew = conversation("c-crew");
    server.stores.directory.put_member(&crew, &bob.identity.user, Role::Member).await.unwrap();
    let body = wav("still here");
    let stream = begin_put(&server, &bob, 1, body.len()).await;
    server.stores.directory.remove_member(&crew, &bob.identity.user).await.unwrap();
    eventually("bob is out", Duration::from_secs(5), async || {
        server.get(&bob, "/bite/conversation/c-crew/scan").await.status == 403
    })
    .await;
    assert!(finish_put(stream, &body).await.starts_with("HTTP/1.1 403 "));
    server.put(&alice, "c-crew", 2, body).await.expect(201);
    assert_eq!(server.stores.bites.starts(Label::Bite, &crew).await.unwrap(), [2]);
}

/// Many at once with little room: each answer is 201 or 503, and exactly what was answered 201 is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_drops_nothing_that_was_accepted() {
    let body = wav(&"x".repeat(1_000));
    let http = Http { max_body: 5_000, max_bodies: body.len() * 3, ..Http::default() };
    let (server, alice) = Server::hers(http).await;
    let server = Arc::new(server);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32u64 {
        let (server, alice, body) = (server.clone(), alice.clone(), body.clone());
        tasks.spawn(async move {
            let mut taken = Vec::new();
            for n in 0..20 {
                let start = task * 100 + n;
                let answer = server.put(&alice, "c-crew", start, body.clone()).await;
                match answer.status {
                    201 => taken.push(start),
                    503 => drop(answer.problem(503)),
                    other => panic!("{other}: {}", answer.text()),
                }
            }
            taken
        });
    }
    let mut taken = tasks.join_all().await.concat();
    taken.sort_unstable();
    assert!(!taken.is_empty());
    assert_eq!(server.stores.bites.starts(Label::Bite, &conversation("c-crew")).await.unwrap(), taken);
}

/// One connection too many hears 503 and when to come back; a place that becomes free is given again.
#[tokio::test]
async fn overload_of_connections_is_503() {
    let http = Http { max_connections: 3, ..Http::default() };
    let (server, _) = Server::hers(http).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(stream);
    }
    let long = format!(
        "POST /publish/conversation/c-crew HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n{}",
        "x".repeat(200_000)
    );
    for request in ["GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", &long, ""] {
        for _ in 0..20 {
            let reply = raw::exchange(server.address, request.as_bytes(), Duration::from_secs(5)).await;
            assert_eq!((reply.status(), reply.closed), (503, true), "{}", reply.text);
            assert!(reply.text.contains("retry-after: 1") && reply.text.contains("application/problem+json"));
        }
    }
    drop(held);
    eventually("a place is free", Duration::from_secs(5), async || {
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        raw::exchange(server.address, request, Duration::from_secs(5)).await.status() == 200
    })
    .await;
}

/// R19: a stop lets what is under way finish, ends the streams, takes nothing new, and returns in time.
#[tokio::test]
async fn graceful_stop_finishes_what_is_under_way() {
    let (mut server, alice) = Server::hers(Http { drain_timeout_s: 5, ..Http::default() }).await;
    let body = wav("the last words");
    let half = begin_put(&server, &alice, 1, body.len()).await;
    let mut events = server.subscribe(&alice, None).await;
    // Kept alive without a request: nothing to wait for.
    server.assert_alive().await;
    let stopping = Instant::now();
    let running = server.stop();
    assert_eq!(events.next().await, None);
    eventually("nothing new is taken", Duration::from_secs(2), async || {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    assert!(!running.is_finished(), "it did not wait for the PUT");
    let answer = finish_put(half, &body).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("serve returns").unwrap();
    assert!(stopping.elapsed() < Duration::from_secs(5));
    assert_eq!(server.stores.bites.starts(Label::Bite, &conversation("c-crew")).await.unwrap(), [1]);
}

/// What does not end in time is cut off: a client cannot keep the server from stopping.
#[tokio::test]
async fn graceful_stop_has_an_end() {
    let (mut server, alice) = Server::hers(Http { drain_timeout_s: 1, ..Http::default() }).await;
    let mut stuck = begin_put(&server, &alice, 1, 5_000).await;
    let running = server.stop();
    tokio::time::timeout(Duration::from_secs(4), running).await.expect("serve returns").unwrap();
    let (text, closed) = raw::listen(&mut stuck, Duration::from_secs(5)).await;
    assert!(closed && !text.contains(" 201 "), "{text}");
    assert_eq!(server.stores.bites.tail().await.unwrap(), 0);
}
