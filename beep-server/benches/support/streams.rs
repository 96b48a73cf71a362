//! Subscribers and a publisher in one thread: when was each event sent, when did each reader have it.
//!
//! Events carry `"start":<n>`, which says which one they are, so that latencies run from just before the publish
//! request to the arrival of the event on one clock, whatever server is between.

use super::load::{answer, find};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, LocalSet};

/// Where an event says which one it is.
const MARK: &[u8] = b"\"start\":";

/// Readers of streams, running on the current [`LocalSet`].
pub struct Readers {
    tasks: JoinSet<()>,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// When each reader had its response head.
    heads: RefCell<Vec<Duration>>,
    /// When each event was sent; the first is number `first`.
    sent: RefCell<Vec<Instant>>,
    first: Cell<u64>,
    latencies_us: RefCell<Vec<f64>>,
    last: Cell<Option<Instant>>,
    /// Events that came twice, out of order, or without having been sent.
    disorder: Cell<u64>,
    ended: Cell<u64>,
}

/// What became of the events of one phase.
pub struct Delivered {
    pub latencies_us: Vec<f64>,
    /// From the first publish request to the last arrival.
    pub seconds: f64,
    pub disorder: u64,
    /// Streams that the server ended so far.
    pub ended: u64,
}

/// Runs something that uses streams.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = super::running::installation::runtime();
    LocalSet::new().block_on(&runtime, work)
}

impl Readers {
    /// Connects all at once; `requests` are the subscribe requests. Waits for every response head, at most 30 s.
    pub async fn connect(address: SocketAddr, requests: impl Iterator<Item = String>) -> Self {
        let shared = Rc::new(Shared::default());
        let mut tasks = JoinSet::new();
        let begun = Instant::now();
        let mut wanted = 0;
        for request in requests {
            wanted += 1;
            let shared = shared.clone();
            tasks.spawn_local(async move {
                // A stream that cannot be opened shows as a missing head; one that breaks as an ended stream.
                drop(read(address, &request, begun, &shared).await);
                shared.ended.set(shared.ended.get() + 1);
            });
        }
        let readers = Self { tasks, shared };
        readers.until(Duration::from_secs(30), |s| s.heads.borrow().len() == wanted).await;
        readers
    }

    /// How many had their response head within this time after connecting began.
    pub fn answered_within(&self, time: Duration) -> usize {
        self.shared.heads.borrow().iter().filter(|head| **head <= time).count()
    }

    pub fn count(&self) -> usize {
        self.shared.heads.borrow().len()
    }

    /// Begins a phase whose events are numbered from `first`.
    pub fn begin(&self, first: u64) {
        self.shared.first.set(first);
        self.shared.sent.borrow_mut().clear();
        self.shared.latencies_us.borrow_mut().clear();
        self.shared.last.set(None);
    }

    /// Notes that the next event of the phase is sent now; answers its number.
    pub fn sending(&self) -> u64 {
        let mut sent = self.shared.sent.borrow_mut();
        sent.push(Instant::now());
        self.shared.first.get() + sent.len() as u64 - 1
    }

    /// Waits until each of `readers` readers had every event of the phase, at most so long.
    pub async fn delivered(&self, readers: usize, patience: Duration) -> Delivered {
        let wanted = self.shared.sent.borrow().len() * readers;
        self.until(patience, |s| s.latencies_us.borrow().len() >= wanted).await;
        let begun = self.shared.sent.borrow()[0];
        Delivered {
            latencies_us: self.shared.latencies_us.take(),
            seconds: self.shared.last.get().map_or(f64::INFINITY, |last| (last - begun).as_secs_f64()),
            disorder: self.shared.disorder.get(),
            ended: self.shared.ended.get(),
        }
    }

    async fn until(&self, patience: Duration, done: impl Fn(&Shared) -> bool) {
        let deadline = Instant::now() + patience;
        while !done(&self.shared) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends all streams from this side.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn read(address: SocketAddr, request: &str, begun: Instant, shared: &Shared) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut pending = Vec::with_capacity(1 << 10);
    loop {
        if stream.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
        if let Some(end) = find(&pending, b"\r\n\r\n") {
            if !pending.starts_with(b"HTTP/1.1 200") {
                return Err(io::ErrorKind::InvalidData.into());
            }
            shared.heads.borrow_mut().push(begun.elapsed());
            pending.drain(..end);
            break;
        }
    }
    let mut before = None;
    loop {
        let used = events(&pending, &mut before, shared);
        pending.drain(..used);
        if stream.read_buf(&mut pending).await? == 0 {
            return Ok(());
        }
    }
}

/// Notes every event in this text; answers how much of it is done with.
fn events(text: &[u8], before: &mut Option<u64>, shared: &Shared) -> usize {
    let now = Instant::now();
    let mut used = 0;
    while let Some(mark) = find(&text[used..], MARK) {
        let digits = &text[used + mark + MARK.len()..];
        let Some(length) = digits.iter().position(|b| !b.is_ascii_digit()) else { return used };
        let number: u64 =
            std::str::from_utf8(&digits[..length]).ok().and_then(|d| d.parse().ok()).unwrap_or(0);
        used += mark + MARK.len() + length;
        let sent = number.checked_sub(shared.first.get());
        let sent = sent.and_then(|n| shared.sent.borrow().get(n as usize).copied());
        match sent {
            Some(sent) if before.is_none_or(|before| before < number) => {
                shared.latencies_us.borrow_mut().push((now - sent).as_nanos() as f64 / 1e3);
                shared.last.set(Some(now));
                *before = Some(number);
            }
            _ => shared.disorder.set(shared.disorder.get() + 1),
        }
    }
    // The beginning of a mark may be at the end.
    used.max(text.len().saturating_sub(MARK.len() - 1))
}

/// A subscriber that takes its response head and then reads nothing, through the smallest window there is.
pub async fn stall(address: SocketAddr, request: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4 << 10)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0u8; 12];
    stream.read_exact(&mut head).await?;
    if &head != b"HTTP/1.1 200" {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(stream)
}

/// One connection for publish requests.
pub struct Publisher {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Publisher {
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and waits for its answer, which must be 200 or 201.
    pub async fn publish(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = answer(&self.buffer)? {
                assert!(matches!(answer.status, 200 | 201), "{}", String::from_utf8_lossy(&self.buffer));
                return Ok(());
            }
        }
    }
}
