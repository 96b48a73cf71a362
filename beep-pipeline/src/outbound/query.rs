//! What can be asked about a conversation, each with a grant.

use crate::grants::require;
use beep_core::bite::{Bite, BiteKey, BiteMeta, Label, ScanPage, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::UserId;
use beep_core::permission::{Action, Gate, Grant};
use beep_core::store::{BiteStore, SearchCursor, SearchIndex, SearchPage, SearchQuery};
use beep_core::transcript::Transcript;
use beep_core::{Error, ErrorKind, Result};

/// How far the transcript of a bite is.
#[derive(Clone, Debug, PartialEq)]
pub enum TranscriptState {
    /// Here it is.
    Ready(Transcript),
    /// It will come.
    Pending,
    /// It could not be made, for this reason.
    Failed(String),
    /// Transcription is off in this installation.
    Off,
}

/// Read access to what was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub(crate) bites: &'a dyn BiteStore,
    pub(crate) search: &'a dyn SearchIndex,
    pub(crate) gate: &'a Gate,
    pub(crate) transcribing: bool,
}

impl Query<'_> {
    /// The starts of the records under a label.
    pub async fn scan(&self, grant: &Grant, label: Label, range: ScanRange) -> Result<ScanPage> {
        require(grant, Action::Listen)?;
        self.bites.scan(label, grant.conversation(), range).await
    }

    /// The records under a label without their bytes.
    pub async fn list(
        &self,
        grant: &Grant,
        label: Label,
        range: ScanRange,
    ) -> Result<Vec<(Millis, BiteMeta)>> {
        require(grant, Action::Listen)?;
        self.bites.metas(label, grant.conversation(), range).await
    }

    /// A record with its bytes, digest checked; [`ErrorKind::NotFound`] when there is none.
    pub async fn record(&self, grant: &Grant, label: Label, start: Millis) -> Result<Bite> {
        require(grant, Action::Listen)?;
        self.bites.get(&key(grant, label, start)).await?.ok_or_else(|| none(label))
    }

    /// What is known about a record; [`ErrorKind::NotFound`] when there is none.
    pub async fn meta(&self, grant: &Grant, label: Label, start: Millis) -> Result<BiteMeta> {
        require(grant, Action::Listen)?;
        self.bites.head(&key(grant, label, start)).await?.ok_or_else(|| none(label))
    }

    /// The transcript of a bite, or how far it is; [`ErrorKind::NotFound`] when there is no such bite.
    pub async fn transcript(&self, grant: &Grant, start: Millis) -> Result<TranscriptState> {
        require(grant, Action::Listen)?;
        let transcription = key(grant, Label::Transcription, start);
        if let Some(record) = self.bites.get(&transcription).await? {
            let transcript = serde_json::from_slice(&record.body).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "the stored transcript cannot be read")
                    .with("key", &transcription)
                    .with_source(e)
            })?;
            return Ok(TranscriptState::Ready(transcript));
        }
        let bite = key(grant, Label::Bite, start);
        self.bites.head(&bite).await?.ok_or_else(|| none(Label::Bite))?;
        if let Some(parked) = self.bites.parked_at(&bite).await? {
            return Ok(TranscriptState::Failed(parked.reason));
        }
        Ok(if self.transcribing { TranscriptState::Pending } else { TranscriptState::Off })
    }

    /// Finds transcripts in the conversation of the grant.
    pub async fn search_in(
        &self,
        grant: &Grant,
        words: &str,
        before: Option<SearchCursor>,
        limit: usize,
    ) -> Result<SearchPage> {
        require(grant, Action::Listen)?;
        let conversations = Some(vec![grant.conversation().clone()]);
        self.search.search(SearchQuery { words: words.to_owned(), conversations, before, limit }).await
    }

    /// Finds transcripts in everything that this user may hear.
    pub async fn search_all(
        &self,
        user: &UserId,
        words: &str,
        before: Option<SearchCursor>,
        limit: usize,
    ) -> Result<SearchPage> {
        let conversations = Some(self.gate.hears(user).await?);
        self.search.search(SearchQuery { words: words.to_owned(), conversations, before, limit }).await
    }
}

fn key(grant: &Grant, label: Label, start: Millis) -> BiteKey {
    BiteKey::new(label, grant.conversation().clone(), start)
}

fn none(label: Label) -> Error {
    let what = match label {
        Label::Bite => "no bite starts there",
        Label::User => "nothing is attached to a bite that starts there",
        Label::Transcription => "no bite that starts there has a transcript",
    };
    Error::new(ErrorKind::NotFound, what)
}
