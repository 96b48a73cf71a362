//! Subscribing: everything, once, in order, to whoever may hear it; nobody waits for anybody (C4, C5, C11, C12, R10).

use crate::common::{Echo, Events, Person, Server, Setup, Sse, conversation, eventually, identity, wav};
use beep_core::bite::{Digest, Label};
use beep_core::clock::{Clock, System};
use beep_core::event::{Event, Seq};
use beep_core::store::{BiteStoreExt, NewBite, Role, Start, Stores};
use beep_server::config::Http;
use serde_json::json;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

/// Alice owns `c-crew`, bob listens there.
async fn crew(server: &Server) -> (Person, Person) {
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Listener)]).await;
    (alice, bob)
}

/// The positions of everything that a subscriber of `c-crew` is told.
async fn told(stores: &Stores) -> Vec<Seq> {
    let mut seqs = Vec::new();
    let mut each = |entry: beep_core::event::LogEntry| {
        let attached = matches!(&entry.event, Event::Stored { key, .. } if key.label == Label::User);
        if entry.event.key().conversation.as_str() == "c-crew" && !attached {
            seqs.push(entry.seq);
        }
        ControlFlow::Continue(())
    };
    stores.bites.replay(0, &mut each).await.unwrap();
    seqs
}

/// Waits until those who connect from now on are told only what comes behind this position.
async fn told_up_to(server: &Server, who: &Person, seq: Seq) {
    eventually("the events are told", Duration::from_secs(30), async || {
        server.app.beep().subscribe(&who.identity.user, None, None).position() == Some(seq)
    })
    .await;
}

/// D3: whatever a bite goes through, its subscribers hear of it, in order.
#[tokio::test]
async fn every_subject_has_a_consumer_and_events_come_in_order() {
    let server = Server::echoing().await;
    let (alice, bob) = crew(&server).await;
    let mut events = server.subscribe(&bob, None).await;
    server.put(&alice, "c-crew", 1, wav("hello <b>")).await.expect(201);
    let first = events.take(2).await;
    server.put(&alice, "c-crew", 2, wav("fail the engine is broken")).await.expect(201);
    let second = events.take(2).await;
    let attach = server.call("PUT", "/publish/conversation/c-crew/start/1/user").by(&alice).body("note");
    attach.send().await.expect(201);
    server.call("DELETE", "/bite/conversation/c-crew/start/1").by(&alice).send().await.expect(204);
    let third = events.take(1).await;
    let heard: Vec<Sse> = [first, second, third].concat();
    let event = |id: u64, code: u16, kind: &str, start: u64, message: &str| Sse {
        id,
        event: String::new(),
        data: json!({
            "code": code, "type": kind, "conversation": "c-crew", "start": start, "user": "u-alice",
            "client": "phone", "message": message,
        }),
    };
    assert_eq!(
        heard,
        [
            event(1, 200, "bite", 1, ""),
            event(2, 200, "transcription", 1, "hello <b>"),
            event(3, 200, "bite", 2, ""),
            event(4, 500, "error", 2, "the engine is broken"),
            event(6, 200, "delete", 1, ""),
        ]
    );
}

/// What happens in one conversation is told to its members only, and to those who asked for another one not at all.
#[tokio::test]
async fn only_members_hear_and_filters_hold() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    let carol = server.person("carol").await;
    server.conversation("c-other", &alice, &[(&carol, Role::Member)]).await;
    let mut all = server.subscribe(&alice, None).await;
    let mut hers = server.subscribe(&carol, None).await;
    let mut his = Events::open(server.address, &bob.token, "?conversation=c-crew", None).await;
    let mut other = Events::open(server.address, &alice.token, "?conversation=c-other", None).await;
    for n in 0..10 {
        server.put(&alice, if n % 2 == 0 { "c-crew" } else { "c-other" }, n, wav("x")).await.expect(201);
    }
    let starts =
        |events: Vec<Sse>| events.iter().map(|e| e.data["start"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(starts(all.take(10).await), (0..10).collect::<Vec<_>>());
    for (stream, expected) in
        [(&mut hers, [1, 3, 5, 7, 9]), (&mut his, [0, 2, 4, 6, 8]), (&mut other, [1, 3, 5, 7, 9])]
    {
        assert_eq!(starts(stream.take(5).await), expected);
        stream.assert_quiet(Duration::from_millis(100)).await;
    }
    let again =
        Events::open(server.address, &alice.token, "?conversation=c-other", Some(0)).await.take(5).await;
    assert_eq!(starts(again), [1, 3, 5, 7, 9]);
    let call = |query: &str| server.call("GET", &format!("/subscribe{query}"));
    assert_eq!(call("?conversation=c-crew").by(&carol).send().await.problem(403), "denied");
    assert_eq!(call("?conversation=a%20b").by(&carol).send().await.problem(400), "malformed");
    for bad in ["x", "-1", "1.5", "18446744073709551616", "1 2", ""] {
        assert_eq!(
            call("").by(&carol).header("last-event-id", bad).send().await.problem(400),
            "malformed",
            "{bad:?}"
        );
    }
}

/// R10: whoever comes back with the last id that it saw gets every other event once, whenever it was cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnecting_readers_miss_nothing_and_hear_nothing_twice() {
    let server = Arc::new(Server::echoing().await);
    let (alice, bob) = crew(&server).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..4u64 {
        let (server, bob, done) = (server.clone(), bob.clone(), done.clone());
        readers.spawn(async move {
            let mut seen: Vec<Seq> = Vec::new();
            let mut dice = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(reader + 1);
            loop {
                // All events: the first connection asks from the beginning.
                let mut events = server.subscribe(&bob, Some(seen.last().copied().unwrap_or(0))).await;
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let after = (dice >> 33) % 6;
                for _ in 0..after {
                    let Ok(Some(event)) =
                        tokio::time::timeout(Duration::from_millis(60), events.next()).await
                    else {
                        break;
                    };
                    assert_eq!(event.event, "");
                    seen.push(event.id);
                }
                if done.load(Ordering::SeqCst) && seen.last() == told(&server.stores).await.last() {
                    return seen;
                }
            }
        });
    }
    for n in 0..150 {
        server.post(&alice, "c-crew", wav(&format!("bite {n}"))).await.expect(201);
    }
    server.settle().await;
    done.store(true, Ordering::SeqCst);
    let expected = told(&server.stores).await;
    assert_eq!(expected.len(), 300);
    for seen in readers.join_all().await {
        assert_eq!(seen, expected);
    }
}

/// A reader who was cut off before its first event has an id to come back with, as the stream opens with one.
#[tokio::test]
async fn stream_opens_with_the_id_to_come_back_with() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    for start in 1..=3 {
        server.put(&alice, "c-crew", start, wav("x")).await.expect(201);
    }
    told_up_to(&server, &bob, 3).await;
    let path = "GET /subscribe HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ";
    let request = format!("{path}{}\r\n\r\n", bob.token);
    let reply =
        crate::common::raw::exchange(server.address, request.as_bytes(), Duration::from_millis(200)).await;
    let id =
        reply.text.split("\nid: ").nth(1).expect("an id at once").lines().next().unwrap().trim().to_owned();
    server.put(&alice, "c-crew", 4, wav("x")).await.expect(201);
    let missed = server.subscribe(&bob, Some(id.parse().unwrap())).await.take(1).await;
    assert_eq!(missed[0].data["start"], 4);
}

/// An id that was never given, or that lies too far back, is answered with one `reset` and then with what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_or_distant_last_event_id_is_a_reset() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    server.put(&alice, "c-crew", 0, wav("x")).await.expect(201);
    told_up_to(&server, &bob, 1).await;
    for unknown in [99, u64::MAX] {
        let mut events = server.subscribe(&bob, Some(unknown)).await;
        let reset = events.next().await.unwrap();
        assert_eq!((reset.event.as_str(), reset.id, &reset.data), ("reset", 1, &json!({"seq": 1})));
        events.assert_quiet(Duration::from_millis(50)).await;
    }
    for start in 1..=beep_pipeline::outbound::MAX_REPLAY {
        append(&server.stores, "c-crew", start, "x").await;
    }
    let tail = server.stores.bites.tail().await.unwrap();
    told_up_to(&server, &bob, tail).await;
    let mut events = server.subscribe(&bob, Some(0)).await;
    assert_eq!(events.next().await.unwrap().event, "reset");
    events.assert_quiet(Duration::from_millis(50)).await;
    server.post(&alice, "c-crew", wav("new")).await.expect(201);
    assert_eq!(events.next().await.unwrap().id, tail + 1);
    let near = server.subscribe(&bob, Some(tail - 500)).await.take(501).await;
    assert!(near.iter().map(|e| e.id).eq(tail - 499..=tail + 1));
}

/// Stores a bite as another process would: by the library, without a word to the server.
async fn append(stores: &Stores, key: &str, start: u64, said: &str) {
    let body = wav(said);
    let put = stores.bites.put(NewBite {
        label: Label::Bite,
        conversation: conversation(key),
        start: Start::At(start),
        author: identity("u-alice"),
        media_type: "audio/wav".to_owned(),
        duration_ms: None,
        sha256: Digest::of(&body),
        body: body.into(),
        received: System.now(),
        idempotency: None,
    });
    put.await.unwrap();
}

/// What another process appends to the same folder reaches subscribers and is transcribed and found.
#[tokio::test]
async fn other_processes_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Some(crate::common::embedded(dir.path()).await);
    let server = Server::start(Setup { stores, transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await;
    let (_, bob) = crew(&server).await;
    let mut events = server.subscribe(&bob, None).await;
    let other = crate::common::embedded(dir.path()).await;
    for start in 1..=20 {
        append(&other, "c-crew", start, &format!("elsewhere {start}")).await;
    }
    let heard = events.take(40).await;
    assert!(heard.iter().map(|e| e.id).eq(1..=40));
    for kind in ["bite", "transcription"] {
        let starts = heard.iter().filter(|e| e.kind() == kind).map(|e| e.data["start"].as_u64().unwrap());
        let mut starts: Vec<_> = starts.collect();
        starts.sort_unstable();
        assert_eq!(starts, (1..=20).collect::<Vec<_>>(), "{kind}");
    }
    server.settle().await;
    let found = server.get(&bob, "/transcription/search?q=elsewhere&limit=100").await.json();
    assert_eq!(found["hits"].as_array().unwrap().len(), 20);
}

/// C5: the second stream of a user does not replace the first, nor does its end end the first.
#[tokio::test]
async fn two_tabs() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    let tablet = server.on_device(&bob, "tablet");
    let mut first = server.subscribe(&bob, None).await;
    let mut second = server.subscribe(&bob, None).await;
    let mut third = server.subscribe(&tablet, None).await;
    for round in 1..=3 {
        server.put(&alice, "c-crew", round, wav("x")).await.expect(201);
        for stream in [&mut first, &mut second, &mut third] {
            assert_eq!(stream.next().await.unwrap().data["start"], round);
        }
    }
    drop(first);
    server.put(&alice, "c-crew", 4, wav("x")).await.expect(201);
    assert_eq!(second.next().await.unwrap().data["start"], 4);
    drop(second);
    server.put(&alice, "c-crew", 5, wav("x")).await.expect(201);
    assert_eq!(third.take(2).await[1].data["start"], 5);
}

/// C4, R10: a reader that stops reading is cut off; the others hear everything meanwhile, and so does it afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader_is_cut_off_and_delays_nobody() {
    let http = Http { write_timeout_s: 1, ..Http::default() };
    let server = Server::start(Setup { http, transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await;
    let (alice, bob) = crew(&server).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut slow = socket.connect(server.address).await.unwrap();
    let request =
        format!("GET /subscribe HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", bob.token);
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 16];
    slow.read_exact(&mut first).await.unwrap();
    let mut others = [server.subscribe(&bob, None).await, server.subscribe(&alice, None).await];
    // Long transcripts fill the sockets' own buffers, which hold some megabytes, and then the mailbox.
    let said = "word ".repeat(8_000);
    let bites = 200;
    let mut worst = Duration::ZERO;
    for start in 0..bites {
        let asked = Instant::now();
        server.put(&alice, "c-crew", start, wav(&said)).await.expect(201);
        for stream in &mut others {
            assert_eq!(stream.take(2).await[1].kind(), "transcription");
        }
        worst = worst.max(asked.elapsed());
    }
    assert!(worst < Duration::from_secs(5), "somebody waited {worst:?}");
    // Nothing was read for long: what the sockets hold is still there, and then the connection is gone.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (text, closed) = crate::common::raw::listen(&mut slow, Duration::from_secs(5)).await;
    assert!(closed, "the slow reader is still connected");
    let last = text.rsplit("\n\n").skip(1).find_map(|block| {
        let id = block.lines().find_map(|l| l.strip_prefix("id: "))?;
        block.contains("data: ").then(|| id.trim().parse::<u64>().unwrap())
    });
    let last = last.expect("it heard something");
    assert!(last < 2 * bites, "it heard everything: the test does not fill its buffers");
    let missed = server.subscribe(&bob, Some(last)).await.take((2 * bites - last) as usize).await;
    assert!(missed.iter().map(|e| e.id).eq(last + 1..=2 * bites));
}

/// C11: something goes over the wire at least every 25 seconds, though nothing happens.
#[tokio::test]
async fn sse_heartbeat_on_wire() {
    let server = Server::plain().await;
    let (_, bob) = crew(&server).await;
    let mut events = server.subscribe(&bob, None).await;
    let quiet = Instant::now();
    let block =
        tokio::time::timeout(Duration::from_secs(25), events.block()).await.expect("a comment in time");
    assert!(block.unwrap().starts_with(':'));
    assert!(quiet.elapsed() > Duration::from_secs(5), "comments are not to be a load");
}

/// The end of a token is the end of its streams.
#[tokio::test]
async fn stream_ends_with_its_token() {
    let server = Server::start(Setup { lifetime: Duration::from_secs(2), ..Setup::default() }).await;
    let (alice, bob) = crew(&server).await;
    let opened = Instant::now();
    let mut events = server.subscribe(&bob, None).await;
    server.put(&alice, "c-crew", 1, wav("x")).await.expect(201);
    events.take(1).await;
    assert_eq!(events.next().await, None);
    assert!(opened.elapsed() < Duration::from_secs(4), "{:?}", opened.elapsed());
    server.call("GET", "/subscribe").by(&bob).send().await.expect(401);
}

/// Somebody removed hears nothing more on a stream that is open, and nothing of it when they come back.
#[tokio::test]
async fn removed_member_hears_nothing_more() {
    let server = Server::plain().await;
    let (alice, bob) = crew(&server).await;
    let mut his = server.subscribe(&bob, None).await;
    let mut hers = server.subscribe(&alice, None).await;
    server.put(&alice, "c-crew", 1, wav("x")).await.expect(201);
    his.take(1).await;
    // The gate knows him from now on, so that it says no only once it has heard of the change.
    server.get(&bob, "/bite/conversation/c-crew/scan").await.expect(200);
    assert!(
        server.stores.directory.remove_member(&conversation("c-crew"), &bob.identity.user).await.unwrap()
    );
    // How soon that is, is measured in `http_reads`.
    eventually("bob is out", Duration::from_secs(5), async || {
        server.get(&bob, "/bite/conversation/c-crew/scan").await.status == 403
    })
    .await;
    for start in 2..=10 {
        server.put(&alice, "c-crew", start, wav("x")).await.expect(201);
    }
    hers.take(10).await;
    his.assert_quiet(Duration::from_millis(200)).await;
    server.subscribe(&bob, Some(0)).await.assert_quiet(Duration::from_millis(200)).await;
}

/// C12: nothing that somebody says, or calls their device, becomes a line of its own in the stream.
#[tokio::test]
async fn nothing_said_forges_a_line() {
    let server = Server::echoing().await;
    let (alice, bob) = crew(&server).await;
    let sly = server.on_device(&alice, "x\\n\\nevent: reset data: {} id: 7");
    let mut events = server.subscribe(&bob, None).await;
    let texts = [
        "a\n\nevent: reset\nid: 99\ndata: {}\n\n",
        "a\r\nid: 99\r\n\r\ndata: x",
        "a\rid: 99\r\rdata: x",
        "\u{b}\u{c}\u{85}",
        ": x",
        "\"}\n\n",
    ];
    for (start, text) in (0u64..).zip(texts) {
        server.put(&sly, "c-crew", start, wav(text)).await.expect(201);
        // `take` fails on a line that no event has, on a second id, and on an id that is no number.
        let heard = events.take(2).await;
        assert!(heard.iter().map(|e| e.id).eq(2 * start + 1..=2 * start + 2));
        assert_eq!(heard[0].data["client"], sly.identity.device.as_str());
        assert_eq!(heard[1].kind(), "transcription");
        assert!(heard[1].data["message"].as_str().unwrap().starts_with(&text[..1]));
    }
    // As HTML reads it, a lone carriage return ends a line as well.
    let request = format!(
        "GET /subscribe HTTP/1.1\r\nhost: x\r\nlast-event-id: 0\r\nauthorization: Bearer {}\r\n\r\n",
        bob.token
    );
    let reply =
        crate::common::raw::exchange(server.address, request.as_bytes(), Duration::from_millis(300)).await;
    let body = reply.text.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(body.matches("\ndata: ").count(), 2 * texts.len());
    let forged = body
        .split(['\r', '\n'])
        .filter(|l| l.starts_with("event:") || *l == "id: 99" || l.starts_with("data: x"));
    assert_eq!(forged.count(), 0, "{body}");
}
