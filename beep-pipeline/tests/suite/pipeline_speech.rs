//! Real speech through the whole pipeline: recorded, recognised by Vosk, stored, told, found.

use crate::pipeline_support::{bob, stores};
use beep_core::store::Start;
use beep_pipeline::outbound::TranscriptState;
use beep_pipeline::samples::SAMPLES;
use beep_pipeline::{Beep, Utterance};
use std::sync::Arc;

#[tokio::test]
async fn spoken_clips_are_recorded_recognised_and_found() {
    let Some(vosk) = crate::speech_support::digits(2) else { return };
    let beep = Beep::builder(stores().await).transcriber(Arc::new(vosk)).start().await.unwrap();
    for (start, sample) in (1u64..).zip(SAMPLES) {
        beep.record(&bob(), Utterance::new(sample.wav, Start::At(start))).await.unwrap();
    }
    beep.settle().await.unwrap();
    for (start, sample) in (1u64..).zip(SAMPLES) {
        let TranscriptState::Ready(transcript) = beep.query().transcript(&bob(), start).await.unwrap() else {
            panic!("`{}` has no transcript", sample.text);
        };
        assert_eq!(transcript.text, sample.text);
        let found = beep.query().search_in(&bob(), &format!("\"{}\"", sample.text), None, 10).await.unwrap();
        assert!(found.hits.iter().any(|hit| hit.start == start), "`{}` is not found", sample.text);
    }
    beep.shutdown().await;
}
