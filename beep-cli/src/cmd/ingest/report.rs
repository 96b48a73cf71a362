//! What became of each file, said as it happens, counted for the end.

use super::files::File;
use super::slots::Landing;
use crate::failure::{Failure, Outcome, Result};
use crate::output::Output;
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use beep_pipeline::inbound::Accepted;
use indicatif::ProgressBar;
use serde_json::json;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The running account of an ingest.
pub struct Report<'a> {
    out: &'a Output,
    bar: ProgressBar,
    conversation: &'a ConversationId,
    dry: bool,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    stored: u64,
    present: u64,
    skipped: u64,
    failed: u64,
}

impl<'a> Report<'a> {
    /// An account of so many files.
    pub fn new(out: &'a Output, conversation: &'a ConversationId, dry: bool, files: usize) -> Self {
        let bar = out.bar("ingesting", Some(files as u64));
        Self { out, bar, conversation, dry, counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file that stands at this start now.
    pub fn landed(&self, file: &File, recording: &Accepted, start: Millis, landing: Landing) -> Result<()> {
        let there = landing == Landing::Present;
        let state = match (there, self.dry) {
            (true, _) => "already there",
            (false, true) => "would store",
            (false, false) => "stored",
        };
        {
            let mut counts = self.counts();
            if there { counts.present += 1 } else { counts.stored += 1 }
        }
        self.bar.inc(1);
        let path = file.path.display();
        if self.out.json() {
            return self.out.object(&json!({
                "type": "file",
                "file": path.to_string(),
                "state": state.replace(' ', "_"),
                "conversation": self.conversation,
                "start": start,
                "media_type": recording.media_type,
                "duration_ms": recording.duration_ms,
                "bytes": recording.body.len(),
                "sha256": recording.sha256.to_string(),
            }));
        }
        if self.out.verbose() {
            self.out.say(&format!("{state}: {path} at {start}"))?;
        }
        Ok(())
    }

    /// A file in a folder that is not audio.
    pub fn skipped(&self, file: &File, why: &Failure) -> Result<()> {
        self.counts().skipped += 1;
        self.bar.inc(1);
        if self.out.json() {
            return self.without_start(&file.path, "skipped", why);
        }
        self.out.warn(&format!("skipped {}: {}", file.path.display(), why.one_line()));
        Ok(())
    }

    /// A file that could not be stored.
    pub fn failed(&self, path: &Path, why: Failure) -> Result<()> {
        self.counts().failed += 1;
        self.bar.inc(1);
        if self.out.json() {
            return self.without_start(path, "failed", &why);
        }
        let name = path.display().to_string();
        let named = why.one_line().contains(&name);
        self.out.error(&if named { why } else { why.about(&name) });
        Ok(())
    }

    fn without_start(&self, path: &Path, state: &str, why: &Failure) -> Result<()> {
        self.out.object(&json!({
            "type": "file",
            "file": path.display().to_string(),
            "state": state,
            "code": why.code(),
            "message": why.one_line(),
        }))
    }

    /// The sums, and whether all went well.
    pub fn end(&self) -> Result<Outcome> {
        self.bar.finish_and_clear();
        let Counts { stored, present, skipped, failed } = *self.counts();
        if self.out.json() {
            self.out.object(&json!({
                "type": "summary",
                "stored": stored,
                "already_there": present,
                "skipped": skipped,
                "failed": failed,
                "dry_run": self.dry,
            }))?;
        }
        let verb = if self.dry { "would store" } else { "stored" };
        self.out
            .say(&format!("{verb} {stored}, already there {present}, skipped {skipped}, failed {failed}"))?;
        Ok(if failed == 0 { Outcome::Done } else { Outcome::Incomplete })
    }
}
