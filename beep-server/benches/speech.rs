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
use bytes::Bytes;
use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use support::figures::{Figures, median};
use support::process::cpu;
use support::rounds;
use support::running::installation::runtime;
use support::running::{libvosk, required};
use vosk::{DecodingState, Model, Recognizer};

/// How often the audio is recognised in one turn: the pipeline's own work is measured against enough of Vosk's.
const REPEATS: usize = 3;

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

    // As people push to talk, and as they leave a voice note: what a bite costs beside its sound weighs less in the second.
    let clips: Vec<Bytes> = SAMPLES.iter().map(|sample| Bytes::from_static(sample.wav)).collect();
    let note = joined(&clips);
    let mut figures = Figures::default();
    runtime().block_on(async {
        let stores = beep_storage::open(&data.storage(), Arc::new(System)).await.unwrap();
        let pipeline = Beep::builder(stores).transcriber(Arc::new(transcriber)).start().await.unwrap();
        let next = Cell::new(1);
        for (name, wavs) in [("2s", &clips), ("26s", &vec![note])] {
            let wavs: Vec<&Bytes> = std::iter::repeat_n(wavs, REPEATS).flatten().collect();
            let (mut beep, mut bare) = (Vec::new(), Vec::new());
            for round in 0..=rounds() {
                let through = costing(async || through(&pipeline, &wavs, &next).await).await;
                let alone = costing(async || wavs.iter().for_each(|wav| alone(&model, wav))).await;
                // The first one warms up.
                if round > 0 {
                    beep.push(through);
                    bare.push(alone);
                }
            }
            let (beep, bare) = (median(&beep), median(&bare));
            let detail = format!("beep={beep:.0}ms vosk={bare:.0}ms bites={}", wavs.len());
            figures.at_most(&format!("vosk-cpu-{name}"), beep / bare, 1.05, &detail);
        }
        pipeline.shutdown().await;
    });
    figures.finish()
}

/// All of them in one recording.
fn joined(wavs: &[Bytes]) -> Bytes {
    let mut all = wavs[0][..44].to_vec();
    wavs.iter().for_each(|wav| all.extend_from_slice(&wav[44..]));
    let sound = (all.len() - 44) as u32;
    all[4..8].copy_from_slice(&(sound + 36).to_le_bytes());
    all[40..44].copy_from_slice(&sound.to_le_bytes());
    all.into()
}

/// Milliseconds of CPU of this process.
async fn costing(work: impl AsyncFnOnce()) -> f64 {
    let before = cpu(std::process::id());
    work().await;
    cpu(std::process::id()).saturating_sub(before).as_secs_f64() * 1e3
}

async fn through(pipeline: &Beep, wavs: &[&Bytes], next: &Cell<u64>) {
    let room: ConversationId = "c-speech".parse().unwrap();
    let grant = Gate::operator(&room, Gate::operator_identity().unwrap(), Action::Speak);
    for wav in wavs {
        let start = Start::At(next.replace(next.get() + 1));
        pipeline.record(&grant, Utterance::new((*wav).clone(), start)).await.unwrap();
    }
    pipeline.settle().await.unwrap();
}

/// What any program that calls Vosk has to do.
fn alone(model: &Model, wav: &Bytes) {
    let samples: Vec<i16> = wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    let mut recognizer = Recognizer::new(model, 16_000.0).unwrap();
    recognizer.set_words(true);
    // A pause ends a part, and what follows the last pause may be nothing.
    let mut words = 0;
    for chunk in samples.chunks(4_000) {
        if recognizer.accept_waveform(chunk).unwrap() == DecodingState::Finalized {
            words += recognizer.result().single().unwrap().result.len();
        }
    }
    words += recognizer.final_result().single().unwrap().result.len();
    assert!(words > 0);
}
