//! Which starts to list, and the page that comes back.

use crate::clock::Millis;
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The most entries of one page.
pub const MAX_PAGE: usize = 1_000;

/// The starts in `[from, to]`, at most `limit` of them, ascending.
///
/// ```
/// use beep_core::bite::{MAX_PAGE, ScanRange};
/// assert_eq!(ScanRange::new(5, 9, 0)?.limit(), 1);
/// assert_eq!(ScanRange::new(5, 9, 1_000_000)?.limit(), MAX_PAGE);
/// assert!(ScanRange::new(9, 5, 10).is_err());
/// # Ok::<(), beep_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRange {
    from: Millis,
    to: Millis,
    limit: usize,
}

impl ScanRange {
    /// [`ErrorKind::Malformed`] when `from` is after `to`. The limit is brought into `1..=MAX_PAGE`.
    pub fn new(from: Millis, to: Millis, limit: usize) -> Result<Self> {
        if from > to {
            return Err(Error::new(ErrorKind::Malformed, "`from` must not be after `to`"));
        }
        Ok(Self { from, to, limit: limit.clamp(1, MAX_PAGE) })
    }

    /// Everything, in pages of [`MAX_PAGE`].
    pub fn all() -> Self {
        Self { from: 0, to: Millis::MAX, limit: MAX_PAGE }
    }

    /// The first start that belongs to it.
    pub fn from(&self) -> Millis {
        self.from
    }

    /// The last start that belongs to it.
    pub fn to(&self) -> Millis {
        self.to
    }

    /// How many starts fit into one page.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// What is left of the range behind `start`, the last one of a page.
    pub fn after(&self, start: Millis) -> Option<Self> {
        let from = start.checked_add(1)?.max(self.from);
        (from <= self.to).then_some(Self { from, ..*self })
    }
}

/// One page of a scan.
///
/// * `starts` ascend and lie in the range.
/// * `previous` is the nearest start before `from`.
/// * `next` is the nearest start after the last one listed when the page is full, else after `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanPage {
    /// The nearest start before the range.
    pub previous: Option<Millis>,
    /// The starts in the range.
    pub starts: Vec<Millis>,
    /// The nearest start behind this page.
    pub next: Option<Millis>,
}

impl ScanPage {
    /// Whether the range goes on behind this page: `next` still lies in it.
    pub fn continues(&self, range: &ScanRange) -> bool {
        self.next.is_some_and(|n| n <= range.to())
    }
}
