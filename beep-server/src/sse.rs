//! Server-sent events: what a reader is told, as `text/event-stream`, with comments that keep the connection open.

use crate::app::App;
use axum::body::Body;
use axum::response::Response;
use beep_core::clock::Millis;
use beep_pipeline::outbound::{Delivery, Reader};
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::convert::Infallible;
use std::fmt::Write;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;

/// Something is written at least this often, so that neither end nor anything between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

struct Stream {
    reader: Reader,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When the token ends, and the stream with it.
    expires: Instant,
    opened: bool,
}

/// The stream of a reader, until its token expires, it is cut off or the server stops.
pub(crate) fn events(app: &App, reader: Reader, expires: Millis) -> Response {
    let left = Duration::from_millis(expires.saturating_sub(app.now()));
    // Far ends are cut to a year, which no connection reaches.
    let expires = Instant::now() + left.min(Duration::from_secs(365 * 24 * 3_600));
    let state = Stream { reader, closed: Box::pin(app.closed()), expires, opened: false };
    let body = stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        Some((Ok::<_, Infallible>(piece), state))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        if !self.opened {
            // Browsers call a stream open once its first bytes are there; and come back after two seconds.
            // The id lets a reader that is cut off before its first event come back without a gap.
            self.opened = true;
            let id = self.reader.position().map_or_else(String::new, |seq| format!("id: {seq}\n"));
            return Some(format!("retry: 2000\n{id}\n").into());
        }
        let quiet = Instant::now() + KEEP_ALIVE;
        tokio::select! {
            deliveries = self.reader.next() => match deliveries {
                Ok(Some(deliveries)) => Some(encode(deliveries.iter())),
                Ok(None) => None,
                Err(e) => {
                    tracing::warn!(error = %e, "a stream of events ends; its reader will come back");
                    None
                }
            },
            () = &mut self.closed => None,
            () = tokio::time::sleep_until(quiet.min(self.expires)) => {
                (Instant::now() < self.expires).then(|| Bytes::from_static(b":\n\n"))
            }
        }
    }
}

/// JSON has no line breaks of its own, so an event is always one `data` line: nothing said can forge another field.
fn encode<'a>(deliveries: impl Iterator<Item = &'a Delivery>) -> Bytes {
    let mut out = String::new();
    for delivery in deliveries {
        // Writing to a String cannot fail.
        match delivery {
            Delivery::Notice(notice) => write!(out, "id: {}\ndata: {}\n\n", notice.seq, notice.json),
            Delivery::Reset(seq) => write!(out, "event: reset\nid: {seq}\ndata: {{\"seq\":{seq}}}\n\n"),
        }
        .ok();
    }
    out.into()
}
