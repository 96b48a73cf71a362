//! Full text of the transcripts: derived from the log, rebuildable from it.

use super::Capability;
use crate::Result;
use crate::clock::Millis;
use crate::event::Seq;
use crate::id::{ConversationId, Identity};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// One transcript to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchDocument {
    /// The log position of the transcript: newer ones rank first.
    pub seq: Seq,
    /// The conversation.
    pub conversation: ConversationId,
    /// The start of the bite.
    pub start: Millis,
    /// Who said it.
    pub author: Identity,
    /// What was said.
    pub text: String,
}

/// Where a page of hits ended.
pub type SearchCursor = Seq;

/// What to look for.
#[derive(Clone, Debug)]
pub struct SearchQuery {
    /// Words that must all occur, `"phrases in quotes"` that must occur as they stand, and `prefix*`.
    /// Anything else in it is taken as words: no text is an invalid query, and one without words finds nothing.
    pub words: String,
    /// Only in these conversations; none means everywhere, for the operator.
    pub conversations: Option<Vec<ConversationId>>,
    /// Only hits older than this position.
    pub before: Option<SearchCursor>,
    /// How many at most; brought into `1..=100`.
    pub limit: usize,
}

/// A transcript that has the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHit {
    /// Its log position.
    pub seq: Seq,
    /// The conversation.
    pub conversation: ConversationId,
    /// The start of the bite.
    pub start: Millis,
    /// Who said it.
    pub author: Identity,
    /// A piece of the text, found words between `\u{2}` and `\u{3}`: control characters, so that whoever shows it
    /// escapes the text first and then marks it up.
    pub snippet: String,
}

/// One page of hits, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// The hits.
    pub hits: Vec<SearchHit>,
    /// What to pass as `before` for the next page; none at the end.
    pub next: Option<SearchCursor>,
}

/// A full-text index.
///
/// * Indexing the same document again changes nothing; another text at the same (conversation, start) replaces it.
/// * A document is found by every query that begins after `index` returned.
/// * Case and diacritics do not matter. Nothing outside the asked conversations is ever returned.
/// * Pages never repeat a hit and never skip one that was there when the first page was read.
#[async_trait]
pub trait SearchIndex: Send + Sync + std::fmt::Debug {
    /// What this backend can do.
    fn capability(&self) -> Capability;
    /// Puts documents in, all in one commit.
    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()>;
    /// Takes a document out; whether it was there.
    async fn remove(&self, conversation: &ConversationId, start: Millis) -> Result<bool>;
    /// Finds transcripts.
    async fn search(&self, query: SearchQuery) -> Result<SearchPage>;
    /// Empties the index, before it is rebuilt.
    async fn clear(&self) -> Result<()>;
    /// Whether it answers now; the error says why not.
    async fn ready(&self) -> Result<()>;
}
