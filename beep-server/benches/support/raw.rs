//! The bare HTTP engine: hyper on one thread with nothing behind it, as a child process of the bench's own binary.
//!
//! GET sends 4 KiB, PUT swallows the body, GET /events subscribes, POST /publish sends its body to the subscribers.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

/// What makes the binary of a bench be the server instead.
const ROLE: &str = "BEEP_BENCH_RAW_SERVER";
/// What a GET sends.
pub const PAGE: usize = 4_096;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A running bare server. Ends with its handle, or with the bench.
pub struct Raw {
    child: Child,
    pub address: SocketAddr,
}

impl Raw {
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { address: line.trim().parse().unwrap(), child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether this process was started to be the server; it has served then. The first thing in each bench's `main`.
pub fn served() -> bool {
    if std::env::var_os(ROLE).is_none() {
        return false;
    }
    std::thread::spawn(|| {
        // The other end is closed when the bench ends, however it ends.
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(serve());
    true
}

async fn serve() {
    let page = Bytes::from(vec![b'x'; PAGE]);
    let (events, _) = broadcast::channel::<Bytes>(1024);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr().unwrap()).and_then(|()| out.flush()).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (page, events) = (page.clone(), events.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, page.clone(), events.clone()));
            // A client that goes away is no error here.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    page: Bytes,
    events: broadcast::Sender<Bytes>,
) -> Result<Answer, hyper::Error> {
    let whole = |bytes: Bytes| Response::new(Full::new(bytes).boxed());
    if request.method() == Method::GET && request.uri().path() == "/events" {
        let stream = stream::unfold(events.subscribe(), |mut events| async move {
            let event = events.recv().await.ok()?;
            Some((Ok(Frame::data(event)), events))
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(stream)));
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        return Ok(response);
    }
    if request.method() == Method::GET {
        return Ok(whole(page));
    }
    let publish = request.uri().path() == "/publish";
    let body = request.into_body().collect().await?.to_bytes();
    if publish {
        // Without subscribers there is nobody to tell.
        drop(events.send([b"data: ", &body[..], b"\n\n"].concat().into()));
    }
    Ok(whole(Bytes::new()))
}
