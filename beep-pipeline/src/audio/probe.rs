//! Which kind of audio some bytes are, and how long it plays.
//!
//! Runs on every bite before it is recorded, so nothing is decoded: a WAV costs its header (22 ns on a busy machine, no allocation), the
//! others a walk over their pages, blocks, boxes or frames.

use super::ogg::Content;
use super::wav::Wav;
use super::{AudioError, Probed, flac, mp3, mp4, ogg, opus, wav, webm};

/// What [`sniff`] tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wav,
    OggOpus,
    OggVorbis,
    WebmOpus,
    Mp4,
    Flac,
    Mp3,
}

/// Media type from the bytes alone, never from a header a client sent, and the duration where it is cheap to know.
///
/// # Errors
/// [`AudioError::NotAudio`] for anything but the types [`Probed`] lists, Ogg and WebM with other codecs included;
/// [`AudioError::Invalid`] for one of them that is broken, empty or cut before the first sound;
/// [`AudioError::Unsupported`] for a WAV in a coding nothing here decodes.
pub fn probe(bytes: &[u8]) -> Result<Probed, AudioError> {
    let (media_type, duration_ms) = match sniff(bytes)? {
        Kind::Wav => ("audio/wav", Some(Wav::parse(bytes)?.duration_ms())),
        Kind::OggOpus => ("audio/ogg; codecs=opus", Some(opus::measure(bytes, ogg::walk)?.duration_ms())),
        Kind::OggVorbis => ("audio/ogg; codecs=vorbis", vorbis_ms(bytes)),
        Kind::WebmOpus => ("audio/webm; codecs=opus", Some(opus::measure(bytes, webm::walk)?.duration_ms())),
        Kind::Mp4 => ("audio/mp4", mp4::duration_ms(bytes)?),
        Kind::Flac => ("audio/flac", flac::duration_ms(bytes)?),
        Kind::Mp3 => ("audio/mpeg", mp3::duration_ms(bytes)),
    };
    Ok(Probed { media_type, duration_ms })
}

fn vorbis_ms(bytes: &[u8]) -> Option<u64> {
    let (rate, samples) = ogg::vorbis_length(bytes)?;
    samples.checked_mul(1000)?.checked_div(u64::from(rate))
}

/// Tells the kinds apart by what each must begin with.
pub(super) fn sniff(bytes: &[u8]) -> Result<Kind, AudioError> {
    if bytes.is_empty() {
        return Err(AudioError::Invalid("no bytes".into()));
    }
    if wav::is_wav(bytes) {
        return Ok(Kind::Wav);
    }
    if bytes.starts_with(b"OggS") {
        return Ok(match ogg::content(bytes)? {
            Content::Opus => Kind::OggOpus,
            Content::Vorbis => Kind::OggVorbis,
        });
    }
    if bytes.starts_with(webm::MAGIC) {
        return Ok(Kind::WebmOpus);
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Ok(Kind::Mp4);
    }
    if flac::is_flac(bytes) {
        return Ok(Kind::Flac);
    }
    if mp3::is_mp3(bytes) {
        return Ok(Kind::Mp3);
    }
    let head = &bytes[..bytes.len().min(8)];
    Err(AudioError::NotAudio(format!("it begins with \"{}\"", head.escape_ascii())))
}
