//! `ingest`: stores files as recordings, many at once, so that doing it again changes nothing.

mod files;
mod report;
mod slots;
mod target;

use super::Context;
use crate::failure::{Failure, Outcome, Result};
use crate::time;
use beep_core::ErrorKind;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, DeviceId, UserId};
use beep_pipeline::inbound::{Accepted, accept};
use bytes::Bytes;
use files::File;
use futures_util::{StreamExt, TryStreamExt, stream};
use report::Report;
use slots::Slots;
use std::path::PathBuf;
use target::{MOST_BYTES, Target};
use tokio::sync::Semaphore;

/// How many files are under way at once: enough for their commits to share syncs.
const AT_ONCE: usize = 32;
/// How many KiB of them are in memory at once.
const MOST_KIB: usize = 192 << 10;

const EXAMPLES: &str = "\
Ingesting the same files again changes nothing, also after an interruption: files that are there
already are counted as such. Files with the same start stand one millisecond apart, in the order
of their names. In folders, what is not audio is skipped.

Examples:
  beep-cli ingest recordings/ --conversation c-0123
  beep-cli ingest note.m4a --conversation c-0123 --user u-0123 --start 2026-11-23T09:00:00Z
  ffmpeg -i call.mkv -f ogg - | beep-cli ingest - --conversation c-0123";

/// Store recordings in a conversation.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files, folders (with all below them), or - for standard input
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// The conversation
    #[arg(long, short, value_name = "C")]
    conversation: ConversationId,
    /// Who speaks; without it, the operator
    #[arg(long, value_name = "U")]
    user: Option<UserId>,
    /// On which device [default: beep-cli]
    #[arg(long, value_name = "D", requires = "user")]
    client: Option<DeviceId>,
    /// When the first word was said: a time, `mtime` (the file's modification time) or `now`
    /// [default: mtime; now for standard input]
    #[arg(long, value_name = "MS|mtime|now", value_parser = start)]
    start: Option<Start>,
    /// Only say what would happen; with --server, without asking it
    #[arg(long)]
    dry_run: bool,
}

/// Where recordings are to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    At(Millis),
    Mtime,
    Now,
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "mtime" => Ok(Start::Mtime),
        "now" => Ok(Start::Now),
        time => time::parse(time).map(Start::At),
    }
}

/// Stores them.
pub async fn run(args: Args, context: &Context) -> Result<Outcome> {
    let target = Target::open(&args, context).await?;
    let (paths, start) = (args.files.clone(), args.start);
    let found = tokio::task::spawn_blocking(move || files::find(&paths, start)).await;
    let found = found.map_err(|e| Failure::new("internal", "looking for files broke off").because(&e))??;

    let report = Report::new(&context.out, &args.conversation, args.dry_run, found.len());
    for (path, why) in found.unreadable {
        report.failed(&path, why)?;
    }
    let run = Run {
        target: &target,
        report: &report,
        slots: Slots::default(),
        room: Semaphore::new(MOST_KIB),
        dry: args.dry_run,
    };
    // Files of one start follow each other, so that they stand in order; different starts go side by side.
    let ended =
        stream::iter(found.groups).map(Ok).try_for_each_concurrent(AT_ONCE, |group| run.group(group)).await;
    let outcome = report.end();
    target.close().await;
    ended.and(outcome)
}

struct Run<'a> {
    target: &'a Target,
    report: &'a Report<'a>,
    slots: Slots,
    room: Semaphore,
    dry: bool,
}

impl Run<'_> {
    async fn group(&self, (start, files): (Millis, Vec<File>)) -> Result<()> {
        // Everything before it is claimed by this group: no need to walk over it again.
        let mut from = start;
        for file in files {
            match self.file(&file, from).await {
                Ok(at) if at == from => from = from.saturating_add(1),
                Ok(_) => {}
                Err(e) if !named_or_real(&file, &e) => self.report.skipped(&file, &e)?,
                Err(e) if about_the_file(&e) => self.report.failed(&file.path, e)?,
                // The next file would fare no better.
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    async fn file(&self, file: &File, from: Millis) -> Result<Millis> {
        let kib = (file.bytes >> 10).clamp(1, MOST_KIB as u64) as u32;
        let _room =
            self.room.acquire_many(kib).await.map_err(|e| Failure::new("internal", "no room").because(&e))?;
        let path = file.path.clone();
        let looked = tokio::task::spawn_blocking(move || look(&path)).await;
        let recording = looked.map_err(|e| Failure::new("internal", "reading broke off").because(&e))??;
        let (start, landing) =
            self.slots.walk(from, async |start| self.target.put(&recording, start, self.dry).await).await?;
        self.report.landed(file, &recording, start, landing)?;
        Ok(start)
    }
}

/// Reads a file and looks whether it is a recording. Blocks.
fn look(path: &std::path::Path) -> Result<Accepted> {
    let body: Bytes = files::read(path, MOST_BYTES)?.into();
    if body.is_empty() {
        return Err(Failure::new(EMPTY, "it is empty"));
    }
    Ok(accept(body, MOST_BYTES)?)
}

const EMPTY: &str = "empty";

/// In a folder there may be anything; only what is audio, but broken, is worth an error.
fn named_or_real(file: &File, e: &Failure) -> bool {
    file.named || !(e.code() == EMPTY || e.code() == ErrorKind::UnsupportedMedia.code())
}

/// Whether the next file may fare better.
fn about_the_file(e: &Failure) -> bool {
    let kinds = [ErrorKind::UnsupportedMedia, ErrorKind::Invalid, ErrorKind::TooLarge, ErrorKind::Malformed];
    e.code() == EMPTY || e.code() == "io" || kinds.iter().any(|kind| kind.code() == e.code())
}
