//! `/transcription`: what was said, read and found.

use crate::app::App;
use crate::extract::{Caller, Params, Place};
use crate::respond::{Answer, Problem, empty, json, text};
use axum::extract::State;
use beep_core::id::ConversationId;
use beep_core::permission::Action;
use beep_core::store::SearchHit;
use beep_core::{Error, ErrorKind};
use beep_pipeline::outbound::TranscriptState;
use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

/// `GET /transcription/conversation/{key}/start/{start}`: text, or JSON with words and times when asked for.
pub(crate) async fn get(State(app): State<App>, caller: Caller, place: Place, headers: HeaderMap) -> Answer {
    let grant = caller.may(&app, &place.conversation, Action::Listen).await?;
    match app.beep().query().transcript(&grant, place.start()?).await? {
        TranscriptState::Ready(transcript) if wants_json(&headers) => Ok(json(StatusCode::OK, &transcript)),
        TranscriptState::Ready(transcript) => Ok(text(StatusCode::OK, transcript.text)),
        TranscriptState::Pending => {
            let mut response = empty(StatusCode::ACCEPTED);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(response)
        }
        TranscriptState::Failed(reason) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "not_transcribed", reason))
        }
        TranscriptState::Off => {
            let off = "transcription is off on this server; `/readyz` says why";
            Err(Problem::new(StatusCode::NOT_FOUND, "transcription_off", off))
        }
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.split(';').next().is_some_and(|m| m.trim() == "application/json"))
}

#[derive(Serialize)]
struct Hit {
    conversation: String,
    start: u64,
    user: String,
    client: String,
    snippet: String,
    highlighted: String,
    url: String,
}

/// The longest search text in bytes: each word of it costs a look-up.
const MAX_QUERY: usize = 4_096;

/// `GET /transcription/search`
pub(crate) async fn search(State(app): State<App>, caller: Caller, params: Params) -> Answer {
    let words =
        params.get("q").ok_or_else(|| Error::new(ErrorKind::Malformed, "`q` must say what to search for"))?;
    if words.len() > MAX_QUERY {
        let long = format!("`q` must have at most {MAX_QUERY} bytes");
        return Err(Error::new(ErrorKind::Malformed, long).into());
    }
    let limit = params.number("limit")?.map_or(20, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let before = params.number("cursor")?;
    let query = app.beep().query();
    let page = match params.get("conversation") {
        Some(conversation) => {
            let grant = caller.may(&app, &ConversationId::parse(conversation)?, Action::Listen).await?;
            query.search_in(&grant, words, before, limit).await?
        }
        None => query.search_all(&caller.0.identity.user, words, before, limit).await?,
    };
    let hits: Vec<Hit> = page.hits.into_iter().map(hit).collect();
    let next = page.next.map(|seq| seq.to_string());
    Ok(json(StatusCode::OK, &serde_json::json!({ "hits": hits, "next": next })))
}

fn hit(found: SearchHit) -> Hit {
    Hit {
        url: format!("/bite/conversation/{}/start/{}", found.conversation, found.start),
        conversation: found.conversation.into(),
        start: found.start,
        user: found.author.user.into(),
        client: found.author.device.into(),
        highlighted: highlighted(&found.snippet),
        snippet: found.snippet.replace(['\u{2}', '\u{3}'], ""),
    }
}

/// The snippet as HTML: the text escaped first, then the found words marked.
fn highlighted(snippet: &str) -> String {
    let mut html = String::with_capacity(snippet.len() + 16);
    for c in snippet.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\u{2}' => html.push_str("<mark>"),
            '\u{3}' => html.push_str("</mark>"),
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    #[test]
    fn highlighting_escapes_the_text_before_marking_it() {
        assert_eq!(
            super::highlighted("a <b> \u{2}send\u{3} & 'x'"),
            "a &lt;b&gt; <mark>send</mark> &amp; &#39;x&#39;"
        );
    }
}
