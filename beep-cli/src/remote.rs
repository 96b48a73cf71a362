//! A server over HTTP: requests with the token, patience with one that is busy, problems as failures.

use crate::failure::{Failure, Result};
use beep_core::id::UserId;
use bytes::Bytes;
use reqwest::header::{ACCEPT, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// How often a request is sent that may be sent again.
const ATTEMPTS: u32 = 5;
/// The longest that a server may ask us to wait between two of them.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A server and who we are there. Not `Debug`: it holds the token.
pub struct Remote {
    base: Url,
    token: String,
    client: Client,
}

/// A request yet to be sent.
pub struct Request<'a> {
    remote: &'a Remote,
    method: Method,
    url: Url,
    body: Body,
    json_wanted: bool,
}

enum Body {
    None,
    Json(Value),
    Bytes(Bytes, &'static str),
}

impl Remote {
    /// A server at this address.
    pub fn new(url: &str, token: Option<String>) -> Result<Self> {
        let wrong = || {
            Failure::usage(format!("{url} is not the address of a server"))
                .hint("an address begins with http:// or https://, such as http://127.0.0.1:8080")
        };
        let base = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong());
        }
        let token = token.filter(|t| !t.is_empty()).ok_or_else(|| {
            Failure::usage("a server needs to know who asks: say --token T or set BEEP_TOKEN")
                .hint("on the server's machine, `beep-cli token --user U --client D` prints one")
        })?;
        let client = Client::builder()
            .user_agent(concat!("beep-cli/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(Duration::from_secs(60))
            // A token goes to the server that was named, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| Failure::new("internal", "cannot prepare for HTTP").because(&e))?;
        Ok(Self { base, token, client })
    }

    /// A request to the path of these segments.
    pub fn request(&self, method: Method, path: &[&str]) -> Request<'_> {
        let mut url = self.base.clone();
        // `new` refused the addresses that have no path.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        Request { remote: self, method, url, body: Body::None, json_wanted: true }
    }

    /// Makes sure that the token is this user's: at a server, everybody does these things for themselves only.
    pub async fn must_be(&self, user: &UserId) -> Result<()> {
        // No route says who one is, but a change of nothing answers it.
        let own: Value = self.request(Method::PATCH, &["core", "user"]).json(json!({})).fetch().await?;
        if own["id"] == user.as_str() {
            return Ok(());
        }
        let message =
            format!("at a server, this can be done for the token's own user only, who is not {user}");
        Err(Failure::usage(message).hint("--data-dir D, on the server's machine, works for every user"))
    }

    /// A GET.
    pub fn get(&self, path: &[&str]) -> Request<'_> {
        self.request(Method::GET, path)
    }
}

impl Request<'_> {
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.url.query_pairs_mut().append_pair(name, &value.to_string());
        self
    }

    /// Sends JSON along.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// Sends bytes along.
    #[must_use]
    pub fn bytes(mut self, body: Bytes, media_type: &'static str) -> Self {
        self.body = Body::Bytes(body, media_type);
        self
    }

    /// Takes what comes instead of asking for JSON.
    #[must_use]
    pub fn any(mut self) -> Self {
        self.json_wanted = false;
        self
    }

    fn build(&self) -> RequestBuilder {
        let mut request =
            self.remote.client.request(self.method.clone(), self.url.clone()).bearer_auth(&self.remote.token);
        if self.json_wanted {
            request = request.header(ACCEPT, "application/json");
        }
        match &self.body {
            Body::None => request,
            Body::Json(value) => request.json(value),
            Body::Bytes(bytes, media_type) => {
                request.header(reqwest::header::CONTENT_TYPE, *media_type).body(bytes.clone())
            }
        }
    }

    /// Sends it and returns the answer, whatever its status. One that is too busy now is asked again.
    pub async fn send(&self) -> Result<Response> {
        let repeatable = self.method != Method::POST;
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let last = attempt >= ATTEMPTS;
            match self.build().send().await {
                Ok(answer) if busy(answer.status()) && !last => {
                    pause = wanted_pause(&answer).unwrap_or(pause).min(LONGEST_PAUSE);
                }
                Ok(answer) => return Ok(answer),
                // A POST that broke off may have been done.
                Err(e) if last || !(repeatable || e.is_connect()) || e.is_builder() => {
                    return Err(self.unreachable(&e));
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(Failure::new("internal", "no request was sent"))
    }

    /// Sends it and returns the answer if it is good, else the problem.
    pub async fn ok(&self) -> Result<Response> {
        let answer = self.send().await?;
        if answer.status().is_success() { Ok(answer) } else { Err(problem(answer).await) }
    }

    /// Sends it and reads the JSON that comes back.
    pub async fn fetch<T: DeserializeOwned>(&self) -> Result<T> {
        let answer = self.ok().await?;
        body(answer).await
    }

    fn unreachable(&self, e: &reqwest::Error) -> Failure {
        let base = &self.remote.base;
        // Its own text would repeat the whole address.
        let why = std::error::Error::source(e).unwrap_or(e);
        Failure::new("unavailable", format!("the server at {base} does not answer")).because(why)
    }
}

/// Statuses that say "nothing was done, come back later".
fn busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

fn wanted_pause(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The JSON in an answer.
pub async fn body<T: DeserializeOwned>(answer: Response) -> Result<T> {
    answer.json().await.map_err(|e| {
        Failure::new("unavailable", "the server's answer cannot be read")
            .because(&e)
            .hint("is there a Beep server at this address?")
    })
}

/// What a bad answer means: its problem+json if it has one, else what its status says.
pub async fn problem(answer: Response) -> Failure {
    let status = answer.status();
    let problem: Value = answer.json().await.unwrap_or_default();
    let text = |name: &str| problem[name].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    let code = text("code").unwrap_or_else(|| {
        let code = match status.as_u16() {
            400 => "malformed",
            401 => "unauthenticated",
            403 => "denied",
            404 => "not_found",
            409 => "conflict",
            413 => "too_large",
            415 => "unsupported_media",
            422 => "invalid",
            429 => "rate_limited",
            503 => "unavailable",
            _ => "internal",
        };
        code.to_owned()
    });
    let said = text("detail").or_else(|| text("title"));
    let failure = Failure::new(code, said.unwrap_or_else(|| format!("the server answered {status}")));
    match status {
        StatusCode::UNAUTHORIZED => {
            failure.hint("`beep-cli token` on the server's machine, or signing in, gives a new token")
        }
        StatusCode::FORBIDDEN => {
            failure.hint("only members may; an admin can add you with `beep-cli conversation add C U`")
        }
        _ if status.is_redirection() => failure.hint("say the server's final address in --server"),
        _ => failure,
    }
}
