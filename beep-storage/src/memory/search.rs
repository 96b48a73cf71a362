//! The full-text index as one map that is read through for every query: slow and easy to believe.

use crate::words::{Token, kept, terms, tokens};
use async_trait::async_trait;
use beep_core::Result;
use beep_core::clock::Millis;
use beep_core::event::Seq;
use beep_core::id::ConversationId;
use beep_core::store::{Capability, SearchDocument, SearchHit, SearchIndex, SearchPage, SearchQuery};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A [`SearchIndex`] in memory.
///
/// * Neither durable nor shared. Snippets are the whole text.
#[derive(Default)]
pub struct MemorySearch(Mutex<BTreeMap<Seq, SearchDocument>>);

/// Not what was said.
impl std::fmt::Debug for MemorySearch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySearch").finish_non_exhaustive()
    }
}

impl MemorySearch {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<Seq, SearchDocument>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SearchIndex for MemorySearch {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        let mut all = self.documents();
        for mut document in documents {
            document.text = kept(&document.text);
            all.retain(|_, d| (&d.conversation, d.start) != (&document.conversation, document.start));
            all.insert(document.seq, document);
        }
        Ok(())
    }

    async fn remove(&self, conversation: &ConversationId, start: Millis) -> Result<bool> {
        let mut all = self.documents();
        let before = all.len();
        all.retain(|_, d| (&d.conversation, d.start) != (conversation, start));
        Ok(all.len() < before)
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        let wanted: Vec<Wanted> = terms(&query.words)
            .into_iter()
            .map(|term| Wanted { words: tokens(term.text), prefix: term.prefix })
            .filter(|wanted| !wanted.words.is_empty())
            .collect();
        if wanted.is_empty() {
            return Ok(SearchPage::default());
        }
        let limit = query.limit.clamp(1, 100);
        let all = self.documents();
        let mut hits = all
            .iter()
            .rev()
            .filter(|(seq, _)| query.before.is_none_or(|before| **seq < before))
            .filter(|(_, d)| query.conversations.as_ref().is_none_or(|asked| asked.contains(&d.conversation)))
            .filter_map(|(_, d)| hit(d, &wanted));
        let page: Vec<SearchHit> = hits.by_ref().take(limit).collect();
        let next = hits.next().and_then(|_| page.last().map(|last| last.seq));
        Ok(SearchPage { hits: page, next })
    }

    async fn clear(&self) -> Result<()> {
        self.documents().clear();
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}

/// Words that must stand in a row.
struct Wanted {
    words: Vec<Token>,
    prefix: bool,
}

impl Wanted {
    fn stand_at(&self, text: &[Token]) -> bool {
        let last = self.words.len() - 1;
        self.words.len() <= text.len()
            && self.words.iter().zip(text).enumerate().all(|(i, (word, found))| {
                found.folded == word.folded
                    || (self.prefix && i == last && found.folded.starts_with(&word.folded))
            })
    }
}

fn hit(document: &SearchDocument, wanted: &[Wanted]) -> Option<SearchHit> {
    let text = tokens(&document.text);
    let mut marks: Vec<Range<usize>> = Vec::new();
    for words in wanted {
        let places: Vec<usize> = (0..text.len()).filter(|i| words.stand_at(&text[*i..])).collect();
        if places.is_empty() {
            return None;
        }
        marks.extend(
            places.iter().flat_map(|i| &text[*i..*i + words.words.len()]).map(|token| token.at.clone()),
        );
    }
    marks.sort_by_key(|mark| mark.start);
    marks.dedup();
    Some(SearchHit {
        seq: document.seq,
        conversation: document.conversation.clone(),
        start: document.start,
        author: document.author.clone(),
        snippet: marked(&document.text, &marks),
    })
}

fn marked(text: &str, marks: &[Range<usize>]) -> String {
    let mut out = String::new();
    let mut done = 0;
    for mark in marks {
        out.push_str(&text[done..mark.start]);
        out.push('\u{2}');
        out.push_str(&text[mark.clone()]);
        out.push('\u{3}');
        done = mark.end;
    }
    out.push_str(&text[done..]);
    out
}
