//! Any accepted recording to 16 kHz mono.
//!
//! WAV and Opus are decoded by this module's own code, FLAC, MP3, Vorbis and MP4 by symphonia 0.6.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::mp3::after_id3;
use super::ogg::Part;
use super::probe::{Kind, sniff};
use super::resample::Sink;
use super::wav::Wav;
use super::{AudioError, Pcm, mp4, ogg, opus, webm};

/// Decodes the whole recording to mono at [`SAMPLE_RATE`](super::SAMPLE_RATE), channels mixed evenly.
///
/// Memory is bounded by `limit_ms` of output and the input's own size, whatever the headers claim. Damage after the first sound
/// shortens the result, or costs the damaged packets, but is no error.
///
/// # Errors
/// [`AudioError::NotAudio`] and [`AudioError::Invalid`] as [`probe`](super::probe) has them, `Invalid` also when nothing at
/// all could be decoded; [`AudioError::Unsupported`] for a codec without a decoder here; [`AudioError::TooLong`] beyond `limit_ms`.
pub fn decode_16k(bytes: &[u8], limit_ms: u64) -> Result<Pcm, AudioError> {
    // None of the decoders is known to panic; one found tomorrow must cost one recording, not a worker.
    catch_unwind(AssertUnwindSafe(|| decode(bytes, limit_ms)))
        .unwrap_or_else(|_| Err(AudioError::Invalid("the decoder gave up".into())))
}

fn decode(bytes: &[u8], limit_ms: u64) -> Result<Pcm, AudioError> {
    let mut sink = Sink::new(limit_ms);
    let (truncated, bad_packets) = match sniff(bytes)? {
        Kind::Wav => {
            let wav = Wav::parse(bytes)?;
            super::resample::check_limit(wav.duration_ms(), limit_ms)?;
            wav.decode(&mut sink)?;
            (wav.truncated, 0)
        }
        Kind::OggOpus => opus::decode(bytes, ogg::walk, limit_ms, &mut sink)?,
        Kind::WebmOpus => opus::decode(bytes, webm::walk, limit_ms, &mut sink)?,
        // symphonia reads tags only to skip them, and needs a feature for that.
        Kind::Flac | Kind::Mp3 => by_symphonia(after_id3(bytes), &mut sink)?,
        Kind::OggVorbis => vorbis(bytes, &mut sink)?,
        Kind::Mp4 => {
            // Says more plainly what is missing than symphonia does.
            mp4::duration_ms(bytes)?;
            by_symphonia(bytes, &mut sink)?
        }
    };
    if sink.is_empty() {
        return Err(AudioError::Invalid("no sound could be decoded".into()));
    }
    let samples = sink.finish();
    if samples.is_empty() {
        return Err(AudioError::Invalid("no sound could be decoded".into()));
    }
    Ok(Pcm { samples, truncated, bad_packets })
}

/// Decodes the first sound track. Answers whether it was cut short and how many packets were bad.
fn by_symphonia(bytes: &[u8], sink: &mut Sink) -> Result<(bool, u32), AudioError> {
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut reader = symphonia::default::get_probe()
        .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|e| AudioError::Invalid(e.to_string()))?;
    let track = reader
        .default_track(TrackType::Audio)
        .ok_or_else(|| AudioError::NotAudio("no sound track".into()))?;
    let id = track.id;
    let params = track.codec_params.as_ref().and_then(|p| p.audio()).cloned();
    let params = params.ok_or_else(|| AudioError::Unsupported("unknown codec".into()))?;
    if params.codec == CODEC_ID_OPUS {
        opus_track(&mut *reader, id, &params, sink)
    } else {
        track_of(&mut *reader, id, &params, sink)
    }
}

fn track_of(
    reader: &mut dyn FormatReader,
    id: u32,
    params: &AudioCodecParameters,
    sink: &mut Sink,
) -> Result<(bool, u32), AudioError> {
    let mut track = Track::new(params, u64::MAX)?;
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == id => track.packet(&packet, sink)?,
            Ok(Some(_)) => {}
            Ok(None) => return Ok((false, track.bad)),
            Err(_) => return Ok((true, track.bad)),
        }
    }
}

/// Ogg Vorbis: the pages are read here, because symphonia's reader refuses all of a file that a cut or a flipped bit
/// damaged; the packets are symphonia's.
fn vorbis(bytes: &[u8], sink: &mut Sink) -> Result<(bool, u32), AudioError> {
    let mut keep = ogg::vorbis_length(bytes).map_or(u64::MAX, |(_, samples)| samples);
    let (mut private, mut track) = (Vec::new(), None::<Track>);
    let mut bad = 0;
    let truncated = ogg::walk_packets(bytes, ogg::VORBIS, &mut |part| {
        match (part, track.as_mut()) {
            // A chained stream has another set-up and the file's last position.
            (Part::Head(head), _) => {
                private = head.to_vec();
                if let Some(previous) = track.take() {
                    (bad, keep) = (bad + previous.bad, u64::MAX);
                }
            }
            (Part::Packet(packet), None) if packet.starts_with(b"\x05vorbis") => {
                private.extend_from_slice(packet);
                let mut params = AudioCodecParameters::new();
                params.for_codec(CODEC_ID_VORBIS).with_extra_data(std::mem::take(&mut private).into());
                track = Some(Track::new(&params, keep)?);
            }
            (Part::Packet(packet), Some(track)) => {
                let packet = Packet::new(0, Timestamp::ZERO, Duration::ZERO, packet);
                track.packet(&packet, sink)?;
            }
            (Part::Packet(_) | Part::PageEnd { .. }, _) => {}
        }
        Ok(())
    })?;
    Ok((truncated, bad + track.map_or(0, |track| track.bad)))
}

/// A symphonia decoder on its way to the sink.
struct Track {
    decoder: Box<dyn AudioDecoder>,
    keep: u64,
    bad: u32,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
}

impl Track {
    /// Stops after `keep` samples of the track's own rate.
    fn new(params: &AudioCodecParameters, keep: u64) -> Result<Self, AudioError> {
        let decoder =
            symphonia::default::get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default());
        let decoder = decoder.map_err(|e| AudioError::Unsupported(e.to_string()))?;
        Ok(Self { decoder, keep, bad: 0, interleaved: Vec::new(), mono: Vec::new() })
    }

    fn packet(&mut self, packet: &Packet, sink: &mut Sink) -> Result<(), AudioError> {
        let Ok(buffer) = self.decoder.decode(packet) else {
            self.bad += 1;
            return Ok(());
        };
        let (channels, rate) = (buffer.spec().channels().count().max(1), buffer.spec().rate());
        self.interleaved.clear();
        buffer.copy_to_vec_interleaved(&mut self.interleaved);
        self.mono.clear();
        let frames = self.interleaved.chunks_exact(channels);
        self.mono.extend(frames.map(|frame| frame.iter().sum::<f32>() / channels as f32));
        self.mono.truncate(usize::try_from(self.keep).unwrap_or(usize::MAX));
        self.keep -= self.mono.len() as u64;
        sink.push(rate, &self.mono)
    }
}

/// Opus in MP4, which some browsers record: symphonia takes the boxes apart, the packets are ours.
fn opus_track(
    reader: &mut dyn FormatReader,
    id: u32,
    params: &AudioCodecParameters,
    sink: &mut Sink,
) -> Result<(bool, u32), AudioError> {
    // symphonia puts Ogg's magic before the box's content.
    let private = params.extra_data.as_deref().and_then(|data| data.strip_prefix(b"OpusHead"));
    let head = private.map_or(Ok(opus::Head::default()), opus::Head::parse_mp4)?;
    let mut stream = opus::Stream::new(head, u64::MAX)?;
    let mut bad = 0;
    loop {
        match reader.next_packet() {
            Ok(Some(packet)) if packet.track_id == id => {
                bad += u32::from(!stream.packet(&packet.data, sink)?)
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok((false, bad)),
            Err(_) => return Ok((true, bad)),
        }
    }
}
