//! Fills the search index from the log: transcripts in, deleted bites out, in log order.

use super::{Follower, INDEX};
use beep_core::bite::{BiteKey, Label};
use beep_core::event::{Event, LogEntry};
use beep_core::store::{BiteStore, SearchDocument, SearchIndex};
use beep_core::transcript::Transcript;
use beep_core::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// What comes within this time is indexed in one step: every bite rings the bell, and each step costs a transaction.
const TOGETHER: Duration = Duration::from_millis(5);

#[derive(Clone)]
pub(crate) struct IndexWorker {
    pub(crate) bites: Arc<dyn BiteStore>,
    pub(crate) search: Arc<dyn SearchIndex>,
}

impl IndexWorker {
    /// Runs until dropped. A step that fails is tried again: the index is behind meanwhile, and nothing is skipped.
    pub(crate) async fn run(self, mut follower: Follower) {
        loop {
            let entries = follower.next().await;
            let mut pause = Duration::from_millis(100);
            while let Err(e) = self.step(&entries).await {
                tracing::warn!(error = %e, "transcripts could not be put into the search index; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(30));
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    async fn step(&self, entries: &[LogEntry]) -> Result<()> {
        let mut documents = Vec::new();
        for entry in entries {
            match &entry.event {
                Event::Stored { key, .. } if key.label == Label::Transcription => {
                    documents.extend(self.document(entry).await?);
                }
                Event::Deleted { key, .. } => {
                    // What stands before the deletion must not be put in after it.
                    self.flush(&mut documents).await?;
                    self.search.remove(&key.conversation, key.start).await?;
                }
                _ => {}
            }
        }
        self.flush(&mut documents).await?;
        match entries.last() {
            Some(last) => self.bites.advance(INDEX, last.seq).await,
            None => Ok(()),
        }
    }

    async fn flush(&self, documents: &mut Vec<SearchDocument>) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = documents.iter().map(|d| (d.conversation.clone(), d.start)).collect();
        self.search.index(std::mem::take(documents)).await?;
        for (conversation, start) in places {
            // Deleted meanwhile, and perhaps taken out already by the worker of another process.
            let key = BiteKey::new(Label::Transcription, conversation, start);
            match self.bites.head(&key).await {
                Ok(None) => drop(self.search.remove(&key.conversation, start).await?),
                // It is there, and `verify` names it.
                Err(e) if e.kind() != ErrorKind::Corrupt => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// The document of a transcript; none when it was deleted since, or is damaged (`verify` names it).
    async fn document(&self, entry: &LogEntry) -> Result<Option<SearchDocument>> {
        let key = entry.event.key();
        let record = match self.bites.get(key).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                tracing::error!(%key, error = %e, "a damaged transcript is left out of the search index");
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let transcript: Transcript = match serde_json::from_slice(&record.body) {
            Ok(transcript) => transcript,
            Err(e) => {
                tracing::error!(%key, error = %e, "an unreadable transcript is left out of the search index");
                return Ok(None);
            }
        };
        Ok((!transcript.text.is_empty()).then(|| SearchDocument {
            seq: entry.seq,
            conversation: key.conversation.clone(),
            start: key.start,
            author: record.meta.author,
            text: transcript.text,
        }))
    }
}
