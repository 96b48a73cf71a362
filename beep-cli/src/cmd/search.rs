//! `search`: finds recordings by the words in their transcripts.

use super::{Context, Site};
use crate::failure::{Outcome, Result};
use crate::local::{self, Missing};
use crate::output::{clean, coloured};
use crate::remote::Remote;
use crate::time;
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use beep_core::store::{SearchHit, SearchQuery, Stores};
use serde::{Deserialize, Deserializer};
use serde_json::json;

const EXAMPLES: &str = "\
All words must occur. \"Words in quotes\" must follow each other, and a word may end with *.

Examples:
  beep-cli search send help
  beep-cli search '\"beep over\"' --conversation c-0123 --json";

/// Find recordings by the words in them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What to look for
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
    /// Only in this conversation
    #[arg(long, short, value_name = "C")]
    conversation: Option<ConversationId>,
    /// At most so many, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
}

/// The most that is asked for at once.
const PAGE: usize = 100;
/// What found words stand between: control characters, which no transcript has.
const MARK: (char, char) = ('\u{2}', '\u{3}');

/// Prints what is found, page by page.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let site = context.open(Missing::Refuse).await?;
    if let (Site::Local(stores), Some(conversation)) = (&site, &args.conversation) {
        local::readable(stores, conversation).await?;
    }
    let words = args.words.join(" ");
    let mut left = args.limit;
    let mut cursor: Option<String> = None;
    while left > 0 {
        let limit = left.min(PAGE);
        let (mut hits, next) = match &site {
            Site::Local(stores) => here(stores, args, &words, cursor.as_deref(), limit).await?,
            Site::Remote(remote) => there(remote, args, &words, cursor.as_deref(), limit).await?,
        };
        hits.truncate(left);
        left -= hits.len();
        for hit in &hits {
            print(hit, context)?;
        }
        cursor = next;
        if cursor.is_none() || hits.is_empty() {
            break;
        }
    }
    Ok(Outcome::Done)
}

/// A recording that was found.
#[derive(Deserialize)]
struct Hit {
    conversation: String,
    start: Millis,
    user: String,
    /// A piece of the transcript with its marks.
    #[serde(rename = "highlighted", deserialize_with = "marked")]
    snippet: String,
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        Self {
            conversation: hit.conversation.into(),
            start: hit.start,
            user: hit.author.user.into(),
            snippet: hit.snippet,
        }
    }
}

/// A server's snippet is HTML with five escapes and one element: back to text and marks.
fn marked<'de, D: Deserializer<'de>>(html: D) -> std::result::Result<String, D::Error> {
    let html = String::deserialize(html)?;
    // The ampersand last: what it stood for must not be taken for another escape.
    let pairs = [
        ("<mark>", "\u{2}"),
        ("</mark>", "\u{3}"),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
    ];
    let text = pairs.iter().fold(html, |text, (escape, plain)| text.replace(escape, plain));
    Ok(text.replace("&amp;", "&"))
}

type Page = (Vec<Hit>, Option<String>);

async fn here(stores: &Stores, args: &Args, words: &str, cursor: Option<&str>, limit: usize) -> Result<Page> {
    let query = SearchQuery {
        words: words.to_owned(),
        conversations: args.conversation.clone().map(|c| vec![c]),
        before: cursor.and_then(|c| c.parse().ok()),
        limit,
    };
    let page = stores.search.search(query).await?;
    Ok((page.hits.into_iter().map(Hit::from).collect(), page.next.map(|next| next.to_string())))
}

async fn there(
    remote: &Remote,
    args: &Args,
    words: &str,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page> {
    #[derive(Deserialize)]
    struct Answer {
        hits: Vec<Hit>,
        next: Option<String>,
    }
    let mut request = remote.get(&["transcription", "search"]).query("q", words).query("limit", limit);
    if let Some(conversation) = &args.conversation {
        request = request.query("conversation", conversation);
    }
    if let Some(cursor) = cursor {
        request = request.query("cursor", cursor);
    }
    let answer: Answer = request.fetch().await?;
    Ok((answer.hits, answer.next))
}

fn print(hit: &Hit, context: &Context) -> Result<()> {
    let pieces = pieces(&hit.snippet);
    if context.out.json() {
        let plain: String = pieces.iter().map(|(_, text)| *text).collect();
        let found: Vec<_> = pieces.iter().filter(|(found, _)| *found).map(|(_, text)| *text).collect();
        return context.out.object(&json!({
            "conversation": hit.conversation,
            "start": hit.start,
            "time": time::utc(hit.start),
            "user": hit.user,
            "snippet": plain,
            "highlights": found,
        }));
    }
    let colour = coloured(&std::io::stdout());
    let text: String = pieces
        .iter()
        .map(|(found, text)| match (found, colour) {
            (true, true) => format!("\u{1b}[1;33m{}\u{1b}[0m", clean(text)),
            _ => clean(text).into_owned(),
        })
        .collect();
    context.out.line(&format!(
        "{} {}  {}  {text}",
        clean(&hit.conversation),
        hit.start,
        time::local(hit.start)
    ))
}

/// The snippet cut at its marks; `true` for what was found.
fn pieces(snippet: &str) -> Vec<(bool, &str)> {
    let mut pieces = Vec::new();
    let mut found = false;
    let mut rest = snippet;
    while let Some(at) = rest.find([MARK.0, MARK.1]) {
        pieces.push((found, &rest[..at]));
        found = rest[at..].starts_with(MARK.0);
        rest = &rest[at + 1..];
    }
    pieces.push((found, rest));
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::pieces;
    use serde_json::json;

    #[test]
    fn marks_cut_the_snippet() {
        assert_eq!(pieces("a \u{2}b\u{3} c"), [(false, "a "), (true, "b"), (false, " c")]);
        assert_eq!(pieces("\u{2}b\u{3}"), [(true, "b")]);
        assert_eq!(pieces("torn \u{2}b"), [(false, "torn "), (true, "b")]);
        assert!(pieces("").is_empty());
    }

    #[test]
    fn a_servers_html_becomes_text_and_marks() {
        let hit = json!({"conversation": "c-1", "start": 7, "user": "u-1",
            "highlighted": "a &lt;b&gt; <mark>send</mark> &amp;lt; &#39;x&#39; &quot;"});
        let hit: super::Hit = serde_json::from_value(hit).unwrap();
        assert_eq!(hit.snippet, "a <b> \u{2}send\u{3} &lt; 'x' \"");
    }
}
