//! What LMDB's errors mean to a caller, and which of them end the store.

use beep_core::{Error, ErrorKind};
use heed::MdbError;
use std::io;

/// Why a piece of work in a write transaction ended early.
pub(super) enum Abort {
    /// The request itself cannot be done; nothing was written for it, so the transaction goes on without it.
    Own(Error),
    /// The engine failed; the transaction is lost for everyone in it.
    Engine(heed::Error),
}

impl From<Error> for Abort {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

impl From<heed::Error> for Abort {
    fn from(error: heed::Error) -> Self {
        Self::Engine(error)
    }
}

/// A failure that several requests share, each of which gets its own [`Error`].
#[derive(Clone, Debug)]
pub(super) struct Fault {
    kind: ErrorKind,
    sentence: String,
}

impl Fault {
    pub(super) fn new(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    pub(super) fn full() -> Self {
        let sentence = "the store is full and nothing was stored: free space on its disk, delete bites, or raise its \
                        max_bytes";
        Self::new(ErrorKind::Full, sentence)
    }

    pub(super) fn poisoned(source: &heed::Error) -> Self {
        let sentence = format!(
            "the store stopped taking writes because its disk failed to keep one ({source}): check the disk, then \
             reopen the store"
        );
        Self::new(ErrorKind::Unavailable, sentence)
    }

    pub(super) fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(super) fn error(&self) -> Error {
        let error = Error::new(self.kind, self.sentence.clone());
        if self.kind == ErrorKind::Unavailable { error.permanent() } else { error }
    }
}

impl From<heed::Error> for Fault {
    fn from(source: heed::Error) -> Self {
        if is_full(&source) {
            return Self::full();
        }
        let kind = match &source {
            heed::Error::Mdb(
                MdbError::Corrupted
                | MdbError::PageNotFound
                | MdbError::Invalid
                | MdbError::CursorFull
                | MdbError::Incompatible,
            )
            | heed::Error::Decoding(_) => ErrorKind::Corrupt,
            heed::Error::Mdb(MdbError::ReadersFull) => ErrorKind::Unavailable,
            heed::Error::Mdb(MdbError::MapResized) => {
                let sentence = "another process opened this store with a larger max_bytes and filled it beyond ours: \
                                reopen it with the same max_bytes";
                return Self::new(ErrorKind::Unavailable, sentence);
            }
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("the store cannot do that: {source}"))
    }
}

/// One error for one caller.
pub(super) fn error(source: heed::Error) -> Error {
    Fault::from(source).error()
}

/// Whether there is no room left in the map or on the disk.
pub(super) fn is_full(error: &heed::Error) -> bool {
    match error {
        heed::Error::Mdb(e) => matches!(e, MdbError::MapFull | MdbError::TxnFull),
        heed::Error::Io(e) => is_disk_full(e),
        _ => false,
    }
}

pub(super) fn is_disk_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
