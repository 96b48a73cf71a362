//! The one error type: a kind for code, a retry status for layers, context for people, a source for the log.

use std::error::Error as StdError;
use std::fmt;

/// What the libraries return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for code to decide on. Each kind has one stable [`ErrorKind::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be read: a bad id, number, range or JSON.
    Malformed,
    /// Well-formed, but its meaning is not acceptable: an empty body, broken audio.
    Invalid,
    /// No identity, or one that does not hold.
    Unauthenticated,
    /// Known, but not allowed.
    Denied,
    /// No such thing, or none that the caller may see.
    NotFound,
    /// Something else is already there.
    Conflict,
    /// More bytes than the limit.
    TooLarge,
    /// The bytes are not audio that Beep knows.
    UnsupportedMedia,
    /// Too often; come back later.
    RateLimited,
    /// The disk or the map of the store is full. Nothing was stored; reads go on.
    Full,
    /// A backend is away, overloaded or shutting down. Nothing was accepted.
    Unavailable,
    /// Stored bytes no longer match their digest.
    Corrupt,
    /// This build has no such backend; the message names the feature.
    Unsupported,
    /// A defect of Beep or of its machine.
    Internal,
}

impl ErrorKind {
    /// The stable word that clients see and tests assert.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::RateLimited => "rate_limited",
            Self::Full => "storage_full",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

/// An error with everything its readers need.
///
/// ```
/// use beep_core::{Error, ErrorKind};
/// let e = Error::new(ErrorKind::NotFound, "no bite starts at 7").with("conversation", "c-1");
/// assert_eq!(e.kind(), ErrorKind::NotFound);
/// assert_eq!(e.to_string(), "no bite starts at 7 (conversation: c-1)");
/// assert!(!e.is_temporary());
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    temporary: bool,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message says what, where and what to do next, in one sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let temporary = matches!(kind, ErrorKind::Unavailable | ErrorKind::RateLimited);
        let message = message.into();
        Self { inner: Box::new(Inner { kind, temporary, message, context: Vec::new(), source: None }) }
    }

    /// Adds a named value, for people. Never a secret: context is logged.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((name, value.to_string()));
        self
    }

    /// Adds the error that this one follows from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.source = Some(source.into());
        self
    }

    /// Marks that the same call may succeed later, so a retry layer may try again.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.inner.temporary = true;
        self
    }

    /// Marks that the same call cannot succeed later, so nobody tries again.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.inner.temporary = false;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.inner.temporary
    }

    /// The sentence without context and source: what a client may be shown.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Turns any error of a lower layer into an [`ErrorKind::Internal`] one.
    pub fn internal(doing: &str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Internal, format!("{doing} failed")).with_source(source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)?;
        for (i, (name, value)) in self.inner.context.iter().enumerate() {
            write!(f, "{}{name}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.inner.context.is_empty() {
            f.write_str(")")?;
        }
        if let Some(source) = &self.inner.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.inner.kind.code())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|e| e as _)
    }
}
