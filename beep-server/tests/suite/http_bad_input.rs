//! Bad input: the status of the contract, never a 5xx, nothing stored, and the server goes on (D14).

use crate::common::{Echo, Person, Server, Setup, conversation, garbage, raw, wav};
use beep_core::bite::Label;
use beep_core::store::{BiteStoreExt, Role};
use beep_server::ROUTES;
use beep_server::config::Http;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::time::Duration;

/// Alice owns `c-crew` and said something at 5.
async fn hers(server: &Server) -> Person {
    let alice = server.person("alice").await;
    server.conversation("c-crew", &alice, &[]).await;
    server.put(&alice, "c-crew", 5, wav("hello")).await.expect(201);
    alice
}

/// Paths as they stand in a request line: what no client library would send goes through a bare socket.
async fn ask(server: &Server, who: &Person, method: &str, path: &str, body: &[u8]) -> raw::Reply {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        who.token,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    let reply = raw::exchange(server.address, &request, Duration::from_secs(5)).await;
    assert!(reply.closed, "{method} {path} hangs: {}", reply.text);
    reply
}

/// D14: each kind of mistake has its status, and none is a 500.
#[tokio::test]
async fn status_map() {
    let server = Server::plain().await;
    let alice = hers(&server).await;
    let bob = server.person("bob").await;
    let audio = wav("x");
    let at = "/publish/conversation/c-crew/start";
    let cases: Vec<(&str, String, &[u8], u16, &str)> = vec![
        ("GET", "/store/bite/c-crew/start/x".into(), b"", 400, "malformed"),
        ("GET", "/store/nothing/c-crew/start/5".into(), b"", 400, "malformed"),
        ("GET", "/store/bite/c_crew/start/5".into(), b"", 400, "malformed"),
        ("GET", "/store/bite/c-crew/start/6".into(), b"", 404, "not_found"),
        ("GET", "/store/user/c-crew/start/5".into(), b"", 404, "not_found"),
        ("GET", "/store/transcription/c-crew/start/5".into(), b"", 404, "not_found"),
        ("GET", "/bite/conversation/c-crew/start/6/user".into(), b"", 404, "not_found"),
        ("DELETE", "/bite/conversation/c-crew/start/6".into(), b"", 404, "not_found"),
        ("PUT", format!("{at}/5"), &audio, 409, "conflict"),
        ("PUT", format!("{at}/7"), b"", 422, "invalid"),
        ("PUT", format!("{at}/7"), b"no audio at all, but a text", 415, "unsupported_media"),
        ("PUT", format!("{at}/7/user"), b"x", 404, "not_found"),
        ("PUT", "/publish/conversation/c-none/start/7".into(), &audio, 403, "denied"),
        ("GET", "/nowhere".into(), b"", 404, "no_route"),
        ("GET", "/".into(), b"", 404, "no_route"),
        ("POST", "/healthz".into(), b"", 405, "no_method"),
        ("GET", at.into(), b"", 404, "no_route"),
        ("GET", format!("{at}/5"), b"", 405, "no_method"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = server.call(method, &path).by(&alice).body(body.to_vec()).send().await;
        assert_eq!(answer.problem(status), code, "{method} {path}");
    }
    assert_eq!(server.get(&bob, "/store/bite/c-crew/start/5").await.problem(403), "denied");
    assert_eq!(server.call("GET", "/store/bite/c-crew/start/5").send().await.problem(401), "unauthenticated");
    assert_eq!(server.stores.bites.tail().await.unwrap(), 1);
}

/// Ids, starts, labels and percent signs in every place of every path.
#[tokio::test]
async fn malformed_paths_are_400_or_404() {
    let server = Server::plain().await;
    let alice = hers(&server).await;
    let long = "a".repeat(65);
    let keys = [
        "c_crew",
        "c%20crew",
        "c.crew",
        "..",
        "%2e%2e",
        "%2E%2E%2F",
        "c-crew%00",
        "%00",
        "c-crew%0d%0a",
        "%ff",
        "%",
        "%2",
        "%zz",
        "é",
        "c%C3%A9",
        "c-crew;x",
        "c-crew'",
        "c%2Fcrew",
        "%5c",
        "*",
        "~",
        "c-crew%E2%80%8B",
        &long,
        "{key}",
        "%7Bkey%7D",
    ];
    let starts = [
        "x",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x10",
        "%31x",
        "1%00",
        "1%20",
        "%201",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "NaN",
        "null",
        "%ff",
        "%",
        "٣",
        "１",
        "",
    ];
    let labels = ["nothing", "BITE", "bites", "%62ites", "bite%00", "..", "%ff", "conversation", "b"];
    let mut paths = Vec::new();
    for (path, methods) in ROUTES.iter().filter(|(path, _)| path.contains('{')) {
        for method in *methods {
            let whole = |key: &str, start: &str, label: &str| {
                let path = path.replace("{key}", key).replace("{conversation}", key);
                let path =
                    path.replace("{user}", key).replace("{userid}", key).replace("{conversationid}", key);
                (*method, path.replace("{start}", start).replace("{label}", label))
            };
            paths.extend(keys.iter().map(|key| whole(key, "5", "bite")));
            if path.contains("{start}") {
                paths.extend(starts.iter().map(|start| whole("c-crew", start, "bite")));
            }
            if path.contains("{label}") {
                paths.extend(labels.iter().map(|label| whole("c-crew", "5", label)));
            }
        }
    }
    assert!(paths.len() > 400);
    for (method, path) in paths {
        let reply = ask(&server, &alice, method, &path, &wav("x")).await;
        assert!(matches!(reply.status(), 400 | 404 | 405), "{method} {path}: {}", reply.text);
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), 1);
    // A percent sign that stands for what is allowed is allowed.
    assert_eq!(ask(&server, &alice, "GET", "/store/bite/c%2Dcrew/start/%35", b"").await.status(), 200);
    server.assert_alive().await;
}

#[tokio::test]
async fn unknown_routes_are_404_and_wrong_methods_405() {
    let server = Server::plain().await;
    let alice = hers(&server).await;
    let deep = "/x".repeat(10_000);
    for path in [
        "/",
        "//",
        "/Auth",
        "/auth/",
        "/auth/x",
        "/store",
        "/store/",
        "/store/bite",
        "/store/bite/c-crew",
        "/publish",
        "/bite/conversation/c-crew/",
        "/bite/conversation/c-crew/start",
        "/bite/conversation/c-crew/start/5/",
        "/bite/conversation//start/5",
        "/transcription",
        "/subscribe/x",
        "/healthz/..",
        "/../etc/passwd",
        "/./healthz",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/.well-known/",
        "/.git/config",
        "/metrics%00",
        "/%ff",
        "/\u{e9}",
        &deep,
    ] {
        let reply = ask(&server, &alice, "GET", path, b"").await;
        assert!(matches!(reply.status(), 404 | 400), "{path:.60}: {}", reply.text);
    }
    for method in ["PATCH", "TRACE", "PROPFIND", "BREW", "get", "Get", "CONNECT"] {
        let reply = ask(&server, &alice, method, "/store/bite/c-crew/start/5", b"").await;
        assert!(matches!(reply.status(), 405 | 400 | 404), "{method}: {}", reply.text);
    }
    for method in ["HEAD", "GET", "POST", "PUT", "DELETE", "PATCH"] {
        server.call(method, "/nowhere").send().await.expect(404);
    }
    server.assert_alive().await;
}

#[tokio::test]
async fn malformed_headers_are_refused_or_ignored() {
    let server = Server::plain().await;
    let alice = hers(&server).await;
    let path = "/store/bite/c-crew/start/5";
    for (name, values) in [
        ("range", &["bytes=", "bytes=9-1", "bytes=x", "\u{80}", "bytes=0-0,-1,,", "bytes=1-2-3"][..]),
        ("if-none-match", &["\"", "W/", ",,,", "\u{ff}"]),
        ("if-range", &["x", "Thu, 01 Jan 1970 00:00:00 GMT", "\u{ff}"]),
        ("accept", &["\u{ff}", ";;;", "application/json;q=x"]),
        ("accept-encoding", &["gzip;q=9", "\u{ff}"]),
        ("content-type", &["", "audio/", "\u{ff}", "multipart/form-data"]),
        ("x-request-id", &["", "\u{ff}", "a b"]),
        ("traceparent", &["00-0-0-0", "\u{ff}"]),
        ("origin", &["null", "\u{ff}"]),
    ] {
        for value in values {
            let status = server.call("GET", path).by(&alice).header(name, value).send().await.status;
            assert!(matches!(status, 200 | 206 | 304 | 400 | 416), "{name}: {value}: {status}");
        }
    }
    let own = server.call("GET", path).by(&alice).header("x-request-id", "mine-1").send().await.expect(200);
    assert_eq!(own.header("x-request-id"), "mine-1");
    let long =
        server.call("GET", path).by(&alice).header("x-request-id", &"x".repeat(200)).send().await.expect(200);
    assert_eq!(long.header("x-request-id").len(), 16);
    let keys = ["\u{ff}", "\u{80}key"];
    for key in keys {
        let call =
            server.call("POST", "/publish/conversation/c-crew").by(&alice).header("idempotency-key", key);
        assert_eq!(call.body(wav("x")).send().await.problem(400), "malformed");
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), 1);
}

/// A head that is too large is 431 or the end of the connection, and costs nothing that stays.
#[tokio::test]
async fn huge_heads_are_refused() {
    let server = Server::plain().await;
    let alice = hers(&server).await;
    let many: String = (0..5_000).map(|n| format!("x-{n}: y\r\n")).collect();
    for head in [
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
        format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        format!("GET /healthz HTTP/1.1\r\n{}: x\r\n\r\n", "a".repeat(1 << 20)),
        format!("{} /healthz HTTP/1.1\r\n\r\n", "A".repeat(1 << 20)),
        "\r\n".repeat(200_000),
        "GET ".repeat(200_000),
    ] {
        let reply = raw::exchange(server.address, head.as_bytes(), Duration::from_secs(15)).await;
        assert!(
            reply.closed && matches!(reply.status(), 0 | 400 | 414 | 431),
            "{:.40}: {}",
            head,
            reply.text
        );
        server.get(&alice, "/store/bite/c-crew/start/5").await.expect(200);
    }
}

/// R14: a valid request with random damage is never a 5xx, never hangs, and never stores what was not asked for.
#[test]
fn mutated_requests_never_hurt() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let http = Http { header_timeout_s: 2, body_timeout_s: 2, ..Http::default() };
    let (server, alice) = runtime.block_on(async {
        let server = Server::start(Setup { http, ..Setup::default() }).await;
        let alice = hers(&server).await;
        (server, alice)
    });
    let body = wav("a mutated bite");
    let mut valid: Vec<Vec<u8>> = Vec::new();
    for (path, methods) in ROUTES {
        for method in methods.iter().filter(|_| !path.contains("subscribe")) {
            // She is still needed.
            if (*method, *path) == ("DELETE", "/core/user") {
                continue;
            }
            let path = path.replace("{conversation}", "c-none").replace("{user}", "u-none");
            let path = path.replace("{key}", "c-crew").replace("{start}", "5").replace("{label}", "bite");
            let query = if *method == "GET" { "?from=1&to=9&q=hello&limit=5" } else { "" };
            let mut request = format!(
                "{method} {path}{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nrange: bytes=0-9\r\nidempotency-key: k\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                alice.token,
                body.len()
            )
            .into_bytes();
            request.extend_from_slice(&body);
            valid.push(request);
        }
    }
    let damage = prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| (at, 0u8, byte)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| (at, 1u8, byte)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| (at, 2u8, byte)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| (at, 3u8, byte)),
    ];
    let requests = (prop::sample::select(valid), prop::collection::vec(damage, 1..6)).prop_map(
        |(mut bytes, damages)| {
            for (at, kind, byte) in damages {
                // Most damage goes into the first 160 bytes: behind them is mostly the token.
                let end = if byte % 4 == 0 { bytes.len() } else { bytes.len().min(160) };
                let at = at.index(end.max(1));
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    2 if bytes.len() > 1 => drop(bytes.remove(at)),
                    3 => bytes[at] ^= 1 << (byte % 8),
                    _ => {}
                }
            }
            bytes
        },
    );
    let cases = std::env::var("BEEP_MUTATIONS").map_or(600, |n| n.parse().unwrap());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&requests, |request| {
            let reply = runtime.block_on(async {
                // No more will come: a server that waits for the rest may stop waiting.
                raw::exchange_and_close(server.address, &request, Duration::from_secs(8)).await
            });
            prop_assert!(reply.closed, "hangs: {:?}", String::from_utf8_lossy(&request));
            for status in reply.statuses() {
                prop_assert!(status < 500, "{status}: {:?}", String::from_utf8_lossy(&request));
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(async {
        server.assert_alive().await;
        // Only audio that came whole may have been stored.
        let crew = conversation("c-crew");
        for start in server.stores.bites.starts(Label::Bite, &crew).await.unwrap() {
            let stored = server.get(&alice, &format!("/store/bite/c-crew/start/{start}")).await.expect(200);
            assert_eq!(&stored.body[..4], b"RIFF");
        }
    });
}

/// 1,000 damaged recordings: each is taken or refused, and each that is taken is transcribed or set aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_audio_is_refused_or_transcribed_or_parked() {
    let server =
        Arc::new(Server::start(Setup { transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await);
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    let whole: Vec<Vec<u8>> =
        beep_pipeline::samples::SAMPLES.iter().map(|s| s.wav[..4_000].to_vec()).collect();
    let mut dice = 42u64;
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let mut taken = Vec::new();
    for start in 0..1_000u64 {
        let mut file = whole[roll(whole.len())].clone();
        match roll(5) {
            0 => file.truncate(roll(64)),
            1 => file.truncate(roll(file.len())),
            2 => file[roll(60)..].fill(roll(256) as u8),
            3 => file = garbage(roll(3_000)),
            _ => {}
        }
        for _ in 0..roll(12) {
            let (at, byte) = (roll(file.len().clamp(1, 64)), roll(256) as u8);
            if let Some(slot) = file.get_mut(at) {
                *slot = byte;
            }
        }
        let answer = server.put(if roll(2) == 0 { &alice } else { &bob }, "c-crew", start, file).await;
        match answer.status {
            201 => taken.push(start),
            415 | 422 => drop(answer.problem(answer.status)),
            other => panic!("{start}: {other} {}", answer.text()),
        }
    }
    assert!((1..1_000).contains(&taken.len()), "{} taken", taken.len());
    server.settle().await;
    let mut parked = 0;
    for start in &taken {
        let answer = server.get(&alice, &format!("/transcription/conversation/c-crew/start/{start}")).await;
        match answer.status {
            200 => {}
            404 => {
                answer.problem(404);
                parked += 1;
            }
            other => panic!("{start}: {other}"),
        }
    }
    let set_aside = server.stores.bites.parked(1_000).await.unwrap();
    assert_eq!(set_aside.len(), parked);
    println!("goal=damaged-audio taken={} parked={parked} of=1000", taken.len());
    server.assert_alive().await;
}
