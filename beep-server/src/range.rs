//! The `Range` header (RFC 9110): one range of bytes; several, or other units, mean the whole.

/// What part of a body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These bytes, both ends included.
    Bytes(u64, u64),
    /// None that exist.
    Unsatisfiable,
}

/// Reads the header for a body of `length` bytes. A header that is none is ignored, as the RFC asks.
pub(crate) fn parse(header: &str, length: u64) -> Part {
    let Some(spec) = header.trim().strip_prefix("bytes=") else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Part::Whole;
    }
    // Digits only, so what does not fit is simply far behind the end.
    let value = |t: &str| t.parse::<u64>().unwrap_or(u64::MAX);
    let (from, to) = match (first, last) {
        ("", suffix) => match value(suffix) {
            0 => return Part::Unsatisfiable,
            n => (length.saturating_sub(n), length.saturating_sub(1)),
        },
        (first, "") => (value(first), length.saturating_sub(1)),
        (first, last) if value(first) > value(last) => return Part::Whole,
        (first, last) => (value(first), value(last).min(length.saturating_sub(1))),
    };
    if from >= length { Part::Unsatisfiable } else { Part::Bytes(from, to) }
}

#[cfg(test)]
mod tests {
    use super::{Part, parse};

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        for (header, expected) in [
            ("bytes=0-0", Part::Bytes(0, 0)),
            ("bytes=2-", Part::Bytes(2, 9)),
            ("bytes=-3", Part::Bytes(7, 9)),
            ("bytes=-99", Part::Bytes(0, 9)),
            ("bytes=3-99999999999999999999999", Part::Bytes(3, 9)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
            ("bytes=5-2", Part::Whole),
            ("bytes=0-1,4-5", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("items=0-1", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(parse(header, 10), expected, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Part::Unsatisfiable);
    }
}
