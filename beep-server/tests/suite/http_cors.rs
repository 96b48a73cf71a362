//! Which web pages may read answers (C14, R25): exactly those of the list, on every answer, and never by a wildcard.

use crate::common::{Answer, Person, Server, raw, wav};
use beep_core::ErrorKind;
use beep_server::assemble::assemble;
use beep_server::config::{Config, Http};
use std::time::Duration;

const LIST: &str =
    "https://app.example.com, http://localhost:3000,https://app.example.com:8443, http://[::1]:5173";
const LISTED: [&str; 4] =
    ["https://app.example.com", "http://localhost:3000", "https://app.example.com:8443", "http://[::1]:5173"];

/// One letter, one port, one scheme beside a listed origin, and whatever browsers send for pages without one.
const OTHERS: [&str; 49] = [
    "",
    " ",
    "*",
    "null",
    "Null",
    "undefined",
    "file://",
    "https://",
    "https://*",
    "https://*.example.com",
    "http://app.example.com",
    "ws://app.example.com",
    "wss://app.example.com",
    "HTTPS://app.example.com",
    "https://APP.example.com",
    "https://app.example.com/",
    "https://app.example.com/path",
    "https://app.example.com?",
    "https://app.example.com#",
    "https://app.example.com.",
    "https://app.example.com.evil.example",
    "https://app.example.comevil.example",
    "https://app.example.co",
    "https://app.example.com,",
    "https://app.example.com, https://evil.example",
    "https://app.example.com https://evil.example",
    "https://evil.example, https://app.example.com",
    "https://app.example.com@evil.example",
    "https://evil.example@app.example.com",
    "https://user:pass@app.example.com",
    "https://evil.example/https://app.example.com",
    "https://evil.example#https://app.example.com",
    "https://evil.example?https://app.example.com",
    "https://evilapp.example.com",
    "https://evil.app.example.com",
    "https://example.com",
    "https://xapp.example.com",
    "https://app-example.com",
    "https://appxexample.com",
    "https://app.example.com:443",
    "https://app.example.com:80",
    "https://app.example.com:84433",
    "https://app.example.com:8443.evil.example",
    "http://localhost",
    "http://localhost:3001",
    "http://localhost:30000",
    "http://127.0.0.1:3000",
    "http://[::1]",
    "app.example.com",
];

async fn listening(list: &str) -> (Server, Person) {
    Server::hers(Http { cors_origins: list.to_owned(), max_body: 2_000, ..Http::default() }).await
}

/// The CORS headers of an answer, without `Vary`.
fn told(answer: &Answer) -> Vec<&str> {
    answer.headers.keys().map(|name| name.as_str()).filter(|n| n.starts_with("access-control-")).collect()
}

/// What every answer to a listed origin says, and what none ever does.
#[track_caller]
fn assert_granted(answer: &Answer, origin: &str) {
    let granted: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
    assert_eq!(granted, [origin], "{}", answer.status);
    assert_eq!(answer.header("vary").to_lowercase(), "origin");
    assert!(!answer.headers.contains_key("access-control-allow-credentials"));
}

fn words(list: &str) -> Vec<String> {
    let mut words: Vec<_> = list.split(',').map(|word| word.trim().to_lowercase()).collect();
    words.sort();
    words
}

/// C14: of 53 origins the four that are listed get their own name back, the others nothing, asked before or not.
#[tokio::test]
async fn c14_cors_never_wildcard() {
    let (server, alice) = listening(LIST).await;
    let path = "/bite/conversation/c-crew";
    for origin in OTHERS {
        let read = server.call("GET", path).by(&alice).header("origin", origin).send().await.expect(200);
        assert_eq!(told(&read), [""; 0], "{origin:?}");
        let before = server
            .call("OPTIONS", path)
            .header("origin", origin)
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization, x-user-claim");
        let before = before.send().await.expect(204);
        assert_eq!(told(&before), [""; 0], "{origin:?}");
        // What a cache keeps of it must not be given to a page that is let in.
        assert_eq!((read.header("vary"), before.header("vary")), ("origin", "origin"), "{origin:?}");
    }
    for origin in LISTED {
        let read = server.call("GET", path).by(&alice).header("origin", origin).send().await.expect(200);
        assert_granted(&read, origin);
        assert_eq!(
            words(read.header("access-control-expose-headers")),
            ["content-range", "etag", "location", "retry-after", "x-request-id"]
        );
        let before = server.call("OPTIONS", path).header("origin", origin).send().await.expect(204);
        assert_granted(&before, origin);
        assert!(before.body.is_empty());
    }
    // Two opinions about where the page is from.
    for (one, other) in [(LISTED[0], LISTED[1]), (LISTED[0], "https://evil.example"), ("null", LISTED[0])] {
        let read = server.call("GET", path).by(&alice).header("origin", one).header("origin", other);
        assert_eq!(told(&read.send().await.expect(200)), [""; 0], "{one} {other}");
    }
    // No text at all.
    let odd = server.call("GET", path).by(&alice).header("origin", "https://app.example.com\u{e4}");
    assert_eq!(told(&odd.send().await.expect(200)), [""; 0]);
    // And who is no page is told nothing.
    assert_eq!(told(&server.get(&alice, path).await.expect(200)), [""; 0]);
}

/// Before it sends what is not plain, a browser asks; nobody signs in for that.
#[tokio::test]
async fn preflights_say_what_a_page_may_send() {
    let (server, _) = listening(LIST).await;
    for path in ["/publish/conversation/c-crew", "/auth", "/subscribe", "/nowhere", "/login/verify"] {
        let asked = server
            .call("OPTIONS", path)
            .header("origin", LISTED[0])
            .header("access-control-request-method", "DELETE")
            .header("access-control-request-headers", "x-user-claim, x-forwarded-for, cookie");
        let answer = asked.send().await.expect(204);
        assert_granted(&answer, LISTED[0]);
        let methods = words(answer.header("access-control-allow-methods"));
        assert_eq!(methods, ["delete", "get", "head", "options", "patch", "post", "put"]);
        // What was asked for makes no difference: the answer names what the server takes, never what it was told.
        assert_eq!(
            words(answer.header("access-control-allow-headers")),
            [
                "accept",
                "authorization",
                "content-type",
                "idempotency-key",
                "last-event-id",
                "range",
                "x-request-id"
            ]
        );
        assert_eq!(answer.header("access-control-max-age"), "600");
    }
}

/// A page must be able to read why something failed, too.
#[tokio::test]
async fn errors_and_streams_can_be_read_by_the_page() {
    let (server, alice) = listening(LIST).await;
    server.put(&alice, "c-crew", 5, wav("x")).await.expect(201);
    let bob = server.person("bob").await;
    let own = |method: &str, path: &str| server.call(method, path).header("origin", LISTED[0]).by(&alice);
    let put = "/publish/conversation/c-crew/start/6";
    let answers = [
        (401, server.call("GET", "/auth").header("origin", LISTED[0]).send().await),
        (
            403,
            server.call("GET", "/bite/conversation/c-crew").header("origin", LISTED[0]).by(&bob).send().await,
        ),
        (404, own("GET", "/nowhere").send().await),
        (404, own("GET", "/store/bite/c-crew/start/99").send().await),
        (405, own("DELETE", "/subscribe").send().await),
        (413, own("PUT", put).body(wav(&"x".repeat(9_000))).send().await),
        (415, own("PUT", put).body(crate::common::garbage(99)).send().await),
        (400, own("GET", "/bite/conversation/c-crew/scan?from=x").send().await),
        (201, own("PUT", put).body(wav("y")).send().await),
        (206, own("GET", "/store/bite/c-crew/start/5").header("range", "bytes=0-3").send().await),
        (200, own("GET", "/subscribe").head().await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status);
        assert_granted(&answer, LISTED[0]);
        assert!(answer.header("access-control-expose-headers").contains("x-request-id"));
    }
}

/// Unless origins are listed, nothing is said at all; a list that no browser could match lets nobody in.
#[tokio::test]
async fn nobody_is_let_in_by_default_or_by_a_wrong_list() {
    for list in ["", " , ,", "*", "null", "https://*", "https://*.example.com", "https://app.example.com/"] {
        let (server, alice) = listening(list).await;
        for origin in LISTED.into_iter().chain(["*", "null", "https://*", "https://app.example.com/"]) {
            for method in ["GET", "OPTIONS"] {
                let answer = server.call(method, "/auth").by(&alice).header("origin", origin).send().await;
                assert_eq!(told(&answer), [""; 0], "{list:?} {origin} {method}");
            }
        }
    }
    let (server, _) = listening("").await;
    let plain = server.call("OPTIONS", "/auth").header("origin", LISTED[0]).send().await.expect(204);
    assert!(!plain.headers.contains_key("vary"));
}

/// A list with what is no origin is refused at the start, with what is wrong in it.
#[tokio::test]
async fn a_wrong_list_is_named_at_the_start() {
    for wrong in ["*", "null", "https://app.example.com/", "app.example.com", "https://*.example.com"] {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: dir.path().display().to_string(), ..Config::default() };
        config.http.cors_origins = format!("https://good.example, {wrong}");
        let refused = assemble(&config).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.message().contains(&format!("`{wrong}`")), "{refused}");
    }
}

/// Nothing that stands in `Origin` can add a header of its own to an answer.
#[tokio::test]
async fn origins_cannot_forge_headers() {
    let (server, _) = listening(LIST).await;
    for origin in
        ["https://app.example.com\tx: y", "https://app.example.com\r x: y", "https://app.example.com\nx: y"]
    {
        let bytes =
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\nconnection: close\r\n\r\n");
        let reply = raw::exchange(server.address, bytes.as_bytes(), Duration::from_millis(500)).await;
        assert!(!reply.text.to_lowercase().contains("x: y"), "{}", reply.text);
    }
}
