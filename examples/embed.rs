//! A stored and transcribed bite, with the library alone.

use beep_core::clock::System;
use beep_core::permission::{Action, Gate};
use beep_core::store::Start;
use beep_pipeline::transcriber::vosk::{SpeechHome, VoskOptions, VoskTranscriber};
use beep_pipeline::{Beep, Utterance, samples::SAMPLES};
use beep_storage::{DataDir, open};
use std::sync::Arc;

#[tokio::main]
async fn main() -> beep_core::Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = open(&DataDir::new(folder.path()).storage(), Arc::new(System)).await?;

    let mut builder = Beep::builder(stores);
    match VoskTranscriber::open(
        &SpeechHome::new(DataDir::default_location().speech()),
        VoskOptions::default(),
    ) {
        Ok(vosk) => builder = builder.transcriber(Arc::new(vosk)),
        Err(why) => println!("not transcribed: {why}"),
    }
    let beep = builder.start().await?;

    let crew = Gate::operator(&"crew".parse()?, Gate::operator_identity()?, Action::Speak);
    let recorded = beep.record(&crew, Utterance::new(SAMPLES[1].wav, Start::At(1_700_000_000_000))).await?;
    println!("stored {} ({} bytes)", recorded.key, recorded.bytes);

    beep.settle().await?;
    println!("{:?}", beep.query().transcript(&crew, recorded.key.start).await?);
    beep.shutdown().await;
    Ok(())
}
