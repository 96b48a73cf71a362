//! Audio as clients send it: told apart by its bytes, measured without decoding, decoded to what speech recognition takes.
//!
//! Three pure functions: [`probe`] runs on the ingest path, [`decode_16k`] in front of the recogniser, and
//! [`encode_ogg_opus`] makes what browsers play. No I/O, no clock; damaged input is an error or a shorter recording,
//! never a panic. A recording that was cut short is a valid recording: what is there is kept.
//!
//! ```
//! use beep_pipeline::audio;
//! let second: Vec<i16> = (0..16_000).map(|i| ((i as f32 * 0.2).sin() * 8_000.0) as i16).collect();
//! let opus = audio::encode_ogg_opus(&second, audio::SAMPLE_RATE, 24_000)?;
//! assert_eq!(audio::probe(&opus)?.media_type, "audio/ogg; codecs=opus");
//! assert_eq!(audio::probe(&opus)?.duration_ms, Some(1_000));
//! assert_eq!(audio::decode_16k(&opus, 60_000)?.samples.len(), 16_000);
//! # Ok::<(), audio::AudioError>(())
//! ```

mod decode;
mod flac;
mod mp3;
mod mp4;
mod ogg;
mod opus;
mod probe;
mod resample;
mod wav;
mod webm;

pub use decode::decode_16k;
pub use opus::encode_ogg_opus;
pub use probe::probe;

/// Samples per second of everything [`decode_16k`] returns: what the recogniser was trained on.
pub const SAMPLE_RATE: u32 = 16_000;

/// What the bytes say about themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// `audio/wav`, `audio/ogg; codecs=opus`, `audio/ogg; codecs=vorbis`, `audio/webm; codecs=opus`, `audio/mp4`,
    /// `audio/flac` or `audio/mpeg`.
    pub media_type: &'static str,
    /// Length in milliseconds, rounded down; `None` where only decoding would tell.
    pub duration_ms: Option<u64>,
}

/// Decoded speech.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pcm {
    /// 16-bit mono samples at [`SAMPLE_RATE`]; never empty.
    pub samples: Vec<i16>,
    /// The file ends before it says it does; `samples` holds what was there.
    pub truncated: bool,
    /// Packets that could not be decoded. Where the codec can, their time is filled in, so that what follows keeps its place.
    pub bad_packets: u32,
}

/// Why bytes are not a usable recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// Not one of the accepted media types.
    #[error("not an accepted kind of audio: {0}")]
    NotAudio(String),
    /// An accepted container that is broken or holds no sound.
    #[error("broken or empty audio: {0}")]
    Invalid(String),
    /// An accepted container with a codec nothing here decodes.
    #[error("no decoder: {0}")]
    Unsupported(String),
    /// Longer than the caller allows; nothing was decoded beyond the limit.
    #[error("audio is {ms} ms long, {limit_ms} ms are allowed")]
    TooLong {
        /// Length in milliseconds, as far as it was measured.
        ms: u64,
        /// The limit the caller gave, in milliseconds.
        limit_ms: u64,
    },
}
