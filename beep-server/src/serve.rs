//! The accept loop: connections with limits on time and number, and an orderly end.

use crate::app::App;
use crate::config::Config;
use crate::connection::Connection;
use crate::cors;
use crate::extract::Peer;
use crate::failures::Cause;
use crate::router::{login_router, router};
use crate::sms;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use beep_core::clock::{Entropy, System};
use beep_core::{Error, ErrorKind, Result};
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower_service::Service;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Connections that may wait to be accepted: after a restart everybody comes back at once, and whoever finds no place
/// here waits for a second before trying again.
const BACKLOG: u32 = 4_096;
/// Bytes that the system holds for a client beyond what is on its way. It would take megabytes otherwise before a
/// reader that takes nothing is noticed.
const UNSENT: u32 = 128 * 1024;
/// Written by hand, as a refused connection gets no HTTP machinery. `content-length` is that of the last two lines.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\nretry-after: 1\r\ncontent-length: 158\r\nconnection: close\r\n\r\n\
    {\"type\":\"urn:beep:problem:unavailable\",\"title\":\"Service Unavailable\",\"status\":503,\
    \"code\":\"unavailable\",\"detail\":\"too many connections; try again in a moment\"}";

/// Listens where the configuration says.
pub async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr)> {
    let listening = listen_at(&config.listen.0, "--listen").await?;
    sms::check_listener(&config.login, listening.1)?;
    Ok(listening)
}

/// Listens for the login routes alone, where the configuration says so.
pub async fn listen_for_login(config: &Config) -> Result<Option<TcpListener>> {
    let wanted = &config.login.listen;
    if wanted.is_empty() {
        return Ok(None);
    }
    let (listener, address) = listen_at(wanted, "login.listen").await?;
    sms::check_listener(&config.login, address)?;
    Ok(Some(listener))
}

async fn listen_at(wanted: &str, setting: &str) -> Result<(TcpListener, SocketAddr)> {
    let taken = |e| {
        let what = format!("cannot listen on {wanted}: choose another address with {setting}");
        Error::new(ErrorKind::Unavailable, what).with_source(e)
    };
    let mut tried = Err(std::io::ErrorKind::AddrNotAvailable.into());
    for address in tokio::net::lookup_host(wanted).await.map_err(taken)? {
        tried = listen_on(address);
        if tried.is_ok() {
            break;
        }
    }
    let listener = tried.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    Ok((listener, address))
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As every server does: connections of the last one that are still closing must not keep the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown` resolves; then finishes what is under way, within the configured time.
///
/// Requests that were accepted are answered. Streams end, and their readers come back elsewhere or later.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) {
    let router = router(app.clone());
    serve_routes(listener, app, router, shutdown).await;
}

/// As [`serve`], with the login routes alone, at the root: the original had a port of its own for them.
pub async fn serve_login(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) {
    let router = login_router(app.clone());
    serve_routes(listener, app, router, shutdown).await;
}

async fn serve_routes(listener: TcpListener, app: App, router: Router, shutdown: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(app.http().max_connections.min(Semaphore::MAX_PERMITS)));
    // Dropped at the end, and what has not ended by then with it.
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => (stream, Peer(address.ip())),
                Err(e) => {
                    // Out of file descriptors, most likely: existing connections must end first.
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            connections.spawn(refuse(Connection::new(stream, app.http().write_timeout())));
            continue;
        };
        if let Err(e) = stream.set_nodelay(true).and_then(|()| limit_unsent(&stream)) {
            tracing::debug!(error = %e, "a connection ended at once");
            continue;
        }
        let (router, own) = (router.clone(), app.clone());
        let service = service_fn(move |request| handle(router.clone(), own.clone(), peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(app.http().header_timeout())
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(Connection::new(stream, app.http().write_timeout())), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    app.close();
    if tokio::time::timeout(app.http().drain_timeout(), graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and are cut off");
    }
}

#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

#[cfg(not(target_os = "linux"))]
fn limit_unsent(_: &TcpStream) -> std::io::Result<()> {
    Ok(())
}

async fn refuse(mut connection: Connection) {
    // It is told to come back; whether it listens is its own affair.
    let told = async {
        connection.write_all(TOO_MANY).await?;
        connection.shutdown().await
    };
    tokio::time::timeout(Duration::from_secs(1), told).await.ok();
}

async fn handle(
    mut router: Router,
    app: App,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(peer);
    let id = request_id(request.headers().get(&REQUEST_ID));
    let origins = &app.http().cors_origins;
    let origin = cors::granted(origins, request.headers());
    let before = request.method() == Method::OPTIONS;
    let mut response = if before {
        options()
    } else {
        let Ok(response) = router.call(request.map(Body::new)).await;
        response
    };
    if let Some(cause) = response.extensions().get::<Cause>() {
        cause.log(id.as_ref());
    }
    cors::tell(origins, origin, before, response.headers_mut());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn options() -> Response {
    let allow = [(http::header::ALLOW, cors::METHODS)];
    (StatusCode::NO_CONTENT, allow).into_response()
}

/// The client's id when it is short and printable, else a new one.
fn request_id(given: Option<&HeaderValue>) -> Option<HeaderValue> {
    let fits = |v: &&HeaderValue| (1..=128).contains(&v.len()) && v.to_str().is_ok();
    if let Some(id) = given.filter(fits) {
        return Some(id.clone());
    }
    /// Random once per process, then counted: ids are to tell requests apart, nobody has to guess them.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let mut bytes = [0u8; 8];
        // Without randomness they begin at 0.
        System.fill(&mut bytes).ok();
        AtomicU64::new(u64::from_ne_bytes(bytes))
    });
    HeaderValue::from_str(&format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed))).ok()
}
