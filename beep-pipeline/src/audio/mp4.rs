//! MP4: whether there is a sound track, and how long it is, plain or fragmented.

use super::AudioError;

/// Duration of the first sound track; `None` when neither its header nor its fragments give one.
///
/// # Errors
/// [`AudioError::NotAudio`] without a sound track, [`AudioError::Invalid`] when the index (`moov`) is missing: without it the
/// bytes cannot be played by anything.
pub(super) fn duration_ms(bytes: &[u8]) -> Result<Option<u64>, AudioError> {
    let Some(moov) = child(bytes, b"moov") else {
        // Pictures come in the same boxes, with `meta` for an index.
        return Err(match child(bytes, b"meta") {
            Some(_) => AudioError::NotAudio("MP4 of a picture".into()),
            None => AudioError::Invalid("MP4 cut before its index".into()),
        });
    };
    let sound =
        |trak: &[u8]| path(trak, &[b"mdia", b"hdlr"]).and_then(|hdlr| hdlr.get(8..12)) == Some(b"soun");
    let trak = boxes(moov).find(|(name, trak)| name == b"trak" && sound(trak)).map(|(_, trak)| trak);
    let trak = trak.ok_or_else(|| AudioError::NotAudio("MP4 without a sound track".into()))?;
    Ok(track_ms(bytes, moov, trak))
}

fn track_ms(bytes: &[u8], moov: &[u8], trak: &[u8]) -> Option<u64> {
    let mdhd = path(trak, &[b"mdia", b"mdhd"])?;
    // Version 1 has 64-bit times.
    let (scale, declared) = match mdhd.first()? {
        1 => (be(mdhd, 20, 4)?, be(mdhd, 24, 8)?),
        _ => (be(mdhd, 12, 4)?, be(mdhd, 16, 4)?),
    };
    let units = match declared {
        0 | 0xFFFF_FFFF | u64::MAX => fragments(bytes, moov, track_id(trak)?),
        units => units,
    };
    units.checked_mul(1000)?.checked_div(scale).filter(|ms| *ms > 0)
}

fn track_id(trak: &[u8]) -> Option<u64> {
    let tkhd = path(trak, &[b"tkhd"])?;
    be(tkhd, if *tkhd.first()? == 1 { 20 } else { 12 }, 4)
}

/// Adds up the fragments of one track, in its time units: what browsers record has no other duration.
fn fragments(bytes: &[u8], moov: &[u8], track: u64) -> u64 {
    let trex = child(moov, b"mvex")
        .and_then(|mvex| boxes(mvex).find(|(name, trex)| name == b"trex" && be(trex, 4, 4) == Some(track)))
        .and_then(|(_, trex)| be(trex, 12, 4));
    let moofs = boxes(bytes).filter(|(name, _)| name == b"moof");
    let trafs = moofs.flat_map(|(_, moof)| boxes(moof).filter(|(name, _)| name == b"traf"));
    trafs.filter_map(|(_, traf)| fragment(traf, track, trex)).fold(0, u64::saturating_add)
}

/// One track's part of a fragment.
fn fragment(traf: &[u8], track: u64, default: Option<u64>) -> Option<u64> {
    let tfhd = child(traf, b"tfhd")?;
    if be(tfhd, 4, 4)? != track {
        return None;
    }
    let flags = be(tfhd, 1, 3)?;
    // Base data offset and sample description index come first, when they do.
    let at = 8 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
    let default = if flags & 8 != 0 { be(tfhd, at, 4) } else { default }.unwrap_or(0);
    let runs = boxes(traf).filter(|(name, _)| name == b"trun");
    Some(runs.filter_map(|(_, trun)| run(trun, default)).fold(0, u64::saturating_add))
}

/// One run of samples.
fn run(trun: &[u8], default: u64) -> Option<u64> {
    let (flags, count) = (be(trun, 1, 3)?, be(trun, 4, 4)?);
    if flags & 0x100 == 0 {
        return count.checked_mul(default);
    }
    let at = 8 + if flags & 1 != 0 { 4 } else { 0 } + if flags & 4 != 0 { 4 } else { 0 };
    // Of duration, size, flags and time offset each is there or not; the duration is first.
    let record = 4 * (flags >> 8 & 0xF).count_ones() as usize;
    let records = trun.get(at..)?.chunks_exact(record).take(count as usize);
    Some(records.filter_map(|record| be(record, 0, 4)).sum())
}

/// The boxes in `bytes`, as far as they are whole: name and content.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..8)?;
        let (start, length) = match be(head, 0, 4)? {
            // Up to the end, and a 64-bit length behind the name.
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(be(bytes, 8, 8)?).ok()?),
            length => (8, length as usize),
        };
        let content = bytes.get(start..length)?;
        let name = [head[4], head[5], head[6], head[7]];
        bytes = &bytes[length..];
        Some((name, content))
    })
}

fn child<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(found, _)| found == name).map(|(_, content)| content)
}

fn path<'a>(bytes: &'a [u8], names: &[&[u8; 4]]) -> Option<&'a [u8]> {
    names.iter().try_fold(bytes, |inside, name| child(inside, name))
}

/// `length` bytes at `at` as a big-endian number.
fn be(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    Some(bytes.get(at..at + length)?.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}
