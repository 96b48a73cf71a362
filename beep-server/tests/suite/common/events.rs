//! The reading end of an event stream: blocks, fields, deadlines.

use super::PATIENCE;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Sse {
    pub id: u64,
    /// The `event` field; empty for ordinary events.
    pub event: String,
    pub data: Value,
}

impl Sse {
    /// The `type` in its data.
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

/// An open stream.
pub struct Events {
    body: Incoming,
    buffer: String,
}

impl Events {
    /// Opens a stream and reads its first block, so that it is connected when this returns.
    pub async fn open(address: SocketAddr, token: &str, query: &str, last_id: Option<u64>) -> Self {
        let opening = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
            tokio::spawn(async move {
                connection.await.ok();
            });
            let mut request = http::Request::builder()
                .uri(format!("/subscribe{query}"))
                .header("host", address.to_string())
                .header("authorization", format!("Bearer {token}"));
            if let Some(id) = last_id {
                request = request.header("last-event-id", id);
            }
            let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            assert_eq!(response.headers()["cache-control"], "no-store");
            let mut events = Self { body: response.into_body(), buffer: String::new() };
            let first = events.block().await.unwrap();
            assert!(first.starts_with("retry: "), "{first}");
            events
        };
        timeout(PATIENCE, opening).await.expect("the stream opens")
    }

    /// The next block of lines, as it came; none at the end of the stream, however it ended.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let block = block.to_owned();
                self.buffer = rest.to_owned();
                return Some(block);
            }
            let data = self.body.frame().await?.ok()?.into_data().ok()?;
            self.buffer.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next event, comments left out; none at the end. Panics when neither comes within [`PATIENCE`].
    pub async fn next(&mut self) -> Option<Sse> {
        timeout(PATIENCE, async {
            loop {
                if let Some(event) = parse(&self.block().await?) {
                    return Some(event);
                }
            }
        })
        .await
        .expect("an event or the end of the stream")
    }

    /// The next `count` events.
    pub async fn take(&mut self, count: usize) -> Vec<Sse> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }

    /// Fails when an event comes within this time.
    pub async fn assert_quiet(&mut self, time: Duration) {
        let heard = timeout(time, async {
            loop {
                if let Some(event) = parse(&self.block().await.expect("the stream goes on")) {
                    return event;
                }
            }
        });
        if let Ok(event) = heard.await {
            panic!("heard {event:?}");
        }
    }
}

/// The event of a block; none for comments. Every line must be a known field: a forged one fails the test.
fn parse(block: &str) -> Option<Sse> {
    let (mut id, mut event, mut data) = (None, String::new(), None);
    for line in block.split('\n') {
        match line.split_once(": ") {
            _ if line.starts_with(':') => {}
            Some(("id", value)) if id.is_none() => id = Some(value.parse().expect("an id is a number")),
            Some(("event", "reset")) if event.is_empty() => event = "reset".to_owned(),
            Some(("data", value)) if data.is_none() => {
                data = Some(serde_json::from_str(value).expect("data is JSON"))
            }
            _ => panic!("a line that no event has: {line:?}"),
        }
    }
    Some(Sse { data: data?, id: id.expect("every event has an id"), event })
}
