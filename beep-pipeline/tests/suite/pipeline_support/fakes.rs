//! Audio that says what a test wants, and a transcriber that hears it.

use async_trait::async_trait;
use beep_core::transcriber::Transcriber;
use beep_core::transcript::{Transcript, Word};
use beep_core::{Error, ErrorKind, Result};
use std::sync::Arc;

/// A WAV file whose samples are the bytes of this text: [`Echo`] hears them.
pub fn wav(said: &str) -> Vec<u8> {
    let mut samples: Vec<i16> = said.bytes().map(i16::from).collect();
    samples.push(0);
    wav_of(&samples)
}

/// A 16 kHz mono WAV file of these samples.
pub fn wav_of(samples: &[i16]) -> Vec<u8> {
    let length = samples.len() as u32 * 2;
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&16_000u32.to_le_bytes());
    file.extend_from_slice(&32_000u32.to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&length.to_le_bytes());
    samples.iter().for_each(|s| file.extend_from_slice(&s.to_le_bytes()));
    file
}

/// Hears what [`wav`] says. A text that begins with `fail ` is refused for good, one that begins with `never` is never
/// finished.
#[derive(Debug, Default)]
pub struct Echo;

#[async_trait]
impl Transcriber for Echo {
    fn model(&self) -> &str {
        "test/echo"
    }

    fn parallelism(&self) -> usize {
        2
    }

    async fn transcribe(&self, samples: Arc<[i16]>) -> Result<Transcript> {
        let bytes: Vec<u8> = samples.iter().take_while(|s| (1..256).contains(*s)).map(|s| *s as u8).collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(reason) = text.strip_prefix("fail ") {
            return Err(Error::new(ErrorKind::Invalid, reason));
        }
        if text.starts_with("never") {
            return std::future::pending().await;
        }
        let words = text.split_whitespace().zip(0u64..).map(|(word, i)| Word {
            word: word.to_owned(),
            start_ms: i * 100,
            end_ms: i * 100 + 80,
            confidence: 1.0,
        });
        Ok(Transcript { words: words.collect(), text, language: "en".into(), model: self.model().into() })
    }
}
