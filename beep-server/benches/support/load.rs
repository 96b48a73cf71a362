//! The generator: closed-loop requests on keep-alive connections, one thread, the same for every server.

use super::running::installation::runtime;
use futures_util::future::join_all;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::unconstrained;

/// How much load, and where.
#[derive(Clone, Copy)]
pub struct Load {
    pub address: SocketAddr,
    pub connections: usize,
    /// No request is begun after this.
    pub time: Duration,
    /// No more requests than this.
    pub most: u64,
}

impl Load {
    pub fn new(address: SocketAddr, connections: usize, time: Duration) -> Self {
        Self { address, connections, time, most: u64::MAX }
    }
}

/// What came back.
#[derive(Default)]
pub struct Outcome {
    pub seconds: f64,
    /// Answers that were as expected, and others.
    pub good: u64,
    pub wrong: u64,
    /// Connections that broke.
    pub broken: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub latencies_us: Vec<f64>,
}

/// Runs the load. `make` writes the n-th request, numbered from `first`; `expected` looks at number, status and body.
pub fn run(
    load: Load,
    first: u64,
    make: impl Fn(u64, &mut Vec<u8>),
    mut expected: impl FnMut(u64, u16, &[u8]) -> bool,
) -> Outcome {
    let next = std::cell::Cell::new(first);
    let state = RefCell::new((Outcome::default(), &mut expected));
    let begun = Instant::now();
    let one = async || {
        let Ok(mut connection) = Connection::open(load.address).await else {
            state.borrow_mut().0.broken += 1;
            return;
        };
        let mut request = Vec::new();
        while begun.elapsed() < load.time && next.get() - first < load.most {
            let n = next.replace(next.get() + 1);
            request.clear();
            make(n, &mut request);
            let sent = Instant::now();
            let answer = connection.exchange(&request).await;
            let mut state = state.borrow_mut();
            let (outcome, expected) = &mut *state;
            match answer {
                Ok((status, body)) => {
                    outcome.latencies_us.push(sent.elapsed().as_nanos() as f64 / 1e3);
                    *outcome.statuses.entry(status).or_default() += 1;
                    if expected(n, status, body) { outcome.good += 1 } else { outcome.wrong += 1 }
                }
                Err(_) => {
                    outcome.broken += 1;
                    return;
                }
            }
        }
    };
    // One task without tokio's fairness: the generator shall cost as little as it can.
    runtime().block_on(unconstrained(join_all((0..load.connections).map(|_| one()))));
    let (mut outcome, _) = state.into_inner();
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome
}

/// One connection that knows just enough HTTP.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8 << 10) })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        loop {
            self.buffer.reserve(4 << 10);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = answer(&self.buffer)? {
                return Ok((answer.status, &self.buffer[answer.body..answer.end]));
            }
        }
    }
}

/// Where the parts of an answer lie.
pub struct Answer {
    pub status: u16,
    pub body: usize,
    pub end: usize,
}

/// The answer at the beginning of these bytes; none while it is not complete. Never more than one: the next request
/// is sent only after it.
pub fn answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let body = head + 4;
    let answer =
        Answer { status: status(&bytes[..head])?, body, end: body + content_length(&bytes[..head])? };
    Ok((bytes.len() >= answer.end).then_some(answer))
}

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head.get(9..12).and_then(|d| std::str::from_utf8(d).ok());
    digits.and_then(|d| d.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    for line in head.split(|b| *b == b'\n') {
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let value = std::str::from_utf8(&line[NAME.len()..]).ok().and_then(|v| v.trim().parse().ok());
            return value.ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
    Ok(0)
}
