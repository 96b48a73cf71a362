//! Real speech through the real libvosk: texts, times, silence, many at once, cancellation.
#![cfg(feature = "transcribe-vosk")]

use crate::speech_support::{clips, digits, word_errors};
use beep_core::transcriber::Transcriber;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn clips_are_heard_exactly() {
    let Some(vosk) = digits(1) else { return };
    let (mut errors, mut words) = (0, 0);
    for (name, samples, said) in clips() {
        let heard = vosk.transcribe(samples).await.unwrap();
        assert_eq!(heard.text, said, "{name}");
        assert_eq!((heard.language.as_str(), heard.model.as_str()), ("en", "vosk/model-digits"));
        errors += word_errors(&said, &heard.text);
        words += said.split_whitespace().count();
    }
    println!("goal=wer-clips value={:.2} limit=0", 100.0 * errors as f64 / words as f64);
    assert_eq!((errors, words), (0, 22));
}

#[tokio::test]
async fn words_have_plausible_times() {
    let Some(vosk) = digits(1) else { return };
    for (name, samples, _) in clips() {
        let length = samples.len() as u64 / 16;
        let heard = vosk.transcribe(samples).await.unwrap();
        let spelled: Vec<_> = heard.words.iter().map(|w| w.word.as_str()).collect();
        assert_eq!(spelled.join(" "), heard.text);
        let mut before = 0;
        for word in &heard.words {
            assert!(word.start_ms >= before && word.end_ms <= length, "{name}: {word:?} of {length} ms");
            assert!((60..1500).contains(&(word.end_ms - word.start_ms)), "{name}: {word:?}");
            assert!((0.3..=1.0).contains(&word.confidence), "{name}: {word:?}");
            before = word.end_ms;
        }
    }
}

/// Long audio ends many sentences on the way. None may be lost, and times must go on counting.
#[tokio::test]
async fn long_audio_keeps_every_sentence_and_counts_on() {
    let Some(vosk) = digits(1) else { return };
    let pause = vec![0; 16_000 * 3 / 2];
    let (mut samples, mut said, mut begins) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        for (_, clip, text) in clips() {
            begins.push((samples.len() / 16) as u64);
            samples.extend_from_slice(&clip);
            samples.extend_from_slice(&pause);
            said.push(text);
        }
    }
    let heard = vosk.transcribe(samples.into()).await.unwrap();
    assert_eq!(heard.text, said.join(" "));
    let mut words = heard.words.as_slice();
    for (begin, text) in begins.iter().zip(&said) {
        let (sentence, rest) = words.split_at(text.split(' ').count());
        assert!((*begin..begin + 1000).contains(&sentence[0].start_ms), "{text:?} at {begin}: {sentence:?}");
        words = rest;
    }
}

#[tokio::test]
async fn nothing_said_is_an_empty_text() {
    let Some(vosk) = digits(1) else { return };
    for samples in [0, 1, 2, 159, 399, 400, 401, 1_000, 16_000, 160_000].map(|n| vec![0; n]) {
        let length = samples.len();
        let heard = vosk.transcribe(samples.into()).await.unwrap();
        assert_eq!((heard.text.as_str(), heard.words.len()), ("", 0), "{length} zeros");
    }
    let mut state = 1_u32;
    for loudness in [3, 30, 300, 3_000] {
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i32 % (2 * loudness + 1) - loudness) as i16
        };
        let heard = vosk.transcribe((0..80_000).map(|_| noise()).collect()).await.unwrap();
        assert_eq!(heard.text, "", "white noise of {loudness}");
    }
}

/// Whatever a broken microphone or decoder hands over, the process must live and answer.
#[tokio::test]
async fn any_samples_are_survived() {
    let Some(vosk) = digits(1) else { return };
    let extremes: [fn(usize) -> i16; 5] = [
        |_| i16::MIN,
        |_| i16::MAX,
        |i| if i / 40 % 2 == 0 { i16::MIN } else { i16::MAX },
        |i| if i % 16_000 == 0 { i16::MAX } else { 0 },
        |i| (i as u32).wrapping_mul(2_654_435_761).rotate_left(13) as i16,
    ];
    for sample in extremes {
        for length in [400, 8_001, 64_000] {
            vosk.transcribe((0..length).map(sample).collect()).await.unwrap();
        }
    }
}

/// What is not in the model's twenty words is left out, not written as a marker.
#[tokio::test]
async fn no_marker_reaches_text_or_words() {
    let Some(vosk) = digits(1) else { return };
    for (name, samples, _) in clips() {
        // Backwards, it is speech without words.
        let reversed: Vec<i16> = samples.iter().rev().copied().collect();
        let heard = vosk.transcribe(reversed.into()).await.unwrap();
        assert!(!heard.text.contains(['[', '<']), "{name}: {}", heard.text);
        assert!(heard.words.iter().all(|w| !w.word.contains(['[', '<'])), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_at_once_hear_the_same() {
    let Some(vosk) = digits(4) else { return };
    assert_eq!(vosk.parallelism(), 4);
    let vosk = Arc::new(vosk);
    let jobs = (0..25).flat_map(|_| clips()).map(|(name, samples, said)| {
        let vosk = Arc::clone(&vosk);
        (name, said, tokio::spawn(async move { vosk.transcribe(samples).await }))
    });
    for (name, said, job) in jobs.collect::<Vec<_>>() {
        assert_eq!(job.await.unwrap().unwrap().text, said, "{name}");
    }
}

/// Who stops waiting gives the place back at once: the next does not wait for the abandoned hour.
#[tokio::test]
async fn cancelled_future_frees_its_place() {
    let Some(vosk) = digits(1) else { return };
    let (_, clip, said) = clips().swap_remove(6);
    let hour: Arc<[i16]> = clip.iter().copied().cycle().take(16_000 * 3_600).collect();
    let begun = Instant::now();
    tokio::time::timeout(Duration::from_millis(100), vosk.transcribe(hour)).await.unwrap_err();
    assert_eq!(vosk.transcribe(clip).await.unwrap().text, said);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Decoding for seconds must not hold up the tasks of the only async thread.
#[tokio::test(flavor = "current_thread")]
async fn decoding_does_not_block_async_threads() {
    let Some(vosk) = digits(1) else { return };
    let (_, clip, _) = clips().swap_remove(6);
    let minutes: Arc<[i16]> = clip.iter().copied().cycle().take(16_000 * 120).collect();
    let decoding = vosk.transcribe(minutes);
    tokio::pin!(decoding);
    let mut ticks = 0;
    loop {
        tokio::select! {
            heard = &mut decoding => break assert!(!heard.unwrap().text.is_empty()),
            () = tokio::time::sleep(Duration::from_millis(1)) => ticks += 1,
        }
    }
    assert!(ticks > 10, "{ticks} ticks");
}
