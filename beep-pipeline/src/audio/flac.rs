//! FLAC: recognised, and measured by its STREAMINFO block.

use super::AudioError;
use super::mp3::after_id3;

/// Whether `bytes` is FLAC, possibly behind an ID3 tag that some taggers put there.
pub(super) fn is_flac(bytes: &[u8]) -> bool {
    after_id3(bytes).starts_with(b"fLaC")
}

/// Duration as STREAMINFO gives it; `None` from an encoder that did not know it when it began.
pub(super) fn duration_ms(bytes: &[u8]) -> Result<Option<u64>, AudioError> {
    let info = after_id3(bytes).get(4..4 + 4 + 34).filter(|info| info[0] & 0x7F == 0);
    let info = info.ok_or_else(|| AudioError::Invalid("FLAC without STREAMINFO".into()))?;
    // 20 bits of rate, 3 of channels, 5 of sample size, 36 of sample count.
    let fields = info[14..22].iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
    let (rate, samples) = (fields >> 44, fields & 0xF_FFFF_FFFF);
    if rate == 0 {
        return Err(AudioError::Invalid("FLAC of 0 Hz".into()));
    }
    Ok((samples > 0).then(|| samples * 1000 / rate))
}
