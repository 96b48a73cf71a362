//! A blocking HTTP/1.1 client on one keep-alive connection: small enough to be trusted as a witness.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What came back, complete.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads the whole answer. An answer that is cut short is an error, never a short body.
    pub fn send(&mut self, method: &str, path: &str, token: &str, body: &[u8]) -> io::Result<Answer> {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request)?;
        self.answer()
    }

    pub fn get(&mut self, path: &str, token: &str) -> io::Result<Answer> {
        self.send("GET", path, token, b"")
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if &head[before..] == "\r\n" {
                break;
            }
        }
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = match answer.header("content-length") {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None if matches!(status, 204 | 304) => 0,
            None => return Err(wrong()),
        };
        answer.body.resize(length, 0);
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }
}
