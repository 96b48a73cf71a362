//! Bytes on a socket, for requests that no proper client would send.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a server made of some bytes.
#[derive(Debug)]
pub struct Reply {
    /// Everything it said.
    pub text: String,
    /// Whether it closed the connection.
    pub closed: bool,
}

impl Reply {
    /// The statuses of the answers in it, in order.
    pub fn statuses(&self) -> Vec<u16> {
        let lines = self.text.split("HTTP/1.1 ").skip(1);
        lines.map(|rest| rest[..3].parse().unwrap()).collect()
    }

    /// The status of the only answer; 0 when there is none.
    #[track_caller]
    pub fn status(&self) -> u16 {
        match self.statuses()[..] {
            [] => 0,
            [status] => status,
            _ => panic!("more than one answer: {}", self.text),
        }
    }
}

/// Sends bytes and listens until the server closes or says nothing for `quiet`. The server may close early.
pub async fn exchange(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Reply {
    send(address, bytes, quiet, false).await
}

/// As [`exchange`], but tells the server after a moment that nothing more will come.
pub async fn exchange_and_close(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Reply {
    send(address, bytes, quiet, true).await
}

async fn send(address: SocketAddr, bytes: &[u8], quiet: Duration, close: bool) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let bytes = bytes.to_vec();
    // Both at once, as an answer may come before everything is sent.
    let sending = tokio::spawn(async move {
        writing.write_all(&bytes).await.ok();
        if close {
            // Time for an answer: a server may drop a request whose client seems to be gone.
            tokio::time::sleep(Duration::from_millis(150)).await;
            writing.shutdown().await.ok();
        }
        std::future::pending::<()>().await;
        drop(writing);
    });
    let (text, closed) = listen(&mut reading, quiet).await;
    sending.abort();
    Reply { text, closed }
}

/// Reads until the other end closes or says nothing for `quiet`.
pub async fn listen(reading: &mut (impl AsyncReadExt + Unpin), quiet: Duration) -> (String, bool) {
    let mut said = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match timeout(quiet, reading.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&said).into_owned(), true),
            Ok(Ok(n)) => said.extend_from_slice(&piece[..n]),
            Err(_) => return (String::from_utf8_lossy(&said).into_owned(), false),
        }
    }
}

/// How long the server keeps a connection on which these pieces come, `pause` apart, the last one for ever.
pub async fn kept_open(
    address: SocketAddr,
    pieces: &[&[u8]],
    pause: Duration,
    at_most: Duration,
) -> Duration {
    let stream = TcpStream::connect(address).await.unwrap();
    let begun = Instant::now();
    let (mut reading, mut writing) = stream.into_split();
    let last = pieces.last().copied().unwrap_or_default().to_vec();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|p| p.to_vec()).collect();
    let sending = tokio::spawn(async move {
        for piece in pieces.into_iter().chain(std::iter::repeat(last)) {
            if piece.is_empty() || writing.write_all(&piece).await.is_err() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        // Kept, so that it is the server who closes.
        std::future::pending::<()>().await;
        drop(writing);
    });
    let mut piece = [0; 4_096];
    let closed =
        timeout(at_most, async { while !matches!(reading.read(&mut piece).await, Ok(0) | Err(_)) {} }).await;
    sending.abort();
    closed.unwrap_or_else(|_| panic!("still open after {at_most:?}"));
    begun.elapsed()
}
