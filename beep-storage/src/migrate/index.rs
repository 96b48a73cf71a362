//! The target's search index, filled from the target's own log.

use super::Migration;
use beep_core::bite::{BiteKey, Label};
use beep_core::event::{Event, LogEntry};
use beep_core::store::SearchDocument;
use beep_core::transcript::Transcript;
use beep_core::{ErrorKind, Result};

/// Entries per step.
const PAGE: usize = 256;

impl Migration {
    pub(super) async fn fill_index(&self) -> Result<()> {
        let mut position = self.target.bites.cursor(self.workers.index).await?;
        loop {
            let entries = self.target.bites.log(position, PAGE).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            position = last.seq;
            let mut documents = Vec::new();
            for entry in &entries {
                match &entry.event {
                    Event::Stored { key, .. } if key.label == Label::Transcription => {
                        documents.extend(self.document(key, entry).await?);
                    }
                    Event::Deleted { key, .. } => {
                        // What stands before the deletion must not be put in after it.
                        if !documents.is_empty() {
                            self.target.search.index(std::mem::take(&mut documents)).await?;
                        }
                        self.target.search.remove(&key.conversation, key.start).await?;
                    }
                    _ => {}
                }
            }
            if !documents.is_empty() {
                self.target.search.index(documents).await?;
            }
            self.target.bites.advance(self.workers.index, position).await?;
        }
    }

    /// None for one that was deleted since, is damaged or says nothing.
    async fn document(&self, key: &BiteKey, entry: &LogEntry) -> Result<Option<SearchDocument>> {
        let record = match self.target.bites.get(key).await {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(None),
            Err(e) if e.kind() == ErrorKind::Corrupt => return Ok(None),
            Err(e) => return Err(e),
        };
        let Ok(Transcript { text, .. }) = serde_json::from_slice(&record.body) else { return Ok(None) };
        Ok((!text.is_empty()).then(|| SearchDocument {
            seq: entry.seq,
            conversation: key.conversation.clone(),
            start: key.start,
            author: record.meta.author,
            text,
        }))
    }
}
