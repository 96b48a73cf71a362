//! The edge of the server on bare sockets: smuggled requests, clients that stall, pipelines (C10, R12, R26).

use crate::common::{Server, raw, wav};
use beep_server::config::Http;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// R26: no bytes make two requests of what another server might read as one, or store what it might not see.
#[tokio::test]
async fn smuggled_requests_are_never_answered() {
    let (server, alice) = Server::hers(Http::default()).await;
    let second = format!("GET /auth HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", alice.token);
    let head = "POST /nowhere HTTP/1.1\r\nhost: x\r\n";
    let n = second.len();
    let cases: Vec<(&str, String)> = vec![
        (
            "CL.TE",
            format!("{head}content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{second}", n + 5),
        ),
        ("TE.CL", format!("{head}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{second}")),
        (
            "CL 0 and TE",
            format!("{head}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{second}"),
        ),
        ("two lengths", format!("{head}content-length: 0\r\ncontent-length: {n}\r\n\r\n{second}")),
        (
            "two lengths, the larger first",
            format!("{head}content-length: {n}\r\ncontent-length: 0\r\n\r\n{second}"),
        ),
        ("a list of lengths", format!("{head}content-length: 0, {n}\r\n\r\n{second}")),
        ("signed length", format!("{head}content-length: +0\r\n\r\n{second}")),
        ("negative length", format!("{head}content-length: -1\r\n\r\n{second}")),
        ("hex length", format!("{head}content-length: 0x0\r\n\r\n{second}")),
        ("empty length", format!("{head}content-length:\r\n\r\n{second}")),
        ("length with junk", format!("{head}content-length: 0 x\r\n\r\n{second}")),
        ("huge length", format!("{head}content-length: 18446744073709551616\r\n\r\n{second}")),
        ("unknown coding", format!("{head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{second}")),
        ("identity", format!("{head}transfer-encoding: identity\r\n\r\n{second}")),
        ("chunked not last", format!("{head}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n{second}")),
        (
            "chunked then identity",
            format!(
                "{head}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n{second}"
            ),
        ),
        ("coding in quotes", format!("{head}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n{second}")),
        (
            "coding with a tab and junk",
            format!("{head}transfer-encoding:\tx chunked y\r\n\r\n0\r\n\r\n{second}"),
        ),
        (
            "coding in HTTP/1.0",
            format!(
                "POST /nowhere HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{second}"
            ),
        ),
        ("space before the colon", format!("{head}content-length : 0\r\n\r\n{second}")),
        (
            "space before the coding's colon",
            format!("{head}transfer-encoding : chunked\r\n\r\n0\r\n\r\n{second}"),
        ),
        ("folded header", format!("{head}x: y\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\n{second}")),
        ("folded length", format!("{head}content-length:\r\n 0\r\n\r\n{second}")),
        ("leading space", format!("POST /nowhere HTTP/1.1\r\n host: x\r\n\r\n{second}")),
        ("NUL in a value", format!("{head}x: a\0b\r\n\r\n{second}")),
        ("NUL in a name", format!("{head}x\0: a\r\n\r\n{second}")),
        ("bare CR in a value", format!("{head}x: a\rcontent-length: 5\r\n\r\n{second}")),
        ("bare CR ends the line", format!("POST /nowhere HTTP/1.1\rhost: x\r\r{second}")),
        (
            "chunk size in hex with sign",
            format!("{head}transfer-encoding: chunked\r\n\r\n+0\r\n\r\n{second}"),
        ),
        ("chunk size with 0x", format!("{head}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{second}")),
        (
            "chunk size too large",
            format!("{head}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n{second}"),
        ),
        (
            "chunk without its end",
            format!("{head}transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{second}"),
        ),
        ("chunk size missing", format!("{head}transfer-encoding: chunked\r\n\r\n\r\n\r\n{second}")),
        ("no version", format!("POST /nowhere\r\nhost: x\r\n\r\n{second}")),
        ("HTTP/0.9", format!("GET /nowhere\r\n\r\n{second}")),
        ("HTTP/2.0 in a line", format!("GET /nowhere HTTP/2.0\r\n\r\n{second}")),
        ("HTTP/1.2", format!("GET /nowhere HTTP/1.2\r\nhost: x\r\n\r\n{second}")),
        ("two spaces", format!("GET  /nowhere HTTP/1.1\r\nhost: x\r\n\r\n{second}")),
        ("a space in the path", format!("GET /no where HTTP/1.1\r\nhost: x\r\n\r\n{second}")),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &second),
    ];
    for (what, bytes) in cases {
        let reply = raw::exchange(server.address, bytes.as_bytes(), Duration::from_secs(3)).await;
        let statuses = reply.statuses();
        assert!(
            statuses.iter().all(|s| *s != 200),
            "{what}: the second request was answered: {}",
            reply.text
        );
        assert!(statuses.len() <= 1 && reply.closed, "{what}: {}", reply.text);
        assert!(matches!(statuses.first(), None | Some(400 | 404 | 431 | 505)), "{what}: {}", reply.text);
    }
    // A lone line feed may end a line (RFC 9112, 2.2): it is read as one, everywhere, so nothing hides behind it.
    let bare = format!("GET /nowhere HTTP/1.1\nhost: x\ncontent-length: {n}\n\n{second}");
    let reply = raw::exchange(server.address, bare.as_bytes(), Duration::from_millis(500)).await;
    assert!(reply.statuses().iter().all(|s| *s != 200), "{}", reply.text);
    server.assert_alive().await;
}

/// Requests that follow each other properly on one connection are each answered, in order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (server, alice) = Server::hers(Http::default()).await;
    let body = wav("x");
    let mut bytes = Vec::new();
    for start in 1..=5 {
        let put = format!(
            "PUT /publish/conversation/c-crew/start/{start} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            alice.token,
            body.len()
        );
        bytes.extend_from_slice(put.as_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    bytes.extend_from_slice(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let reply = raw::exchange(server.address, &bytes, Duration::from_secs(5)).await;
    assert_eq!(reply.statuses(), [201, 404, 201, 404, 201, 404, 201, 404, 201, 404, 200]);
    assert!(reply.closed);
}

/// C10, R12: sockets that say nothing, half a head, a head or a body byte by byte are closed; others are served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalling_clients_are_cut_off() {
    let http = Http { header_timeout_s: 1, body_timeout_s: 2, write_timeout_s: 2, ..Http::default() };
    let (server, alice) = Server::hers(http).await;
    let address = server.address;
    let put = format!(
        "PUT /publish/conversation/c-crew/start/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 9999\r\n\r\n",
        alice.token
    );
    let chunked = put.replace("content-length: 9999", "transfer-encoding: chunked");
    let second = Duration::from_secs(1);
    let most = Duration::from_secs(8);
    let stalls = [
        tokio::spawn(raw_open(address, vec![vec![]], second, most)),
        tokio::spawn(raw_open(address, vec![b"GET /healthz HT".to_vec(), vec![]], second, most)),
        tokio::spawn(raw_open(address, vec![b"PRI * HTT".to_vec(), vec![]], second, most)),
        tokio::spawn(raw_open(
            address,
            vec![b"GET / HTTP/1.1\r\nx: ".to_vec(), b"y".to_vec()],
            second / 3,
            most,
        )),
        tokio::spawn(raw_open(address, vec![b"\r\n".to_vec()], second / 3, most)),
        tokio::spawn(raw_open(address, vec![put.clone().into_bytes(), vec![]], second, most)),
        tokio::spawn(raw_open(address, vec![put.into_bytes(), b"x".to_vec()], second / 3, most)),
        tokio::spawn(raw_open(address, vec![chunked.into_bytes(), b"1\r\nx\r\n".to_vec()], second / 3, most)),
        // Between two requests as well.
        tokio::spawn(raw_open(
            address,
            vec![b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), vec![]],
            second,
            most,
        )),
    ];
    for _ in 0..20 {
        server.get(&alice, "/bite/conversation/c-crew").await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (n, stall) in stalls.into_iter().enumerate() {
        let open = stall.await.unwrap();
        assert!(open >= Duration::from_millis(800), "stall {n} was not given its time: {open:?}");
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), 0);
}

async fn raw_open(
    address: std::net::SocketAddr,
    pieces: Vec<Vec<u8>>,
    pause: Duration,
    most: Duration,
) -> Duration {
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    raw::kept_open(address, &pieces, pause, most).await
}

/// A client that asks for much and takes nothing is cut off and keeps no place.
#[tokio::test]
async fn reader_that_takes_nothing_is_cut_off() {
    let http = Http { write_timeout_s: 1, max_connections: 2, ..Http::default() };
    let (server, alice) = Server::hers(http).await;
    let body = wav(&"x".repeat(4_000_000));
    server.put(&alice, "c-crew", 1, body).await.expect(201);
    let mut greedy = TcpStream::connect(server.address).await.unwrap();
    let get = format!(
        "GET /store/bite/c-crew/start/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        alice.token
    );
    for _ in 0..10 {
        greedy.write_all(get.as_bytes()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut sink = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), greedy.read_to_end(&mut sink)).await;
    assert!(end.is_ok(), "still connected");
    // Both places are free again, the one that the test's own calls keep open aside.
    server.get(&alice, "/store/bite/c-crew/scan").await.expect(200);
    let mut next = TcpStream::connect(server.address).await.unwrap();
    next.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    next.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(sink.len() < 80_000_000, "it was given everything");
}

/// A body that ends too early is a bad request at most, and nothing is stored.
#[tokio::test]
async fn cut_off_bodies_are_not_stored() {
    let (server, alice) = Server::hers(Http::default()).await;
    let body = wav("whole");
    for keep in [0, 1, 10, body.len() - 1] {
        let head = format!(
            "PUT /publish/conversation/c-crew/start/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n",
            alice.token
        );
        let declared =
            [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), &body[..keep]].concat();
        let chunked = [
            format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len()).as_bytes(),
            &body[..keep],
        ]
        .concat();
        for bytes in [declared, chunked] {
            let reply = raw::exchange_and_close(server.address, &bytes, Duration::from_secs(3)).await;
            assert!(reply.closed && matches!(reply.status(), 0 | 400), "{}", reply.text);
        }
    }
    assert_eq!(server.stores.bites.tail().await.unwrap(), 0);
    server.put(&alice, "c-crew", 1, body).await.expect(201);
}
