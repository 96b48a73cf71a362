//! `transcribe`: runs the pipeline with a recogniser until nothing waits any more.

use super::{Context, recogniser};
use crate::failure::{Failure, Outcome, Result};
use crate::output::clean;
use beep_core::bite::Label;
use beep_core::event::{Event, LogEntry, Seq};
use beep_core::store::{BiteStore, BiteStoreExt};
use beep_pipeline::Beep;
use beep_pipeline::workers::TRANSCRIBE;
use serde_json::json;
use std::ops::ControlFlow;
use std::time::Duration;

const EXAMPLE: &str = "\
Needs `beep-cli speech install` once. What is transcribed already is left alone; what cannot be
transcribed is named, and then the exit code is 1.

Example:
  beep-cli transcribe --model vosk-model-small-de-0.15";

/// Transcribe everything that waits for it, then end.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The model; without it, the one added last [see: beep-cli speech list]
    #[arg(long, value_name = "M")]
    model: Option<String>,
}

/// Transcribes what waits.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let stores = context.stores("transcribe").await?;
    let (speech, model) = (context.data("transcribe")?.speech(), args.model.clone());
    let opened = tokio::task::spawn_blocking(move || recogniser::open(speech, model)).await;
    let transcriber =
        opened.map_err(|e| Failure::new("internal", "loading the model broke off").because(&e))??;

    let before = stores.bites.tail().await?;
    let begun = stores.bites.cursor(TRANSCRIBE).await?;
    let beep = Beep::builder(stores.clone()).transcriber(transcriber).start().await?;
    let settled = settle(&beep, begun, before, context).await;
    beep.shutdown().await;
    settled?;
    account(&*stores.bites, before, context).await
}

/// Waits for the workers, with a bar of what was recorded before.
async fn settle(beep: &Beep, begun: Seq, tail: Seq, context: &Context) -> Result<()> {
    let bites = &beep.stores().bites;
    let bar = context.out.bar("transcribing", Some(tail.saturating_sub(begun)));
    let watch = async {
        loop {
            let cursor = bites.cursor(TRANSCRIBE).await?;
            bar.set_position(cursor.min(tail).saturating_sub(begun));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ended = tokio::select! {
        settled = beep.settle() => settled,
        failed = watch => failed,
    };
    bar.finish_and_clear();
    Ok(ended?)
}

/// What was added to the log meanwhile: transcripts, and recordings that cannot be transcribed.
async fn account(bites: &dyn BiteStore, before: Seq, context: &Context) -> Result<Outcome> {
    let out = &context.out;
    let mut transcribed = 0_u64;
    let mut failed = Vec::new();
    let mut count = |entry: LogEntry| {
        match entry.event {
            Event::Stored { key, .. } if key.label == Label::Transcription => transcribed += 1,
            Event::Failed { key, reason, .. } => failed.push((key, reason)),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    bites.replay(before, &mut count).await?;
    for (key, reason) in &failed {
        if out.json() {
            let (conversation, start) = (&key.conversation, key.start);
            out.object(
                &json!({ "type": "failed", "conversation": conversation, "start": start, "reason": reason }),
            )?;
        } else {
            out.warn(&format!(
                "{} at {} could not be transcribed: {}",
                key.conversation,
                key.start,
                clean(reason)
            ));
        }
    }
    if out.json() {
        out.object(&json!({ "type": "summary", "transcribed": transcribed, "failed": failed.len() }))?;
    }
    out.say(&format!("transcribed {transcribed}, failed {}", failed.len()))?;
    Ok(if failed.is_empty() { Outcome::Done } else { Outcome::Incomplete })
}
