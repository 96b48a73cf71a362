//! `transcript`: what was said, as text: of one recording, or of a whole conversation with times.

use super::scan::starts;
use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::clean;
use crate::remote::{Remote, body};
use crate::time;
use beep_core::ErrorKind;
use beep_core::bite::{BiteKey, Label, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::ConversationId;
use beep_core::store::{BiteStore, BiteStoreExt};
use beep_core::transcript::Transcript;
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Print what was said, as text.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  beep-cli transcript c-0123 --json | jq .words")]
pub struct Args {
    /// The conversation
    #[arg(value_name = "C")]
    conversation: ConversationId,
    /// The start of one recording; without it, all of the conversation, with times
    #[arg(value_name = "START", value_parser = time::parse)]
    start: Option<Millis>,
}

/// How far a transcript is.
enum State {
    Ready(Transcript),
    Pending,
    Failed(String),
    NoRecording,
}

impl Site {
    /// What to do about what is not transcribed yet.
    fn patience(&self) -> &'static str {
        match self {
            Self::Local(_) => "`beep-cli transcribe` transcribes what waits",
            Self::Remote(_) => "the server is at it: ask again in a while",
        }
    }
}

/// Prints it.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let site = context.open(Missing::Refuse).await?;
    if let Site::Local(stores) = &site {
        local::readable(stores, &args.conversation).await?;
    }
    match args.start {
        Some(start) => one(&site, &args.conversation, start, context).await?,
        None => all(&site, &args.conversation, context).await?,
    }
    Ok(Outcome::Done)
}

async fn one(site: &Site, conversation: &ConversationId, start: Millis, context: &Context) -> Result<()> {
    match state(site, conversation, start).await? {
        State::Ready(transcript) if context.out.json() => context.out.object(&object(start, &transcript)?),
        State::Ready(transcript) => context.out.line(&clean(&transcript.text)),
        State::Pending => Err(Failure::not_found(format!("the recording at {start} is not transcribed yet"))
            .hint(site.patience())),
        State::Failed(why) => {
            let message = format!("the recording at {start} could not be transcribed: {why}");
            Err(Failure::new(ErrorKind::Invalid.code(), message))
        }
        State::NoRecording => {
            let message =
                format!("no recording in {conversation} starts at {start}, or it has no transcript");
            Err(Failure::not_found(message)
                .hint(format!("`beep-cli scan {conversation}` lists the recordings there are")))
        }
    }
}

async fn all(site: &Site, conversation: &ConversationId, context: &Context) -> Result<()> {
    let starts = match site {
        Site::Local(stores) => stores.bites.starts(Label::Bite, conversation).await?,
        Site::Remote(remote) => all_starts(remote, conversation).await?,
    };
    let (mut waiting, mut failed) = (0, 0);
    for start in starts {
        match state(site, conversation, start).await? {
            State::Ready(transcript) if context.out.json() => {
                context.out.object(&object(start, &transcript)?)?
            }
            State::Ready(transcript) if transcript.text.is_empty() => {}
            State::Ready(transcript) => {
                context.out.line(&format!("{}  {}", time::local(start), clean(&transcript.text)))?;
            }
            State::Pending => waiting += 1,
            State::Failed(_) => failed += 1,
            // Deleted meanwhile.
            State::NoRecording => {}
        }
    }
    if waiting > 0 {
        context.out.warn(&format!("{waiting} not transcribed yet; {}", site.patience()));
    }
    if failed > 0 {
        context.out.warn(&format!("{failed} could not be transcribed"));
    }
    Ok(())
}

async fn all_starts(remote: &Remote, conversation: &ConversationId) -> Result<Vec<Millis>> {
    let mut all = Vec::new();
    let mut next = Some(ScanRange::all());
    while let Some(range) = next {
        let page = starts(remote, Label::Bite, conversation, range).await?;
        next = page.last().and_then(|last| range.after(*last));
        all.extend(page);
    }
    Ok(all)
}

async fn state(site: &Site, conversation: &ConversationId, start: Millis) -> Result<State> {
    match site {
        Site::Local(stores) => state_here(&*stores.bites, conversation, start).await,
        Site::Remote(remote) => state_there(remote, conversation, start).await,
    }
}

async fn state_here(bites: &dyn BiteStore, conversation: &ConversationId, start: Millis) -> Result<State> {
    let bite = BiteKey::new(Label::Bite, conversation.clone(), start);
    if let Some(record) = bites.get(&bite.labelled(Label::Transcription)).await? {
        let transcript = serde_json::from_slice(&record.body).map_err(|e| {
            Failure::new(ErrorKind::Corrupt.code(), format!("the transcript at {start} cannot be read"))
                .because(&e)
        })?;
        return Ok(State::Ready(transcript));
    }
    if bites.head(&bite).await?.is_none() {
        return Ok(State::NoRecording);
    }
    Ok(bites.parked_at(&bite).await?.map_or(State::Pending, |parked| State::Failed(parked.reason)))
}

async fn state_there(remote: &Remote, conversation: &ConversationId, start: Millis) -> Result<State> {
    let start = start.to_string();
    let request = remote.get(&["transcription", "conversation", conversation.as_str(), "start", &start]);
    let answer = request.ok().await;
    match answer {
        Ok(answer) if answer.status() == StatusCode::ACCEPTED => Ok(State::Pending),
        Ok(answer) => Ok(State::Ready(body(answer).await?)),
        Err(e) if matches!(e.code(), "not_transcribed" | "transcription_off") => {
            Ok(State::Failed(e.message().to_owned()))
        }
        Err(e) if e.code() == ErrorKind::NotFound.code() => Ok(State::NoRecording),
        Err(e) => Err(e),
    }
}

fn object(start: Millis, transcript: &Transcript) -> Result<Value> {
    let mut object = json!({ "start": start, "time": time::utc(start) });
    if let (Value::Object(all), Value::Object(own)) = (&mut object, serde_json::to_value(transcript)?) {
        all.extend(own);
    }
    Ok(object)
}
