//! Vosk through the whole pipeline (stored, logged, decoded, recognised, indexed) beside bare Vosk on the same audio.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use beep_core::clock::System;
use beep_core::id::ConversationId;
use beep_core::permission::{Action, Gate};
use beep_core::store::Start;
use beep_pipeline::samples::SAMPLES;
use beep_pipeline::transcriber::vosk::{BUNDLED, SpeechHome, VoskOptions, VoskTranscriber, select};
use beep_pipeline::{Beep, Utterance};
use beep_storage::DataDir;
use std::process::ExitCode;
use std::sync::Arc;
use support::figures::{Figures, median};
use support::process::cpu;
use support::rounds;
use support::running::installation::runtime;
use support::running::{libvosk, required};
use vosk::{DecodingState, Model, Recognizer};

/// How often the clips are recognised in one turn: the pipeline's own work is measured against enough of Vosk's.
const REPEATS: u64 = 3;

fn main() -> ExitCode {
    let Some(library) = libvosk() else {
        assert!(!required("vosk"), "BEEP_REQUIRE asks for vosk, but there is no libvosk: set VOSK_LIB");
        println!("SKIPPED, NOT MEASURED: no libvosk; `beep-cli speech install`, VOSK_LIB");
        return ExitCode::SUCCESS;
    };
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::new(dir.path());
    let home = SpeechHome::new(data.speech());
    let options = VoskOptions { model: Some(BUNDLED.into()), lib: Some(library), threads: 1 };
    let transcriber = VoskTranscriber::open(&home, options).unwrap();
    let model = Model::new(select(&home, Some(BUNDLED)).unwrap().path.to_str().unwrap()).unwrap();

    let (mut beep, mut bare) = (Vec::new(), Vec::new());
    runtime().block_on(async {
        let stores = beep_storage::open(&data.storage(), Arc::new(System)).await.unwrap();
        let pipeline = Beep::builder(stores).transcriber(Arc::new(transcriber)).start().await.unwrap();
        for round in 0..=rounds() as u64 {
            let through = costing(async || through(&pipeline, round).await).await;
            let alone = costing(async || (0..REPEATS).for_each(|_| alone(&model))).await;
            // The first one warms up.
            if round > 0 {
                beep.push(through);
                bare.push(alone);
            }
        }
        pipeline.shutdown().await;
    });
    let (beep, bare) = (median(&beep), median(&bare));
    let detail = format!("beep={beep:.0}ms vosk={bare:.0}ms clips={}", SAMPLES.len() as u64 * REPEATS);
    let mut figures = Figures::default();
    figures.at_most("vosk-cpu", beep / bare, 1.05, &detail);
    figures.finish()
}

/// Milliseconds of CPU of this process.
async fn costing(work: impl AsyncFnOnce()) -> f64 {
    let before = cpu(std::process::id());
    work().await;
    cpu(std::process::id()).saturating_sub(before).as_secs_f64() * 1e3
}

async fn through(pipeline: &Beep, round: u64) {
    let room: ConversationId = "c-speech".parse().unwrap();
    let grant = Gate::operator(&room, Gate::operator_identity().unwrap(), Action::Speak);
    for n in 0..REPEATS * SAMPLES.len() as u64 {
        let start = Start::At(1 + round * 1_000 + n);
        let sample = SAMPLES[n as usize % SAMPLES.len()];
        pipeline.record(&grant, Utterance::new(sample.wav, start)).await.unwrap();
    }
    pipeline.settle().await.unwrap();
}

/// What any program that calls Vosk has to do.
fn alone(model: &Model) {
    for sample in SAMPLES {
        let samples: Vec<i16> =
            sample.wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let mut recognizer = Recognizer::new(model, 16_000.0).unwrap();
        recognizer.set_words(true);
        // A pause ends a part, and what follows the last pause may be nothing.
        let mut said = Vec::new();
        for chunk in samples.chunks(4_000) {
            if recognizer.accept_waveform(chunk).unwrap() == DecodingState::Finalized {
                said.push(recognizer.result().single().unwrap().text.to_owned());
            }
        }
        said.push(recognizer.final_result().single().unwrap().text.to_owned());
        said.retain(|part| !part.is_empty());
        assert_eq!(said.join(" "), sample.text);
    }
}
