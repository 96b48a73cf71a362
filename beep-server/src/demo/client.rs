//! A small HTTP client for the demo: what a phone would do.

use beep_core::id::ConversationId;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

pub(super) struct Client {
    address: SocketAddr,
    token: String,
}

/// Events as they arrive.
pub(super) struct Events {
    body: Incoming,
    buffer: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr, token: String) -> Self {
        Self { address, token }
    }

    pub(super) async fn publish(
        &self,
        conversation: &ConversationId,
        start: u64,
        wav: &'static [u8],
    ) -> Result<()> {
        let path = format!("/publish/conversation/{conversation}/start/{start}");
        self.send(Method::PUT, &path, Bytes::from_static(wav)).await.map(drop)
    }

    /// The texts found, with who said them where.
    pub(super) async fn search(&self, word: &str) -> Result<Vec<String>> {
        let response =
            self.send(Method::GET, &format!("/transcription/search?q={word}"), Bytes::new()).await?;
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        let found: Value = serde_json::from_slice(&body).map_err(failed)?;
        let hits = found["hits"].as_array().into_iter().flatten();
        Ok(hits
            .map(|hit| format!("\"{}\" at {}", hit["snippet"].as_str().unwrap_or_default(), hit["url"]))
            .collect())
    }

    pub(super) async fn events(&self) -> Result<Events> {
        let body = self.send(Method::GET, "/subscribe", Bytes::new()).await?.into_body();
        Ok(Events { body, buffer: String::new() })
    }

    /// One request on a connection of its own.
    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect(self.address).await.map_err(failed)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "the demo's connection ended");
            }
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::new(body))
            .map_err(failed)?;
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(failed)?.to_bytes();
        let said = String::from_utf8_lossy(&body).into_owned();
        Err(Error::new(ErrorKind::Internal, format!("the server answered {status}: {said}")))
    }
}

impl Events {
    /// The next event as one line.
    pub(super) async fn next(&mut self) -> Result<String> {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(line);
                self.buffer = rest.to_owned();
                if let Some(line) = data {
                    return line;
                }
            }
            let ended = || Error::new(ErrorKind::Unavailable, "the stream of events ended");
            let frame = self.body.frame().await.ok_or_else(ended)?.map_err(failed)?;
            if let Ok(data) = frame.into_data() {
                self.buffer.push_str(&String::from_utf8_lossy(&data));
            }
        }
    }
}

fn line(data: &str) -> Result<String> {
    let event: Value = serde_json::from_str(data).map_err(failed)?;
    let kind = event["type"].as_str().unwrap_or_default();
    let message = event["message"].as_str().filter(|m| !m.is_empty());
    let message = message.map_or_else(String::new, |m| format!(" \"{m}\""));
    Ok(format!("{kind} at {}{message}", event["start"]))
}

fn failed(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("talking to the server", e)
}
