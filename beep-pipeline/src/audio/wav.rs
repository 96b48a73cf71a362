//! WAV: the header, however a recorder left it, and the samples.

use super::resample::{RATES, Sink};
use super::{AudioError, SAMPLE_RATE};

/// How one sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    U8,
    /// Signed, little-endian; the top two bytes of wider ones carry what 16 bits can hold, the rest rounds.
    Int,
    F32,
    F64,
    MuLaw,
    ALaw,
}

/// A parsed WAV file; `data` is a whole number of frames.
pub(super) struct Wav<'a> {
    coding: Coding,
    channels: usize,
    rate: u32,
    /// Bytes of one sample of one channel.
    width: usize,
    data: &'a [u8],
    /// The data chunk promised more than there is.
    pub(super) truncated: bool,
}

pub(super) fn is_wav(bytes: &[u8]) -> bool {
    matches!(bytes.get(..4), Some(b"RIFF" | b"RF64" | b"BW64")) && bytes.get(8..12) == Some(b"WAVE")
}

impl<'a> Wav<'a> {
    /// Reads the chunks. Sizes that lie beyond the file, or that a recorder never got to fill in (0, 0xFFFFFFFF), mean
    /// "up to the end".
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AudioError> {
        let (mut format, mut data) = (None, None);
        let mut at = 12;
        while let Some(header) = bytes.get(at..at + 8) {
            let declared = u32_at(header, 4) as usize;
            let body = &bytes[at + 8..];
            let whole = body.get(..declared);
            match &header[..4] {
                b"fmt " => format = Some(Format::parse(whole.unwrap_or(body))?),
                b"data" if data.is_none() => {
                    let unfilled = declared == 0 && !starts_with_chunk(body);
                    let streamed = declared == u32::MAX as usize;
                    data = Some((whole.filter(|_| !unfilled).unwrap_or(body), whole.is_none() && !streamed));
                }
                _ => {}
            }
            if format.is_some() && data.is_some() {
                break;
            }
            // Chunks are padded to an even length.
            at = at.saturating_add(8).saturating_add(declared).saturating_add(declared & 1);
        }
        let Format { coding, channels, rate, width } =
            format.ok_or_else(|| AudioError::Invalid("WAV without a fmt chunk".into()))?;
        let (data, truncated) = data.ok_or_else(|| AudioError::Invalid("WAV without a data chunk".into()))?;
        let data = &data[..data.len() - data.len() % (width * channels)];
        if data.is_empty() {
            return Err(AudioError::Invalid("WAV without samples".into()));
        }
        Ok(Self { coding, channels, rate, width, data, truncated })
    }

    pub(super) fn duration_ms(&self) -> u64 {
        (self.data.len() / (self.width * self.channels)) as u64 * 1000 / u64::from(self.rate)
    }

    /// Mixes to mono and resamples.
    pub(super) fn decode(&self, sink: &mut Sink) -> Result<(), AudioError> {
        if self.rate == SAMPLE_RATE && self.channels == 1 {
            // No arithmetic on what is already right.
            match (self.coding, self.width) {
                (Coding::Int, 2) => {
                    return sink
                        .push_exact(self.data.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])));
                }
                (Coding::MuLaw, _) => return sink.push_exact(self.data.iter().map(|b| mu_law(*b))),
                (Coding::ALaw, _) => return sink.push_exact(self.data.iter().map(|b| a_law(*b))),
                _ => {}
            }
        }
        let mut mono = Vec::with_capacity(PIECE);
        for piece in self.data.chunks(self.width * self.channels * PIECE) {
            mono.clear();
            mono.extend(piece.chunks_exact(self.width * self.channels).map(|frame| {
                frame.chunks_exact(self.width).map(|s| self.sample(s)).sum::<f32>() / self.channels as f32
            }));
            sink.push(self.rate, &mono)?;
        }
        Ok(())
    }

    /// One sample of `width` bytes, full scale ±1.
    fn sample(&self, s: &[u8]) -> f32 {
        match self.coding {
            Coding::U8 => (f32::from(s[0]) - 128.0) / 128.0,
            Coding::MuLaw => f32::from(mu_law(s[0])) / 32_768.0,
            Coding::ALaw => f32::from(a_law(s[0])) / 32_768.0,
            Coding::F32 => f32::from_le_bytes([s[0], s[1], s[2], s[3]]),
            Coding::F64 => f64::from_le_bytes([s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]]) as f32,
            Coding::Int => {
                // The top four bytes, left-justified, whatever the width.
                let mut top = [0; 4];
                let n = s.len().min(4);
                top[4 - n..].copy_from_slice(&s[s.len() - n..]);
                i32::from_le_bytes(top) as f32 / 2_147_483_648.0
            }
        }
    }
}

/// Frames converted at a time: bounds memory for wide files.
const PIECE: usize = 4_096;

struct Format {
    coding: Coding,
    channels: usize,
    rate: u32,
    width: usize,
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, AudioError> {
        if chunk.len() < 16 {
            return Err(AudioError::Invalid("WAV with a short fmt chunk".into()));
        }
        let channels = usize::from(u16_at(chunk, 2));
        let rate = u32_at(chunk, 4);
        let block = usize::from(u16_at(chunk, 12));
        let bits = usize::from(u16_at(chunk, 14));
        let tag = match u16_at(chunk, 0) {
            // WAVE_FORMAT_EXTENSIBLE: the real tag opens the sub-format GUID.
            0xFFFE if chunk.len() >= 26 => u16_at(chunk, 24),
            tag => tag,
        };
        if channels == 0 || !RATES.contains(&rate) {
            return Err(AudioError::Invalid(format!("WAV of {channels} channels at {rate} Hz")));
        }
        // 24 bits may travel in 4 bytes: the block size decides where it is usable, the bits where it is not.
        let width = match block / channels {
            width if block % channels == 0 && (bits.div_ceil(8)..=8).contains(&width) && width > 0 => width,
            _ => bits.div_ceil(8),
        };
        let coding = match (tag, width) {
            (1, 1) => Coding::U8,
            (1, 2..=8) => Coding::Int,
            (3, 4) => Coding::F32,
            (3, 8) => Coding::F64,
            (6, 1) => Coding::ALaw,
            (7, 1) => Coding::MuLaw,
            (1 | 3 | 6 | 7, _) => {
                return Err(AudioError::Invalid(format!("WAV of coding {tag} with {bits} bits")));
            }
            (tag, _) => return Err(AudioError::Unsupported(format!("WAV of coding {tag:#06x}"))),
        };
        Ok(Self { coding, channels, rate, width })
    }
}

/// Whether `bytes` is nothing or another chunk that fits: then an empty data chunk before it really is empty.
fn starts_with_chunk(bytes: &[u8]) -> bool {
    bytes.is_empty()
        || bytes.len() >= 8
            && bytes[..4].iter().all(|b| b.is_ascii_graphic() || *b == b' ')
            && u32_at(bytes, 4) as usize <= bytes.len() - 8
}

/// ITU-T G.711 µ-law.
fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = (((i16::from(byte & 0x0F) << 3) + 0x84) << ((byte >> 4) & 7)) - 0x84;
    if byte & 0x80 != 0 { -magnitude } else { magnitude }
}

/// ITU-T G.711 A-law.
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let low = i16::from(byte & 0x0F) << 4;
    let magnitude = match (byte >> 4) & 7 {
        0 => low + 8,
        segment => (low + 0x108) << (segment - 1),
    };
    if byte & 0x80 != 0 { magnitude } else { -magnitude }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companding_follows_g711() {
        assert_eq!([0xFF, 0x7F, 0x80, 0x00, 0xF0].map(mu_law), [0, 0, 32_124, -32_124, 120]);
        assert_eq!([0xD5, 0x55, 0xAA, 0x2A, 0x80].map(a_law), [8, -8, 32_256, -32_256, 5_504]);
    }

    #[test]
    fn wide_integers_keep_their_top_bits() {
        let wav =
            |coding, width| Wav { coding, channels: 1, rate: 8_000, width, data: &[], truncated: false };
        assert_eq!(wav(Coding::Int, 2).sample(&[0, 0x40]), 0.5);
        assert_eq!(wav(Coding::Int, 3).sample(&[0, 0, 0xC0]), -0.5);
        assert_eq!(wav(Coding::Int, 4).sample(&[0, 0, 0, 0x40]), 0.5);
        assert_eq!(wav(Coding::Int, 8).sample(&[0, 0, 0, 0, 0, 0, 0, 0x40]), 0.5);
        assert_eq!(wav(Coding::U8, 1).sample(&[192]), 0.5);
    }
}
