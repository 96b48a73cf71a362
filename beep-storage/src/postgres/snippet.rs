//! What must occur in a text, and the piece of the text that shows it.

use crate::words::{Token, terms, tokens};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// How many words a snippet has, and how many of them stand before the first found one.
const WORDS: usize = 24;
const BEFORE: usize = 6;

/// Words that must stand in a row, as they are compared.
pub(super) struct Wanted {
    /// Not empty, and none of them is.
    pub(super) words: Vec<String>,
    /// Whether the last word may go on.
    pub(super) prefix: bool,
}

impl Wanted {
    /// All that a search text asks for.
    pub(super) fn all(text: &str) -> Vec<Self> {
        let wanted = terms(text).into_iter().map(|term| Self {
            words: tokens(term.text).into_iter().map(|t| t.folded).filter(|word| !word.is_empty()).collect(),
            prefix: term.prefix,
        });
        wanted.filter(|wanted| !wanted.words.is_empty()).collect()
    }

    fn stands_at(&self, text: &[Token]) -> bool {
        let last = self.words.len() - 1;
        self.words.len() <= text.len()
            && self.words.iter().zip(text).enumerate().all(|(i, (word, found))| {
                found.folded == *word || (self.prefix && i == last && found.folded.starts_with(word))
            })
    }
}

/// The piece of the text around the first found words; all found ones in it stand between `\u{2}` and `\u{3}`.
pub(super) fn snippet(text: &str, wanted: &[Wanted]) -> String {
    let mut found = tokens(text);
    found.retain(|token| !token.folded.is_empty());
    let mut is_marked = vec![false; found.len()];
    // By their first words, so that a long query costs no more than a short one.
    let mut whole: HashMap<&str, Vec<&Wanted>> = HashMap::new();
    let mut beginnings: HashSet<&str> = HashSet::new();
    for words in wanted {
        match words.words.as_slice() {
            [only] if words.prefix => drop(beginnings.insert(only)),
            [first, ..] => whole.entry(first).or_default().push(words),
            [] => {}
        }
    }
    let longest = beginnings.iter().map(|word| word.len()).max().unwrap_or(0);
    for i in 0..found.len() {
        let word = found[i].folded.as_str();
        for words in whole.get(word).into_iter().flatten().filter(|words| words.stands_at(&found[i..])) {
            is_marked[i..i + words.words.len()].fill(true);
        }
        let ends = (1..=word.len().min(longest)).filter_map(|end| word.get(..end));
        is_marked[i] |= ends.into_iter().any(|beginning| beginnings.contains(beginning));
    }
    let first = is_marked.iter().position(|marked| *marked).unwrap_or(0);
    // At the end of the text, as many words as elsewhere.
    let from = first.saturating_sub(BEFORE).min(found.len().saturating_sub(WORDS));
    let to = (from + WORDS).min(found.len());
    let marks = (from..to).filter(|i| is_marked[*i]).map(|i| found[i].at.clone());
    let start = if from == 0 { 0 } else { found[from].at.start };
    let end = if to == found.len() { text.len() } else { found[to - 1].at.end };
    let shown = marked(text, start..end, marks);
    let (before, behind) = (if start > 0 { "…" } else { "" }, if end < text.len() { "…" } else { "" });
    format!("{before}{shown}{behind}")
}

fn marked(text: &str, piece: Range<usize>, marks: impl Iterator<Item = Range<usize>>) -> String {
    let mut out = String::with_capacity(piece.len() + 16);
    let mut done = piece.start;
    for mark in marks {
        out.push_str(&text[done..mark.start]);
        out.push('\u{2}');
        out.push_str(&text[mark.clone()]);
        out.push('\u{3}');
        done = mark.end;
    }
    out.push_str(&text[done..piece.end]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, query: &str) -> String {
        snippet(text, &Wanted::all(query)).replace(['\u{2}', '\u{3}'], "|")
    }

    #[test]
    fn a_snippet_shows_the_first_found_words() {
        assert_eq!(shown("Say Hello, world!", "HELLO \"hello world\""), "Say |Hello|, |world|!");
        let long = format!("{}needle, {}", "hay ".repeat(100), "hay ".repeat(100));
        let expected =
            format!("…{}|needle|, {}…", "hay ".repeat(BEFORE), "hay ".repeat(WORDS - BEFORE - 1).trim_end());
        assert_eq!(shown(&long, "needle"), expected);
        assert_eq!(shown(&long[..408], "need*").split(' ').count(), WORDS + 1);
        assert_eq!(shown("", "needle"), "");
    }

    proptest! {
        #[test]
        fn a_snippet_is_a_piece_of_any_text(text in any::<String>(), query in any::<String>()) {
            let text = crate::words::kept(&text);
            let shown = snippet(&text, &Wanted::all(&query)).replace(['\u{2}', '\u{3}'], "");
            let inner = shown.strip_prefix('…').unwrap_or(&shown);
            let inner = inner.strip_suffix('…').unwrap_or(inner);
            prop_assert!(text.contains(inner) || text.contains(shown.as_str()));
        }
    }
}
