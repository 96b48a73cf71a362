//! A tiny HTTP/1.1 client with kept connections, and answers that are easy to judge.

use super::{PATIENCE, Person};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;

type Sender = SendRequest<BoxBody<Bytes, Infallible>>;

/// Connections that wait for their next request.
#[derive(Default)]
pub struct Pool(Mutex<Vec<Sender>>);

impl Pool {
    /// A kept connection that is still open, else a new one.
    async fn take(&self, address: SocketAddr) -> Sender {
        loop {
            let kept = self.0.lock().unwrap().pop();
            let Some(mut sender) = kept else { break };
            if sender.ready().await.is_ok() {
                return sender;
            }
        }
        connect(address).await
    }
}

/// A new connection, driven by a task of its own.
pub async fn connect(address: SocketAddr) -> Sender {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move {
        connection.await.ok();
    });
    sender
}

/// A request in the making.
pub struct Call<'a> {
    pool: &'a Pool,
    address: SocketAddr,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    chunked: bool,
}

impl<'a> Call<'a> {
    pub fn new(pool: &'a Pool, address: SocketAddr, method: &str, path: &str) -> Self {
        let method = method.parse().unwrap();
        Self {
            pool,
            address,
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            chunked: false,
        }
    }

    /// With this person's token.
    pub fn by(self, who: &Person) -> Self {
        self.bearer(&who.token)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Without Content-Length, in pieces.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    fn request(&self) -> Request<BoxBody<Bytes, Infallible>> {
        let mut request =
            Request::builder().method(&self.method).uri(&self.path).header("host", self.address.to_string());
        for (name, value) in &self.headers {
            // From bytes: a test may send what is no text.
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let body = if self.chunked {
            let pieces: Vec<Bytes> =
                self.body.chunks(1_000.max(self.body.len() / 7)).map(Bytes::copy_from_slice).collect();
            let frames = futures_util::stream::iter(pieces).map(|p| Ok(hyper::body::Frame::data(p)));
            BodyExt::boxed(StreamBody::new(frames))
        } else {
            BodyExt::boxed(Full::new(self.body.clone()))
        };
        request.body(body).unwrap()
    }

    /// Sends it and reads the whole answer; panics when that takes longer than [`PATIENCE`].
    pub async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        timeout(PATIENCE, self.exchange(true)).await.unwrap_or_else(|_| panic!("no answer to {what}"))
    }

    /// Sends it and reads the head of the answer only: for streams that do not end.
    pub async fn head(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        timeout(PATIENCE, self.exchange(false)).await.unwrap_or_else(|_| panic!("no answer to {what}"))
    }

    async fn exchange(self, whole: bool) -> Answer {
        let mut sender = self.pool.take(self.address).await;
        // A kept connection may have been closed by the server at this very moment: once more on a new one.
        let response = match sender.send_request(self.request()).await {
            Ok(response) => response,
            Err(_) => {
                sender = connect(self.address).await;
                sender
                    .send_request(self.request())
                    .await
                    .unwrap_or_else(|e| panic!("{} {}: {e}", self.method, self.path))
            }
        };
        let (parts, body) = response.into_parts();
        let mut answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body: Bytes::new() };
        if whole {
            answer.body = body.collect().await.unwrap().to_bytes();
            self.pool.0.lock().unwrap().push(sender);
        }
        answer
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// A header's text; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {:?}", self.body))
    }

    /// Itself, when it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// The `code` of a problem with this status, its whole shape checked.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let document = self.json();
        assert_eq!(document["status"], status);
        let code = document["code"].as_str().unwrap().to_owned();
        assert_eq!(document["type"], format!("urn:beep:problem:{code}"));
        assert!(
            !document["title"].as_str().unwrap().is_empty()
                && !document["detail"].as_str().unwrap().is_empty()
        );
        assert_eq!(status == 401, self.header("www-authenticate") == "Bearer");
        assert_eq!(status == 503, self.header("retry-after") == "1");
        code
    }
}
