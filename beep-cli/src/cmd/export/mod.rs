//! `export`: hands out everything that is kept about one user.

mod package;

use super::{Context, session};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Recordings};
use crate::output::{Output, size};
use crate::time;
use beep_core::ErrorKind;
use beep_core::bite::{Bite, BiteKey, Label};
use beep_core::id::UserId;
use beep_core::store::Stores;
use beep_core::transcript::Transcript;
use package::Package;
use serde_json::{Value, json};
use std::path::PathBuf;

const ABOUT: &str = "\
In it are user.json, conversations.jsonl, contacts.jsonl, sessions.jsonl (the devices, no secrets),
every recording of theirs under bites/, exactly as it was received, with manifest.jsonl: where and when
it was said, on which device, its SHA-256 and transcript; and their files under files/ with files.jsonl.

It has its name only when it is complete. What is there already is never overwritten.

Example:
  beep-cli export u-0123 -o u-0123.zip";

/// Write everything that is kept about a user to a zip file or a folder.
#[derive(clap::Args)]
#[command(after_help = ABOUT)]
pub struct Args {
    /// The user
    #[arg(value_name = "U")]
    user: UserId,
    /// Where to: a zip file if it ends with .zip, else a new folder
    #[arg(long, short, value_name = "FILE.zip|DIR")]
    output: PathBuf,
}

/// Writes it and prints where it is.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let stores = context.stores("export").await?;
    let user = local::user(&stores, &args.user).await?;
    let Recordings { keys, damaged } = local::recordings(&stores, &user.id, &context.out).await?;
    if damaged > 0 {
        context.out.warn(&format!("{damaged} recordings are damaged, and nobody knows whose they are"));
    }
    let package = Package::begin(&args.output)?;
    let mut export = Export { stores: &stores, out: &context.out, package, damaged };
    export.package.put("user.json", json!(user).to_string().as_bytes())?;
    let (recordings, bytes) = export.recordings(&keys).await?;
    let files = export.files(&user.id).await?;
    let conversations = export.conversations(&user.id).await?;
    let contacts = export.contacts(&user.id).await?;
    let sessions = export.sessions(&user.id).await?;
    let Export { package, damaged, .. } = export;
    package.close()?;
    let path = args.output.display().to_string();
    let sums = json!({
        "user": user.id,
        "output": path,
        "recordings": recordings,
        "bytes": bytes,
        "files": files,
        "conversations": conversations,
        "contacts": contacts,
        "sessions": sessions,
        "damaged": damaged,
    });
    context.out.made(&path, &sums)?;
    context.out.progress(&format!("{recordings} recordings, {}", size(bytes)));
    Ok(if damaged == 0 { Outcome::Done } else { Outcome::Incomplete })
}

/// One under way.
struct Export<'a> {
    stores: &'a Stores,
    out: &'a Output,
    package: Package,
    /// What could not be read, and was named.
    damaged: u64,
}

impl Export<'_> {
    /// Recordings with the manifest: how many, of how many bytes.
    async fn recordings(&mut self, keys: &[BiteKey]) -> Result<(usize, u64)> {
        let bar = self.out.bar("exporting", Some(keys.len() as u64));
        let (mut manifest, mut bytes) = (Vec::new(), 0);
        for key in keys {
            bar.inc(1);
            // None: damaged, or deleted meanwhile.
            if let Some(bite) = self.record(key).await? {
                manifest.push(self.recording(&bite).await?);
                bytes += bite.meta.bytes;
            }
        }
        bar.finish_and_clear();
        Ok((self.lines("manifest.jsonl", &manifest)?, bytes))
    }

    /// A recording with what is attached to it; its line in the manifest.
    async fn recording(&mut self, bite: &Bite) -> Result<Value> {
        let Bite { key, meta, body } = bite;
        let place = format!("bites/{}/{}", key.conversation, key.start);
        let file = format!("{place}.{}", extension(&meta.media_type));
        self.package.put(&file, body)?;
        let mut line = json!({
            "file": file,
            "conversation": key.conversation,
            "start": key.start,
            "time": time::utc(key.start),
            "clientid": meta.author.device,
            "media_type": meta.media_type,
            "duration_ms": meta.duration_ms,
            "bytes": meta.bytes,
            "sha256": meta.sha256.to_string(),
            "received": meta.received,
            "transcript": Value::Null,
        });
        if let Some(record) = self.record(&key.labelled(Label::Transcription)).await? {
            match serde_json::from_slice::<Transcript>(&record.body) {
                Ok(transcript) => line["transcript"] = transcript.text.into(),
                Err(e) => {
                    self.bad(&named(&record.key), Failure::new("corrupt", "it is no transcript").because(&e))
                }
            }
        }
        if let Some(attached) = self.record(&key.labelled(Label::User)).await? {
            let file = format!("{place}.attached");
            self.package.put(&file, &attached.body)?;
            line["attached"] = file.into();
        }
        Ok(line)
    }

    async fn record(&mut self, key: &BiteKey) -> Result<Option<Bite>> {
        let read = self.stores.bites.get(key).await;
        self.readable(read, || named(key))
    }

    /// One bad record must not keep everything else from whom it belongs to.
    fn readable<T>(
        &mut self,
        read: beep_core::Result<Option<T>>,
        name: impl Fn() -> String,
    ) -> Result<Option<T>> {
        match read {
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                self.bad(&name(), e.into());
                Ok(None)
            }
            read => Ok(read?),
        }
    }

    fn bad(&mut self, name: &str, why: Failure) {
        self.damaged += 1;
        self.out.error(&why.about(name));
    }

    async fn files(&mut self, user: &UserId) -> Result<usize> {
        let mut all = Vec::new();
        for (n, name) in self.stores.blobs.owned_by(user).await?.into_iter().enumerate() {
            let read = self.stores.blobs.get(&name).await;
            let Some(blob) = self.readable(read, || format!("file {name}"))? else { continue };
            // A name may be `..`: it never stands alone.
            let file = format!("files/{}-{name}", n + 1);
            self.package.put(&file, &blob.body)?;
            all.push(json!({
                "file": file,
                "name": name,
                "media_type": blob.media_type,
                "received": blob.received,
                "bytes": blob.body.len(),
            }));
        }
        self.lines("files.jsonl", &all)
    }

    async fn conversations(&mut self, user: &UserId) -> Result<usize> {
        let all = self.stores.directory.memberships(user).await?;
        let all = all.into_iter().map(|membership| {
            let mut object = json!(membership.conversation);
            object["role"] = json!(membership.role);
            object["pinned"] = membership.pinned.into();
            object["last_heard"] = membership.last_heard.into();
            object
        });
        self.lines("conversations.jsonl", &all.collect::<Vec<_>>())
    }

    async fn contacts(&mut self, user: &UserId) -> Result<usize> {
        let all = self.stores.directory.contacts(user).await?;
        self.lines("contacts.jsonl", &all.iter().map(|contact| json!(contact)).collect::<Vec<_>>())
    }

    async fn sessions(&mut self, user: &UserId) -> Result<usize> {
        let all = self.stores.directory.sessions(user).await?;
        self.lines("sessions.jsonl", &all.iter().map(session::object).collect::<Vec<_>>())
    }

    /// JSON lines; how many.
    fn lines(&mut self, name: &str, all: &[Value]) -> Result<usize> {
        let text: String = all.iter().map(|line| format!("{line}\n")).collect();
        self.package.put(name, text.as_bytes())?;
        Ok(all.len())
    }
}

fn named(key: &BiteKey) -> String {
    format!("{} {} at {}", key.label.as_str(), key.conversation, key.start)
}

/// What players go by.
fn extension(media_type: &str) -> &'static str {
    match media_type.split(';').next().unwrap_or_default() {
        "audio/ogg" => "ogg",
        "audio/wav" => "wav",
        "audio/webm" => "webm",
        "audio/mp4" => "m4a",
        "audio/flac" => "flac",
        "audio/mpeg" => "mp3",
        _ => "bin",
    }
}
