//! Keeps the data file longer than what is used: a commit that lengthens its file makes the file system write its own
//! records too, one after the other, before the sync returns.

use std::fs::File;
use std::io::{Result, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

/// How much is added at once: an eighth of the file, within these.
const LEAST: u64 = 256 << 10;
const MOST: u64 = 4 << 20;
/// The pause after there was no room for it.
const PAUSE: Duration = Duration::from_secs(10);
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The room behind the used part of a file.
pub(super) struct Ahead {
    file: File,
    /// As long as the file was at least when it was last looked at; it never becomes shorter.
    length: u64,
    /// As long as it may become.
    most: u64,
    not_before: Option<Instant>,
}

impl Ahead {
    pub(super) fn new(file: File, most: u64) -> Self {
        Self { file, length: 0, most, not_before: None }
    }

    /// Whether less than half of the room is left.
    pub(super) fn is_short(&self, used: u64) -> bool {
        let wanted = used.saturating_add(room(used) / 2).min(self.most);
        wanted > self.length && self.not_before.is_none_or(|time| time <= Instant::now())
    }

    /// Adds zeros behind the end, on disk when this returns. Nothing else may write to the file meanwhile.
    ///
    /// Not being able to is no failure: commits then lengthen the file themselves. What was added is given back then,
    /// as others need the last of the disk more.
    pub(super) fn extend(&mut self, used: u64) -> Result<()> {
        let end = self.file.metadata()?.len();
        let wanted = used.saturating_add(room(used)).min(self.most);
        if let Err(error) = self.fill(end, wanted) {
            self.not_before = Some(Instant::now() + PAUSE);
            self.file.set_len(end)?;
            return Err(error);
        }
        self.length = wanted.max(end);
        self.not_before = None;
        Ok(())
    }

    /// Zeros that are really written: room that is only reserved becomes the file's in the commit that uses it.
    fn fill(&mut self, mut end: u64, wanted: u64) -> Result<()> {
        if end >= wanted {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(end))?;
        while end < wanted {
            let piece = ZEROS.len().min(usize::try_from(wanted - end).unwrap_or(usize::MAX));
            self.file.write_all(&ZEROS[..piece])?;
            end += piece as u64;
        }
        self.file.sync_all()
    }
}

fn room(used: u64) -> u64 {
    (used / 8).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(ahead: &Ahead) -> Result<u64> {
        Ok(ahead.file.metadata()?.len())
    }

    #[test]
    fn there_is_room_ahead_and_what_was_there_stays() -> Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(b"used")?;
        let mut ahead = Ahead::new(file, 1 << 30);
        assert!(ahead.is_short(4));
        ahead.extend(4)?;
        assert_eq!(length(&ahead)?, 4 + LEAST);
        assert!(!ahead.is_short(4));
        assert!(ahead.is_short(4 + LEAST * 2 / 3));
        ahead.extend(64 << 20)?;
        assert_eq!(length(&ahead)?, (64 << 20) + MOST);
        let bytes = std::io::read_to_string({
            ahead.file.seek(SeekFrom::Start(0))?;
            std::io::Read::take(&ahead.file, 6)
        })?;
        assert_eq!(bytes, "used\0\0");
        Ok(())
    }

    #[test]
    fn it_stops_where_it_must() -> Result<()> {
        let mut ahead = Ahead::new(tempfile::tempfile()?, LEAST);
        ahead.extend(LEAST - 10)?;
        assert_eq!(length(&ahead)?, LEAST);
        assert!(!ahead.is_short(LEAST));
        Ok(())
    }

    /// `/dev/full` takes nothing, as a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn without_room_it_waits_before_it_tries_again() -> Result<()> {
        let full = std::fs::OpenOptions::new().read(true).write(true).open("/dev/full")?;
        let mut ahead = Ahead::new(full, 1 << 30);
        assert!(ahead.is_short(0));
        ahead.extend(0).unwrap_err();
        assert!(!ahead.is_short(0));
        Ok(())
    }
}
