//! Publishing: what is acknowledged is stored once, bit for bit, and nothing is ever overwritten (D2, D4, D5, D9).

use crate::common::{Fate, Faulty, Person, Server, Setup, conversation, garbage, memory, raw, wav};
use async_trait::async_trait;
use beep_core::bite::{Digest, Label};
use beep_core::clock::ManualClock;
use beep_core::store::{BiteStoreExt, Role};
use beep_core::{Error, ErrorKind, Result};
use beep_server::config::Http;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Alice owns `c-crew`, bob may speak there.
async fn crew(server: &Server) -> (Person, Person) {
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    (alice, bob)
}

async fn starts(server: &Server) -> Vec<u64> {
    server.stores.bites.starts(Label::Bite, &conversation("c-crew")).await.unwrap()
}

#[tokio::test]
async fn a_bite_is_created_with_its_whole_description() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    let body = wav(&"x".repeat(1_599));
    let created = server.put(&alice, "c-crew", 1_700_000_000_000, body.clone()).await.expect(201);
    assert_eq!(created.header("location"), "/store/bite/c-crew/start/1700000000000");
    assert_eq!(created.header("content-type"), "application/json");
    let described = created.json();
    assert_eq!(described["conversation"], "c-crew");
    assert_eq!(described["start"], 1_700_000_000_000u64);
    assert_eq!(described["duration_ms"], 100);
    assert_eq!(described["bytes"], body.len());
    assert_eq!(described["sha256"], Digest::of(&body).to_string());
    assert!(described["media_type"].as_str().unwrap().starts_with("audio/"));
    assert_eq!(described.as_object().unwrap().len(), 6);
    assert_eq!(server.get(&alice, created.header("location")).await.expect(200).body, body);
}

/// D5: the same bytes by the same device answer 200; anything else at that start is 409 and changes nothing.
#[tokio::test]
async fn put_is_create_only() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    let body = wav("first");
    let first = server.put(&alice, "c-crew", 5, body.clone()).await.expect(201);
    let again = server.put(&alice, "c-crew", 5, body.clone()).await.expect(200);
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    let tablet = server.on_device(&alice, "tablet");
    for (who, bytes) in
        [(&alice, wav("other")), (&bob, wav("other")), (&bob, body.clone()), (&tablet, body.clone())]
    {
        assert_eq!(server.put(who, "c-crew", 5, bytes).await.problem(409), "conflict");
    }
    let stored = server.get(&bob, "/store/bite/c-crew/start/5").await.expect(200);
    assert_eq!(stored.body, body);
    let author = server.get(&bob, "/bite/conversation/c-crew/start/5/user").await.json();
    assert_eq!(author, json!({"user": "u-alice", "client": "phone"}));
    assert_eq!(server.stores.bites.tail().await.unwrap(), 1, "one commit for all of it");
}

/// D4: 10,000 bites in the same millisecond are 10,000 bites.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_overwrite() {
    let count: usize = std::env::var("BEEP_NO_OVERWRITE").map_or(10_000, |n| n.parse().unwrap());
    let clock = Arc::new(ManualClock::at(1_800_000_000_000));
    let server = Arc::new(Server::start(Setup { clock, ..Setup::default() }).await);
    let (alice, bob) = crew(&server).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (server, who) = (server.clone(), if task % 2 == 0 { alice.clone() } else { bob.clone() });
        tasks.spawn(async move {
            let mut given = Vec::new();
            for n in (task..count).step_by(8) {
                let created = server.post(&who, "c-crew", wav(&n.to_string())).await.expect(201);
                given.push((created.json()["start"].as_u64().unwrap(), n));
            }
            given
        });
    }
    let given: Vec<_> = tasks.join_all().await.concat();
    let distinct: BTreeSet<_> = given.iter().map(|(start, _)| *start).collect();
    assert_eq!(distinct.len(), count);
    assert_eq!(starts(&server).await, distinct.into_iter().collect::<Vec<_>>());
    for (start, n) in given.into_iter().step_by(97) {
        let path = format!("/store/bite/c-crew/start/{start}");
        assert_eq!(server.get(&alice, &path).await.expect(200).body, wav(&n.to_string()));
    }
}

/// D9: limit - 1, limit, limit + 1 → 201, 201, 413; with Content-Length and without.
#[tokio::test]
async fn max_size_edges() {
    let limit = 100_000;
    let http = Http { max_body: limit, ..Http::default() };
    let server = Server::start(Setup { http, ..Setup::default() }).await;
    let (alice, _) = crew(&server).await;
    let path = |start: usize| format!("/publish/conversation/c-crew/start/{start}");
    let sized = |size: usize| {
        let mut body = wav(&"x".repeat(limit / 2 - 24));
        body.resize(size, 0);
        body
    };
    for (size, status) in [(limit - 1, 201), (limit, 201), (limit + 1, 413), (limit * 3, 413)] {
        let declared = server.call("PUT", &path(size)).by(&alice).body(sized(size)).send().await;
        let chunked =
            server.call("PUT", &path(size + 1_000_000)).by(&alice).body(sized(size)).chunked().send().await;
        for answer in [declared, chunked] {
            assert_eq!(answer.status, status, "{size}: {}", answer.text());
            if status == 413 {
                assert_eq!(answer.problem(413), "too_large");
            }
        }
    }
    assert_eq!(
        starts(&server).await,
        [limit - 1, limit, limit + 999_999, limit + 1_000_000].map(|n| n as u64)
    );
    // What is declared too large is refused before a byte of it is there, and the client hears why.
    let token = &alice.token;
    for declared in ["100001", "9999999999999", "18446744073709551613"] {
        let head = format!(
            "PUT {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {declared}\r\n\r\n",
            path(7)
        );
        let reply = raw::exchange(server.address, head.as_bytes(), Duration::from_secs(5)).await;
        assert_eq!((reply.status(), reply.closed), (413, true), "{declared}: {}", reply.text);
    }
    server.assert_alive().await;
}

/// A client that goes on sending what is far too large is told so, and not cut off in the middle of the answer.
#[tokio::test]
async fn too_large_is_heard_by_a_client_that_is_still_sending() {
    let http = Http { max_body: 1_000, ..Http::default() };
    let server = Server::start(Setup { http, ..Setup::default() }).await;
    let (alice, _) = crew(&server).await;
    for chunked in [false, true] {
        for size in [100_000, 1_000_000, 4_000_000] {
            let framing =
                if chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {size}") };
            let mut request = format!(
                "POST /publish/conversation/c-crew HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{framing}\r\n\r\n",
                alice.token
            )
            .into_bytes();
            if chunked {
                request.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            }
            request.resize(request.len() + size, b'x');
            let reply = raw::exchange(server.address, &request, Duration::from_secs(5)).await;
            assert_eq!((reply.status(), reply.closed), (413, true), "{size} {chunked}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn what_is_not_audio_is_refused_and_not_stored() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    let text = b"hello, this is text and no audio at all, however long it goes on".to_vec();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[0; 64]].concat();
    let html = b"<!doctype html><html><script>alert(1)</script></html>".to_vec();
    for body in [text, png, html, garbage(5_000), vec![0; 5_000], b"{}".to_vec(), b"x".to_vec()] {
        let lied = server
            .call("PUT", "/publish/conversation/c-crew/start/1")
            .by(&alice)
            .header("content-type", "audio/wav");
        assert_eq!(lied.body(body.clone()).send().await.problem(415), "unsupported_media", "{body:.40?}");
        assert_eq!(server.post(&alice, "c-crew", body).await.problem(415), "unsupported_media");
    }
    assert_eq!(server.put(&alice, "c-crew", 1, Vec::new()).await.problem(422), "invalid");
    assert_eq!(server.post(&alice, "c-crew", Vec::new()).await.problem(422), "invalid");
    let chunked = server.call("POST", "/publish/conversation/c-crew").by(&alice).chunked();
    assert_eq!(chunked.send().await.problem(422), "invalid");
    assert!(starts(&server).await.is_empty());
    assert_eq!(server.stores.bites.tail().await.unwrap(), 0);
    // What the header says does not matter in the other direction either.
    let misnamed = server
        .call("PUT", "/publish/conversation/c-crew/start/1")
        .by(&alice)
        .header("content-type", "text/html");
    let created = misnamed.body(wav("x")).send().await.expect(201);
    assert!(created.json()["media_type"].as_str().unwrap().starts_with("audio/"));
}

/// The same key is the same attempt: by the same person and device, in the same conversation.
#[tokio::test]
async fn idempotency_key_makes_a_retry_harmless() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    server.conversation("c-other", &alice, &[]).await;
    let post = async |who: &Person, key: &str, name: &str, body: Vec<u8>| {
        let call = server.call("POST", &format!("/publish/conversation/{key}")).by(who);
        call.header("idempotency-key", name).body(body).send().await
    };
    let first = post(&alice, "c-crew", "k1", wav("hi")).await.expect(201);
    for _ in 0..3 {
        let again = post(&alice, "c-crew", "k1", wav("hi")).await.expect(200);
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.json(), first.json());
    }
    assert_eq!(post(&alice, "c-crew", "k1", wav("other")).await.problem(409), "conflict");
    post(&alice, "c-crew", "k2", wav("hi")).await.expect(201);
    post(&alice, "c-other", "k1", wav("hi")).await.expect(201);
    post(&bob, "c-crew", "k1", wav("hi")).await.expect(201);
    post(&server.on_device(&alice, "tablet"), "c-crew", "k1", wav("hi")).await.expect(201);
    assert_eq!(starts(&server).await.len(), 4);
    for wrong in ["", &"k".repeat(256)] {
        assert_eq!(post(&alice, "c-crew", wrong, wav("hi")).await.problem(400), "malformed");
    }
    post(&alice, "c-crew", &"k".repeat(255), wav("hi")).await.expect(201);
}

/// Holds every put until it is let through; then does it, or refuses it.
#[derive(Debug)]
struct Held {
    arrived: Semaphore,
    pass: Semaphore,
    refuse: AtomicBool,
}

#[async_trait]
impl Fate for Held {
    async fn before(&self, call: &'static str) -> Result<()> {
        if call == "put" {
            self.arrived.add_permits(1);
            self.pass.acquire().await.unwrap().forget();
            if self.refuse.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Full, "the disk is full"));
            }
        }
        Ok(())
    }
}

/// D2: nobody is told that a bite is stored, neither its author nor a subscriber, before it is; or when it is not.
#[tokio::test]
async fn ack_after_commit() {
    let fate = Arc::new(Held {
        arrived: Semaphore::new(0),
        pass: Semaphore::new(0),
        refuse: AtomicBool::new(false),
    });
    let mut stores = memory().await;
    let bites = stores.bites.clone();
    stores.bites = Faulty::new(bites.clone(), fate.clone());
    let server = Arc::new(Server::start(Setup { stores: Some(stores), ..Setup::default() }).await);
    let (alice, bob) = crew(&server).await;
    let mut events = server.subscribe(&bob, None).await;
    for (start, refuse) in [(1, false), (2, true), (3, false)] {
        fate.refuse.store(refuse, Ordering::SeqCst);
        let putting = tokio::spawn({
            let (server, alice) = (server.clone(), alice.clone());
            async move { server.put(&alice, "c-crew", start, wav("hi")).await }
        });
        fate.arrived.acquire().await.unwrap().forget();
        events.assert_quiet(Duration::from_millis(150)).await;
        assert!(!putting.is_finished(), "answered before the commit");
        fate.pass.add_permits(1);
        let answer = putting.await.unwrap();
        if refuse {
            assert_eq!(answer.problem(507), "storage_full");
        } else {
            answer.expect(201);
            assert_eq!(events.next().await.unwrap().data["start"], start);
        }
        assert_eq!(
            server.get(&bob, &format!("/store/bite/c-crew/start/{start}")).await.status,
            if refuse { 404 } else { 200 }
        );
    }
    assert_eq!(bites.tail().await.unwrap(), 2);
}

#[tokio::test]
async fn only_the_author_attaches() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    server.put(&bob, "c-crew", 5, wav("hi")).await.expect(201);
    let attach = async |who: &Person, start: u64, body: &[u8]| {
        let path = format!("/publish/conversation/c-crew/start/{start}/user");
        server.call("PUT", &path).by(who).body(body.to_vec()).send().await
    };
    // Not even the owner: it says who recorded it.
    assert_eq!(attach(&alice, 5, b"{}").await.problem(403), "denied");
    assert_eq!(attach(&bob, 6, b"{}").await.problem(404), "not_found");
    assert_eq!(attach(&bob, 5, b"").await.problem(422), "invalid");
    assert_eq!(attach(&bob, 5, &[b'x'; 64 * 1024 + 1]).await.problem(413), "too_large");
    let created = attach(&bob, 5, br#"{"mood":"good"}"#).await.expect(201);
    assert_eq!(created.header("location"), "/store/user/c-crew/start/5");
    attach(&bob, 5, br#"{"mood":"good"}"#).await.expect(200);
    assert_eq!(attach(&bob, 5, b"other").await.problem(409), "conflict");
    let stored = server.get(&alice, "/store/user/c-crew/start/5").await.expect(200);
    assert_eq!(
        (stored.header("content-type"), &stored.body[..]),
        ("application/json", &br#"{"mood":"good"}"#[..])
    );
    server.put(&bob, "c-crew", 6, wav("hi")).await.expect(201);
    attach(&bob, 6, b"<script>").await.expect(201);
    let stored = server.get(&alice, "/store/user/c-crew/start/6").await.expect(200);
    assert_eq!(stored.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(stored.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn author_admin_and_owner_delete_and_nobody_else() {
    let server = Server::echoing().await;
    let (alice, bob) = crew(&server).await;
    let (carol, dave) = (server.person("carol").await, server.person("dave").await);
    let crew = conversation("c-crew");
    server.stores.directory.put_member(&crew, &carol.identity.user, Role::Admin).await.unwrap();
    server.stores.directory.put_member(&crew, &dave.identity.user, Role::Member).await.unwrap();
    for (start, remover) in [(1, &bob), (2, &carol), (3, &alice)] {
        server.put(&bob, "c-crew", start, wav("hello there")).await.expect(201);
        server.settle().await;
        let path = format!("/bite/conversation/c-crew/start/{start}");
        assert_eq!(server.call("DELETE", &path).by(&dave).send().await.problem(403), "denied");
        server.get(&dave, &path).await.expect(200);
        server.call("DELETE", &path).by(remover).send().await.expect(204);
        server.call("DELETE", &path).by(remover).send().await.expect(404);
        server.settle().await;
        for gone in [
            format!("/store/bite/c-crew/start/{start}"),
            format!("/store/transcription/c-crew/start/{start}"),
            format!("/bite/conversation/c-crew/start/{start}/user"),
            format!("/transcription/conversation/c-crew/start/{start}"),
        ] {
            assert_eq!(server.get(&bob, &gone).await.problem(404), "not_found");
        }
        let found = server.get(&bob, "/transcription/search?q=hello").await.json();
        assert_eq!(found["hits"], json!([]));
    }
    // The place is free again, also for somebody else.
    server.put(&dave, "c-crew", 1, wav("mine now")).await.expect(201);
}
