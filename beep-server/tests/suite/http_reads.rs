//! Reading: bytes as they came, parts of them, caches, scans at the edges, transcripts and search (D6, D7, D16).

use crate::common::{Answer, Echo, Person, Server, Setup, conversation, eventually, wav, wav_of};
use beep_core::bite::Digest;
use beep_core::store::Role;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Alice owns `c-crew`, bob listens there.
async fn crew(server: &Server) -> (Person, Person) {
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Listener)]).await;
    (alice, bob)
}

const AT_5: &str = "/bite/conversation/c-crew/start/5";

#[tokio::test]
async fn bytes_come_back_as_they_went() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Some(crate::common::embedded(dir.path()).await);
    let server = Server::start(Setup { stores, ..Setup::default() }).await;
    let (alice, bob) = crew(&server).await;
    for (start, length) in [(1u64, 1usize), (2, 2_000), (3, 99_999), (4, 1_000_000)] {
        let samples: Vec<i16> = (0..length).map(|i| (i * 7_919) as u16 as i16).collect();
        let body = wav_of(&samples);
        server.put(&alice, "c-crew", start, body.clone()).await.expect(201);
        for prefix in ["/bite/conversation/c-crew", "/store/bite/c-crew"] {
            let read = server.get(&bob, &format!("{prefix}/start/{start}")).await.expect(200);
            assert_eq!(read.body, body);
            assert_eq!(read.header("etag"), format!("\"{}\"", Digest::of(&body)));
            assert_eq!(read.header("content-length"), body.len().to_string());
            assert_eq!(read.header("cache-control"), "private, max-age=31536000, immutable");
            assert_eq!(read.header("x-content-type-options"), "nosniff");
            assert_eq!(read.header("accept-ranges"), "bytes");
            assert!(read.header("content-type").starts_with("audio/"));
            assert!(!read.header("x-request-id").is_empty());
            let head =
                server.call("HEAD", &format!("{prefix}/start/{start}")).by(&bob).send().await.expect(200);
            assert!(head.body.is_empty());
            for same in ["etag", "content-length", "content-type", "cache-control", "accept-ranges"] {
                assert_eq!(head.header(same), read.header(same), "{same}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_known_already_is_not_sent_again() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    server.put(&alice, "c-crew", 5, wav("hello")).await.expect(201);
    let tag = server.get(&alice, AT_5).await.header("etag").to_owned();
    let ask =
        async |known: &str| server.call("GET", AT_5).by(&alice).header("if-none-match", known).send().await;
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
        let answer = ask(&known).await.expect(304);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("etag"), tag);
        assert!(answer.header("cache-control").contains("immutable"));
    }
    for other in ["\"x\"", "", tag.trim_matches('"'), "\u{ff}"] {
        ask(other).await.expect(200);
    }
    // Being known does not open the door to whoever may not hear.
    let carol = server.person("carol").await;
    server.call("GET", AT_5).by(&carol).header("if-none-match", &tag).send().await.expect(403);
    server.call("GET", AT_5).header("if-none-match", &tag).send().await.expect(401);
}

#[tokio::test]
async fn ranges_are_parts_of_the_same_bytes() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    let body = wav(&"0123456789".repeat(10));
    let length = body.len();
    server.put(&alice, "c-crew", 5, body.clone()).await.expect(201);
    let ask = async |range: &str| server.call("GET", AT_5).by(&alice).header("range", range).send().await;
    for (range, first, last) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=10-19".into(), 10, 19),
        ("bytes=10-".into(), 10, length - 1),
        ("bytes=-7".into(), length - 7, length - 1),
        (format!("bytes={}-", length - 1), length - 1, length - 1),
        ("bytes=0-18446744073709551615".into(), 0, length - 1),
        ("bytes=-99999999999999999999999".into(), 0, length - 1),
    ] {
        let part = ask(&range).await.expect(206);
        assert_eq!(part.body, body[first..=last], "{range}");
        assert_eq!(part.header("content-range"), format!("bytes {first}-{last}/{length}"));
        assert_eq!(part.header("content-length"), (last - first + 1).to_string());
    }
    for range in [format!("bytes={length}-"), "bytes=-0".into(), "bytes=18446744073709551616-".into()] {
        let refused = ask(&range).await;
        assert_eq!(refused.problem(416), "range_not_satisfiable", "{range}");
        assert_eq!(refused.header("content-range"), format!("bytes */{length}"));
    }
    for ignored in
        ["bytes=0-1,4-5", "items=0-1", "bytes=5-2", "bytes=", "bytes=a-b", "bytes=--1", "bytes 0-1", ""]
    {
        assert_eq!(ask(ignored).await.expect(200).body, body, "{ignored}");
    }
    let tag = server.get(&alice, AT_5).await.header("etag").to_owned();
    for (known, status) in [(tag.as_str(), 206), ("\"other\"", 200), (&format!("W/{tag}"), 200)] {
        let call = server.call("GET", AT_5).by(&alice).header("range", "bytes=0-9").header("if-range", known);
        assert_eq!(call.send().await.status, status, "{known}");
    }
    let head = server.call("HEAD", AT_5).by(&alice).header("range", "bytes=0-9").send().await;
    assert!(matches!(head.status, 200 | 206) && head.body.is_empty());
}

/// D6 and the ends of the number line: every u64 is a start like any other, with 0x40 bytes in it or not.
#[tokio::test]
async fn starts_at_the_edges_are_starts_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Some(crate::common::embedded(dir.path()).await);
    for stores in [None, embedded] {
        let server = Server::start(Setup { stores, ..Setup::default() }).await;
        let (alice, _) = crew(&server).await;
        let mut starts =
            vec![0, 1, 0x40, 0x4040, 0x40ff, 0xff40, 1 << 32, 0x4040_4040_4040_4040, i64::MAX as u64];
        starts.extend([1 << 63, u64::MAX - 1, u64::MAX, 1_700_000_000, 1_700_000_064_000]);
        for start in &starts {
            server.put(&alice, "c-crew", *start, wav(&start.to_string())).await.expect(201);
        }
        starts.sort_unstable();
        let scan = async |query: &str| {
            let answer = server
                .get(&alice, &format!("/bite/conversation/c-crew/scan{query}"))
                .await
                .expect(200)
                .json();
            let numbers =
                answer["starts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>();
            (answer["previous"].as_u64().unwrap(), numbers, answer["next"].as_u64().unwrap())
        };
        assert_eq!(scan("").await, (0, starts.clone(), 0));
        assert_eq!(scan("?from=0&to=18446744073709551615").await, (0, starts.clone(), 0));
        for (i, start) in starts.iter().enumerate() {
            let previous = if i == 0 { 0 } else { starts[i - 1] };
            let next = starts.get(i + 1).copied().unwrap_or(0);
            assert_eq!(scan(&format!("?from={start}&to={start}")).await, (previous, vec![*start], next));
            let read =
                server.get(&alice, &format!("/bite/conversation/c-crew/start/{start}")).await.expect(200);
            assert_eq!(read.body, wav(&start.to_string()));
        }
        assert_eq!(scan("?from=2&to=63").await, (1, vec![], 0x40));
        assert_eq!(server.post(&alice, "c-crew", wav("now")).await.status, 201);
    }
}

/// D16: a page has at most 1,000 starts, pages meet without gap or overlap, none is `null`, and 0 means none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scan_pages_are_bounded_and_meet() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    let empty = server.get(&alice, "/bite/conversation/c-crew/scan").await.expect(200);
    assert_eq!(empty.text(), r#"{"previous":0,"starts":[],"next":0}"#);
    let stored: Vec<u64> = (1..=2_300).map(|n| n * 3).collect();
    for start in &stored {
        server.put(&alice, "c-crew", *start, wav("x")).await.expect(201);
    }
    for limit in ["", "&limit=1000", "&limit=1001", "&limit=18446744073709551615", "&limit=7", "&limit=999"] {
        let largest =
            limit.strip_prefix("&limit=").and_then(|n| n.parse().ok()).unwrap_or(1_000u64).min(1_000);
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/bite/conversation/c-crew/scan?to=6000{limit}{cursor}");
            let page = server.get(&alice, &path).await.expect(200).json();
            let starts = page["starts"].as_array().unwrap();
            assert!(starts.len() as u64 <= largest);
            listed.extend(starts.iter().map(|n| n.as_u64().unwrap()));
            let next = page["next"].as_u64().unwrap();
            if next == 0 || next > 6_000 {
                assert_eq!(next, 6_003);
                break;
            }
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, stored[..2_000], "{limit}");
    }
    let one = server.get(&alice, "/bite/conversation/c-crew/scan?limit=0").await.expect(200).json();
    assert_eq!(one["starts"], json!([3]));
    for bad in [
        "from=6&to=5",
        "from=-1",
        "to=x",
        "from=1.5",
        "limit=-1",
        "from=18446744073709551616",
        "cursor=abc",
        "from=",
        "to=%20",
        "from=+1",
        "from=0x10",
    ] {
        for prefix in [
            "/bite/conversation/c-crew/scan",
            "/store/bite/c-crew/scan",
            "/transcription/conversation/c-crew/scan",
            "/bite/conversation/c-crew",
        ] {
            assert_eq!(
                server.get(&alice, &format!("{prefix}?{bad}")).await.problem(400),
                "malformed",
                "{prefix}?{bad}"
            );
        }
    }
}

#[tokio::test]
async fn list_says_what_is_known_page_by_page() {
    let server = Server::echoing().await;
    let (alice, bob) = crew(&server).await;
    for start in 1..=5 {
        server.put(&alice, "c-crew", start, wav(&format!("number {start}"))).await.expect(201);
    }
    server.put(&alice, "c-crew", 6, wav("fail it is broken")).await.expect(201);
    server.settle().await;
    server.put(&alice, "c-crew", 7, wav("never")).await.expect(201);
    let first = server.get(&bob, "/bite/conversation/c-crew?limit=3").await.expect(200).json();
    let bites = first["bites"].as_array().unwrap();
    let body = wav("number 1");
    let mut described = bites[0].clone();
    assert!(described["received"].take().as_u64().unwrap() > 1_700_000_000_000);
    assert!(described["duration_ms"].take().as_u64().unwrap() <= 1);
    assert!(described["media_type"].take().as_str().unwrap().starts_with("audio/"));
    assert_eq!(
        described,
        json!({
            "start": 1, "user": "u-alice", "client": "phone", "media_type": null, "duration_ms": null,
            "bytes": body.len(), "sha256": Digest::of(&body).to_string(), "received": null,
            "transcript": "ready", "text": "number 1",
        })
    );
    let (mut all, mut next) = (bites.clone(), first["next"].clone());
    while let Some(cursor) = next.as_str() {
        let page = server
            .get(&bob, &format!("/bite/conversation/c-crew?limit=3&cursor={cursor}"))
            .await
            .expect(200)
            .json();
        all.extend(page["bites"].as_array().unwrap().clone());
        next = page["next"].clone();
    }
    let states: Vec<_> =
        all.iter().map(|b| (b["start"].as_u64().unwrap(), b["transcript"].as_str().unwrap())).collect();
    let ready = (1..=5).map(|n| (n, "ready"));
    assert_eq!(states, ready.chain([(6, "failed"), (7, "pending")]).collect::<Vec<_>>());
    let some = server.get(&bob, "/bite/conversation/c-crew?from=2&to=3").await.expect(200).json();
    assert_eq!((some["bites"].as_array().unwrap().len(), &some["next"]), (2, &Value::Null));
    let author = server.get(&bob, "/bite/conversation/c-crew/start/3/user").await.expect(200).json();
    assert_eq!(author, json!({"user": "u-alice", "client": "phone"}));
    server.get(&bob, "/bite/conversation/c-crew/start/99/user").await.expect(404);
}

/// D7: what is transcribed can be read as text and as JSON; before that 202, and 404 where none will come.
#[tokio::test]
async fn transcript_roundtrip() {
    let server = Server::echoing().await;
    let (alice, bob) = crew(&server).await;
    let path = |start: u64| format!("/transcription/conversation/c-crew/start/{start}");
    server.put(&alice, "c-crew", 1, wav("send help now")).await.expect(201);
    server.put(&alice, "c-crew", 2, wav("fail no model for this")).await.expect(201);
    server.put(&alice, "c-crew", 3, wav("")).await.expect(201);
    server.settle().await;
    server.put(&alice, "c-crew", 4, wav("never comes")).await.expect(201);
    let text = server.get(&bob, &path(1)).await.expect(200);
    assert_eq!(
        (text.header("content-type"), text.text().as_str()),
        ("text/plain; charset=utf-8", "send help now")
    );
    for accept in
        ["application/json", "text/html, application/json;q=0.9", "text/plain;q=0.1,application/json"]
    {
        let answer = server.call("GET", &path(1)).by(&bob).header("accept", accept).send().await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let transcript = answer.json();
        assert_eq!(
            (&transcript["text"], &transcript["model"], &transcript["language"]),
            (&json!("send help now"), &json!("test/echo"), &json!("en"))
        );
        assert_eq!(
            transcript["words"][1],
            json!({"word": "help", "start_ms": 100, "end_ms": 180, "confidence": 1.0})
        );
    }
    let failed = server.get(&bob, &path(2)).await;
    assert_eq!(failed.problem(404), "not_transcribed");
    assert!(failed.json()["detail"].as_str().unwrap().contains("no model for this"));
    assert_eq!(server.get(&bob, &path(3)).await.expect(200).text(), "");
    let pending = server.get(&bob, &path(4)).await.expect(202);
    assert_eq!((pending.header("retry-after"), pending.body.len()), ("1", 0));
    assert_eq!(server.get(&bob, &path(9)).await.problem(404), "not_found");
    let scanned = server.get(&bob, "/transcription/conversation/c-crew/scan").await.expect(200).json();
    assert_eq!(scanned["starts"], json!([1, 3]));
    let stored = server.get(&bob, "/store/transcription/c-crew/start/1").await.expect(200);
    assert_eq!(
        (stored.header("content-type"), &stored.json()["text"]),
        ("application/json", &json!("send help now"))
    );
}

#[tokio::test]
async fn transcription_that_is_off_says_so() {
    let server = Server::plain().await;
    let (alice, _) = crew(&server).await;
    server.put(&alice, "c-crew", 1, wav("hello")).await.expect(201);
    let off = server.get(&alice, "/transcription/conversation/c-crew/start/1").await;
    assert_eq!(off.problem(404), "transcription_off");
    let ready = server.call("GET", "/readyz").send().await.expect(200).json();
    assert_eq!((&ready["status"], &ready["speech"]["transcription"]), (&json!("ready"), &json!("off")));
    assert_eq!(ready["speech"]["reason"], "this test has none");
    let list = server.get(&alice, "/bite/conversation/c-crew").await.expect(200).json();
    assert_eq!(list["bites"][0]["transcript"], "off");
}

/// Search finds what the caller may hear, newest first, page by page; what is shown as HTML is escaped.
#[tokio::test]
async fn search_finds_what_the_caller_may_hear() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Some(crate::common::embedded(dir.path()).await);
    for stores in [None, embedded] {
        let server =
            Server::start(Setup { stores, transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await;
        let (alice, bob) = crew(&server).await;
        server.conversation("c-alone", &alice, &[]).await;
        for start in 1..=5 {
            server.put(&alice, "c-crew", start, wav(&format!("send help number {start}"))).await.expect(201);
            server.settle().await;
        }
        server.put(&alice, "c-alone", 1, wav("send help <b>alone</b> & \"now\"")).await.expect(201);
        server.settle().await;
        let search = async |who: &Person, query: &str| -> Answer {
            server.get(who, &format!("/transcription/search?{query}")).await
        };
        let found = async |who: &Person, query: &str| -> Vec<(String, u64)> {
            let hits = search(who, query).await.expect(200).json()["hits"].take();
            let hit =
                |h: &Value| (h["conversation"].as_str().unwrap().to_owned(), h["start"].as_u64().unwrap());
            hits.as_array().unwrap().iter().map(hit).collect()
        };
        let crew = |starts: &[u64]| starts.iter().map(|s| ("c-crew".to_owned(), *s)).collect::<Vec<_>>();
        assert_eq!(found(&bob, "q=help").await, crew(&[5, 4, 3, 2, 1]));
        assert_eq!(found(&alice, "q=HELP").await.len(), 6);
        assert_eq!(found(&alice, "q=help&conversation=c-crew").await.len(), 5);
        assert_eq!(found(&bob, "q=alone").await, []);
        assert_eq!(search(&bob, "q=alone&conversation=c-alone").await.problem(403), "denied");
        assert_eq!(found(&bob, "q=%22help%20number%203%22").await, crew(&[3]));
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = search(&bob, &format!("q=help&limit=2{cursor}")).await.expect(200).json();
            let hits = page["hits"].as_array().unwrap();
            assert!(hits.len() <= 2);
            pages.extend(hits.iter().map(|h| h["start"].as_u64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, [5, 4, 3, 2, 1]);
        let hit = search(&alice, "q=alone").await.json()["hits"][0].take();
        assert_eq!(hit["snippet"], "send help <b>alone</b> & \"now\"");
        assert_eq!(
            hit["highlighted"],
            "send help &lt;b&gt;<mark>alone</mark>&lt;/b&gt; &amp; &quot;now&quot;"
        );
        assert_eq!(hit["url"], "/bite/conversation/c-alone/start/1");
        assert_eq!((&hit["user"], &hit["client"]), (&json!("u-alice"), &json!("phone")));
        server.get(&alice, hit["url"].as_str().unwrap()).await.expect(200);
        for none in
            ["q=", "q=%00", "q=%22", "q=*", "q=-", "q=OR", "q=%27%3B%20DROP%20TABLE", "q=%FF", "q=zebra"]
        {
            assert_eq!(found(&bob, none).await, [], "{none}");
        }
        for bad in [
            "",
            "limit=1",
            "q=help&limit=x",
            "q=help&cursor=x",
            "q=help&cursor=-1",
            "q=help&conversation=a%20b",
            "q=help&conversation=",
        ] {
            assert_eq!(search(&bob, bad).await.problem(400), "malformed", "{bad}");
        }
    }
}

/// Somebody removed is out within 100 ms on every read, though they were let in a moment ago.
#[tokio::test]
async fn removed_member_is_out_of_reads_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Some(crate::common::embedded(dir.path()).await);
    for stores in [None, embedded] {
        let server =
            Server::start(Setup { stores, transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await;
        let (alice, bob) = crew(&server).await;
        server.put(&alice, "c-crew", 5, wav("hello")).await.expect(201);
        server.settle().await;
        let paths = [
            AT_5,
            "/bite/conversation/c-crew",
            "/transcription/conversation/c-crew/start/5",
            "/store/bite/c-crew/scan",
        ];
        let mut quickest = Duration::MAX;
        for _ in 0..3 {
            for path in paths {
                server.get(&bob, path).await.expect(200);
            }
            let crew = conversation("c-crew");
            assert!(server.stores.directory.remove_member(&crew, &bob.identity.user).await.unwrap());
            let removed = Instant::now();
            eventually("bob is out", Duration::from_secs(5), async || {
                server.get(&bob, AT_5).await.status == 403
            })
            .await;
            quickest = quickest.min(removed.elapsed());
            for path in paths {
                server.get(&bob, path).await.expect(403);
                server.get(&alice, path).await.expect(200);
            }
            let found = server.get(&bob, "/transcription/search?q=hello").await.expect(200).json();
            assert_eq!(found["hits"], json!([]));
            server.stores.directory.put_member(&crew, &bob.identity.user, Role::Listener).await.unwrap();
            eventually("bob is in", Duration::from_secs(5), async || {
                server.get(&bob, AT_5).await.status == 200
            })
            .await;
        }
        // A busy machine may be late once, but not every time.
        assert!(quickest < Duration::from_millis(100), "{quickest:?}");
    }
}
