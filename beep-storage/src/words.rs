//! What a search text asks for, and how text falls into words.

use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// One thing that must occur: words in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term<'a> {
    /// The words as they were typed, not empty. Never holds `"` or a control character.
    pub(crate) text: &'a str,
    /// Whether the last word may go on.
    pub(crate) prefix: bool,
}

/// Takes a search text apart: `"…"` is a phrase (an open one reaches to the end), `…*` a prefix, spaces and control
/// characters separate. What occurs twice is asked once.
pub(crate) fn terms(words: &str) -> Vec<Term<'_>> {
    let mut found: Vec<Term<'_>> = Vec::new();
    let mut seen = HashSet::new();
    for (i, part) in words.split('"').enumerate() {
        let quoted = i % 2 == 1;
        // A control character inside quotes ends one phrase and begins the next.
        for piece in part.split(|c: char| c.is_control() || (!quoted && c.is_whitespace())) {
            let text = if quoted { piece } else { piece.trim_end_matches('*') };
            let term = Term { text, prefix: text.len() < piece.len() };
            if !text.is_empty() && seen.insert((text, term.prefix)) {
                found.push(term);
            }
        }
    }
    found
}

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// In lower case and without diacritics.
    pub(crate) folded: String,
    /// Where it stands, in bytes.
    pub(crate) at: std::ops::Range<usize>,
}

/// The words of a text: runs of letters, digits and marks.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut open = false;
    for (at, c) in text.char_indices() {
        if !(c.is_alphanumeric() || (open && is_combining_mark(c))) {
            open = false;
            continue;
        }
        if !open {
            found.push(Token { folded: String::new(), at: at..at });
            open = true;
        }
        if let Some(token) = found.last_mut() {
            fold(c, &mut token.folded);
            token.at.end = at + c.len_utf8();
        }
    }
    found
}

/// Appends a letter without its marks, in lower case.
fn fold(c: char, out: &mut String) {
    let mut base = Vec::new();
    decompose_canonical(c, |part| base.push(part));
    // Only what is a letter with marks falls apart; the syllables of Hangul stay whole.
    let whole = base.iter().skip(1).any(|part| !is_combining_mark(*part));
    let parts = if whole { vec![c] } else { base };
    for part in parts.into_iter().filter(|part| !is_combining_mark(*part)) {
        out.extend(part.to_lowercase());
    }
}

/// A user name as it is compared: composed, in lower case, without space around. None when nothing is left.
pub(crate) fn username_key(name: &str) -> Option<String> {
    let key = name.trim().nfkc().collect::<String>().to_lowercase();
    (!key.is_empty()).then_some(key)
}

/// A text as it is kept: without the characters that mark found words.
pub(crate) fn kept(text: &str) -> String {
    text.replace(['\0', '\u{2}', '\u{3}'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(words: &str) -> Vec<(&str, bool)> {
        terms(words).into_iter().map(|term| (term.text, term.prefix)).collect()
    }

    #[test]
    fn a_search_text_falls_into_terms() {
        assert_eq!(asked("one  two\tone"), [("one", false), ("two", false)]);
        assert_eq!(asked("on* \"a phrase\"tied* *"), [("on", true), ("a phrase", false), ("tied", true)]);
        assert_eq!(asked("\"open phrase"), [("open phrase", false)]);
        assert_eq!(asked("a\0b \"c\0d\""), [("a", false), ("b", false), ("c", false), ("d", false)]);
        assert!(asked(" \"\" * **").is_empty());
    }

    #[test]
    fn text_falls_into_folded_words() {
        let folded = |text| tokens(text).into_iter().map(|t| t.folded).collect::<Vec<_>>();
        assert_eq!(folded("Café, Ångström's e\u{301}t\u{e9}!"), ["cafe", "angstrom", "s", "ete"]);
        assert_eq!(folded("한글 Привет-мир 42"), ["한글", "привет", "мир", "42"]);
        assert!(folded(" .,!\u{301} ").is_empty());
    }

    #[test]
    fn user_names_are_compared_without_case_and_composition() {
        assert_eq!(username_key(" ZOË "), username_key("zoe\u{308}"));
        assert_ne!(username_key("zoe"), username_key("zoë"));
        assert_eq!(username_key("  "), None);
    }

    proptest! {
        /// What the quoting in SQLite relies on.
        #[test]
        fn no_term_holds_what_could_end_a_quote(words in any::<String>()) {
            for term in terms(&words) {
                prop_assert!(!term.text.is_empty());
                prop_assert!(!term.text.contains('"') && !term.text.contains(char::is_control));
            }
        }

        #[test]
        fn words_lie_in_the_text(text in any::<String>()) {
            let mut end = 0;
            for token in tokens(&text) {
                prop_assert!(token.at.start >= end && token.at.start < token.at.end);
                prop_assert!(text.get(token.at.clone()).is_some());
                end = token.at.end;
            }
        }
    }
}
