//! A transcriber of your own: here one that only says how long somebody spoke.

use async_trait::async_trait;
use beep_core::clock::System;
use beep_core::permission::{Action, Gate};
use beep_core::store::Start;
use beep_core::transcriber::{SAMPLE_RATE, Transcriber};
use beep_core::transcript::{Transcript, Word};
use beep_pipeline::outbound::TranscriptState;
use beep_pipeline::{Beep, Utterance, samples::SAMPLES};
use beep_storage::{StorageConfig, open};
use std::sync::Arc;

#[derive(Debug)]
struct Stopwatch;

#[async_trait]
impl Transcriber for Stopwatch {
    fn model(&self) -> &str {
        "stopwatch/1"
    }

    fn parallelism(&self) -> usize {
        2
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> beep_core::Result<Transcript> {
        let end_ms = samples.len() as u64 * 1_000 / u64::from(SAMPLE_RATE);
        let text = format!("{end_ms} milliseconds");
        let words =
            text.split(' ').map(|word| Word { word: word.into(), start_ms: 0, end_ms, confidence: 1.0 });
        Ok(Transcript { words: words.collect(), text, language: "en".into(), model: self.model().into() })
    }
}

#[tokio::main]
async fn main() -> beep_core::Result<()> {
    let stores = open(&StorageConfig::memory(), Arc::new(System)).await?;
    let beep = Beep::builder(stores).transcriber(Arc::new(Stopwatch)).start().await?;
    let crew = Gate::operator(&"crew".parse()?, Gate::operator_identity()?, Action::Speak);

    for (n, sample) in SAMPLES.iter().enumerate() {
        beep.record(&crew, Utterance::new(sample.wav, Start::At(n as u64))).await?;
    }
    beep.settle().await?;

    for (n, sample) in SAMPLES.iter().enumerate() {
        if let TranscriptState::Ready(transcript) = beep.query().transcript(&crew, n as u64).await? {
            println!("{:<20} {}", sample.text, transcript.text);
        }
    }
    println!(
        "{} bites found by \"milliseconds\"",
        beep.query().search_in(&crew, "milliseconds", None, 100).await?.hits.len()
    );
    beep.shutdown().await;
    Ok(())
}
