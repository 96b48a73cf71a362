//! What came in, looked at without any I/O: size, media type from the bytes, duration, digest.

use crate::audio::{self, AudioError};
use beep_core::bite::Digest;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;

/// The most bytes of a record that somebody attaches to a bite.
pub const MAX_ATTACHMENT: usize = 64 * 1024;

/// Bytes that may be stored.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The bytes, untouched.
    pub body: Bytes,
    /// Their media type.
    pub media_type: &'static str,
    /// How long they last, where that is cheap to know.
    pub duration_ms: Option<u64>,
    /// Their SHA-256.
    pub sha256: Digest,
}

/// Looks at audio.
///
/// [`ErrorKind::TooLarge`] above `max_bytes`, [`ErrorKind::Invalid`] when empty or broken,
/// [`ErrorKind::UnsupportedMedia`] when it is not audio that Beep knows.
pub fn accept(body: Bytes, max_bytes: usize) -> Result<Accepted> {
    check_size(&body, max_bytes)?;
    let probed = audio::probe(&body).map_err(|e| {
        let kind = match e {
            AudioError::NotAudio(_) | AudioError::Unsupported(_) => ErrorKind::UnsupportedMedia,
            _ => ErrorKind::Invalid,
        };
        Error::new(kind, e.to_string())
    })?;
    let sha256 = Digest::of(&body);
    Ok(Accepted { media_type: probed.media_type, duration_ms: probed.duration_ms, sha256, body })
}

/// Looks at a record that belongs to a bite: any bytes up to [`MAX_ATTACHMENT`].
pub fn accept_attachment(body: Bytes) -> Result<Accepted> {
    check_size(&body, MAX_ATTACHMENT)?;
    let media_type = match std::str::from_utf8(&body) {
        Ok(text) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => "application/json",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    };
    Ok(Accepted { media_type, duration_ms: None, sha256: Digest::of(&body), body })
}

fn check_size(body: &Bytes, max_bytes: usize) -> Result<()> {
    if body.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "the body is empty: send the bytes of the recording"));
    }
    if body.len() > max_bytes {
        return Err(Error::new(ErrorKind::TooLarge, format!("the body has more than {max_bytes} bytes")));
    }
    Ok(())
}
