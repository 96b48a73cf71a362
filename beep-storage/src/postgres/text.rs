//! Any text as Postgres takes it: it knows no NUL, and its indexes no long values.

use beep_core::bite::Digest;
use std::borrow::Cow;

/// Stands before what it cannot keep: `0` for NUL, `1` for itself, `#` for a digest.
const ESCAPE: char = '\u{1a}';
/// Longer values stand in an index by their digest. An entry may have 2,700 bytes.
const LONGEST: usize = 1_000;

/// A text as it is stored. No two texts are stored as one.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, '1']),
            c => out.push(c),
        }
    }
    out.into()
}

/// What was stored.
pub(super) fn shown(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut out = String::with_capacity(stored.len());
    let mut chars = stored.chars();
    while let Some(c) = chars.next() {
        match (c, if c == ESCAPE { chars.next() } else { None }) {
            (_, Some('0')) => out.push('\0'),
            (_, Some('1')) => out.push(ESCAPE),
            _ => out.push(c),
        }
    }
    out
}

/// A text as an index holds it, to be found by: itself, or the digest of a long one.
pub(super) fn indexed(text: &str) -> Cow<'_, str> {
    let stored = stored(text);
    if stored.len() <= LONGEST {
        return stored;
    }
    format!("{ESCAPE}#{}", Digest::of(text.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[\\x00\\x1a01#a-c]{0,12}") {
            let kept = stored(&text);
            prop_assert!(!kept.contains('\0'));
            prop_assert_eq!(shown(kept.into_owned()), text);
        }

        #[test]
        fn no_two_texts_are_one(a in "[\\x00\\x1a01#]{0,4}", b in "[\\x00\\x1a01#]{0,4}") {
            prop_assert_eq!(a == b, indexed(&a) == indexed(&b));
        }
    }

    #[test]
    fn a_long_text_is_found_by_its_digest() {
        let long = "x".repeat(LONGEST + 1);
        assert!(indexed(&long).len() < 100);
        assert_ne!(indexed(&long), indexed(&format!("{long}x")));
        assert_eq!(indexed(&long[1..]), long[1..]);
    }
}
