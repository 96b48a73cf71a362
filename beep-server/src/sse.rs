//! Server-sent events: what a reader is told, as `text/event-stream`, with comments that keep the connection open.

use crate::app::App;
use axum::body::Body;
use axum::response::Response;
use beep_core::Result;
use beep_core::auth::Verified;
use beep_pipeline::outbound::{Delivery, Reader};
use beep_pipeline::services::changes::Watcher;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Something is written at least this often, so that neither end nor anything between takes the stream for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Where the events of a stream come from.
pub(crate) enum Source {
    /// What is said, from the log: a reader comes back with the last id that it saw.
    Bites(Reader),
    /// What changes, from now on.
    Changes(Watcher),
}

impl Source {
    /// The id for a reader that is cut off before its first event.
    fn position(&self) -> Option<u64> {
        match self {
            Self::Bites(reader) => reader.position(),
            Self::Changes(_) => None,
        }
    }

    async fn next(&mut self) -> Result<Option<VecDeque<Delivery>>> {
        match self {
            Self::Bites(reader) => reader.next().await,
            Self::Changes(watcher) => Ok(watcher.next().await),
        }
    }
}

struct Stream {
    app: App,
    source: Source,
    /// Who reads: asked again for each event, as they may have signed out since.
    token: Arc<Verified>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// When the token ends, and the stream with it.
    expires: Instant,
    /// When something was written last; none before the first bytes.
    written: Option<Instant>,
    /// Left as it is while events come, so that an event costs no timer: it looks at `written` when it ends.
    alarm: Pin<Box<Sleep>>,
}

/// The stream of a source, until the reader's token expires or is revoked, it is cut off or the server stops.
pub(crate) fn events(app: App, source: Source, token: Arc<Verified>) -> Response {
    let left = Duration::from_millis(token.expires.saturating_sub(app.now()));
    // Far ends are cut to a year, which no connection reaches.
    let expires = Instant::now() + left.min(Duration::from_secs(365 * 24 * 3_600));
    let alarm = Box::pin(tokio::time::sleep_until(expires.min(Instant::now() + KEEP_ALIVE)));
    let closed = Box::pin(app.closed());
    let state = Stream { app, source, token, closed, expires, written: None, alarm };
    let body = stream::unfold(state, |mut state| async move {
        let piece = state.next().await?;
        state.written = Some(Instant::now());
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
        let Some(written) = self.written else {
            // Browsers call a stream open once its first bytes are there; and come back after two seconds.
            // The id lets a reader that is cut off before its first event come back without a gap.
            let id = self.source.position().map_or_else(String::new, |seq| format!("id: {seq}\n"));
            return Some(format!("retry: 2000\n{id}\n").into());
        };
        loop {
            tokio::select! {
                // In this order: while events come, the other two cost nothing.
                biased;
                deliveries = self.source.next() => return match deliveries {
                    Ok(Some(deliveries)) => {
                        holds(&self.app, &self.token, self.expires).await.then(|| encode(deliveries))
                    }
                    Ok(None) => None,
                    Err(e) => {
                        tracing::warn!(error = %e, "a stream of events ends; its reader will come back");
                        None
                    }
                },
                () = &mut self.closed => return None,
                () = &mut self.alarm => {
                    let (now, quiet) = (Instant::now(), written + KEEP_ALIVE);
                    if !holds(&self.app, &self.token, self.expires).await {
                        return None;
                    }
                    let next = if now < quiet { quiet } else { now + KEEP_ALIVE };
                    self.alarm.as_mut().reset(next.min(self.expires));
                    if now >= quiet {
                        return Some(Bytes::from_static(b":\n\n"));
                    }
                }
            }
        }
    }
}

/// Whether the token is still good. Asked for each event: events without a pause must not keep an old one alive.
async fn holds(app: &App, token: &Verified, expires: Instant) -> bool {
    Instant::now() < expires && app.beep().gate().admit(token).await.is_ok()
}

fn encode(mut deliveries: VecDeque<Delivery>) -> Bytes {
    let one = |delivery| match delivery {
        Delivery::Notice(notice) => notice.frame.clone(),
        Delivery::Reset(seq) => format!("event: reset\nid: {seq}\ndata: {{\"seq\":{seq}}}\n\n").into(),
    };
    if deliveries.len() == 1
        && let Some(only) = deliveries.pop_front()
    {
        return one(only);
    }
    deliveries.into_iter().map(one).collect::<Vec<_>>().concat().into()
}
