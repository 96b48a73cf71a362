//! The guarantees of a [`crate::store::SearchIndex`] about words: what finds what, and how it is shown.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::run::Dice;
use super::search::{Store, cid, document, found, hits, put};
use crate::event::Seq;
use crate::store::SearchQuery;

/// In any order, anywhere in the text.
pub async fn all_words_must_occur(store: Store) {
    put(&store, &[(1, "c", 1, "one two three"), (2, "c", 2, "three one"), (3, "c", 3, "one, TWO!")]).await;
    assert_eq!(found(&store, "one").await, [3, 2, 1]);
    assert_eq!(found(&store, "two one").await, [3, 1]);
    assert_eq!(found(&store, "three  two\tone").await, [1]);
    assert_eq!(found(&store, "one one one").await, [3, 2, 1]);
    assert!(found(&store, "one four").await.is_empty());
    assert!(found(&store, "on").await.is_empty(), "a piece of a word is none");
}

/// In quotes: the words in a row. An open quote reaches to the end.
pub async fn a_phrase_must_occur_as_it_stands(store: Store) {
    put(&store, &[(1, "c", 1, "the quick, brown fox"), (2, "c", 2, "brown quick the fox")]).await;
    assert_eq!(found(&store, "\"quick brown\"").await, [1]);
    assert_eq!(found(&store, "\"QUICK   brown fox\"").await, [1]);
    assert_eq!(found(&store, "\"quick brown").await, [1]);
    assert_eq!(found(&store, "fox \"brown quick\"").await, [2]);
    assert_eq!(found(&store, "quick-brown").await, [1], "words tied together are a phrase");
    assert_eq!(found(&store, "\"brown\" \"quick\"").await, [2, 1]);
    assert!(found(&store, "\"quick fox\"").await.is_empty());
}

/// `word*` finds every word that begins so, and the word itself.
pub async fn a_prefix_finds_what_begins_with_it(store: Store) {
    put(
        &store,
        &[(1, "c", 1, "transcript"), (2, "c", 2, "trans"), (3, "c", 3, "transit"), (4, "c", 4, "tram")],
    )
    .await;
    assert_eq!(found(&store, "trans*").await, [3, 2, 1]);
    assert_eq!(found(&store, "t*").await, [4, 3, 2, 1]);
    assert_eq!(found(&store, "TRANSC**").await, [1]);
    assert_eq!(found(&store, "trans").await, [2], "without a star only the whole word");
    assert!(found(&store, "ransit*").await.is_empty());
    assert!(found(&store, "\"trans*\"").await.ends_with(&[2]), "in quotes a star is no word");
}

/// Both ways: in the text and in the query, composed and decomposed.
pub async fn case_and_diacritics_do_not_matter(store: Store) {
    put(&store, &[(1, "c", 1, "Café Ångström"), (2, "c", 2, "CAFE angstrom"), (3, "c", 3, "cafe\u{301}")])
        .await;
    for query in ["café", "CAFÉ", "cafe", "Cafe\u{301}", "cäfè"] {
        assert_eq!(found(&store, query).await, [3, 2, 1], "{query}");
    }
    for query in ["ångström", "ANGSTROM", "angs*", "\"cafe angstrom\""] {
        assert_eq!(found(&store, query).await, [2, 1], "{query}");
    }
    put(&store, &[(4, "c", 4, "tiếng Việt"), (5, "c", 5, "ŽLUŤOUČKÝ kůň")]).await;
    assert_eq!(found(&store, "tieng viet").await, [4]);
    assert_eq!(found(&store, "zlutoucky kun").await, [5]);
}

/// Letters are letters everywhere, in either case where there is one.
pub async fn words_are_found_in_any_script(store: Store) {
    let texts = [
        "Привет Мир",
        "Καλημέρα κόσμε",
        "안녕하세요 세계",
        "مرحبا بالعالم",
        "שלום עולם",
        "新年快乐 朋友",
        "١٢٣ 42",
    ];
    for (text, seq) in texts.iter().zip(1..) {
        put(&store, &[(seq, "c", seq, text)]).await;
        for word in text.split(' ') {
            assert_eq!(found(&store, word).await, [seq], "{word}");
        }
    }
    assert_eq!(found(&store, "ПРИВЕТ мир").await, [1]);
    assert_eq!(found(&store, "прив*").await, [1]);
}

/// Nothing, spaces, signs, a lone star or quote: no words, no hits, no error.
pub async fn a_query_without_words_finds_nothing(store: Store) {
    put(&store, &[(1, "c", 1, "hello * - \" world")]).await;
    for query in [
        "",
        " ",
        "\t\n",
        "*",
        "\"\"",
        "\"",
        "\" \"",
        "!?.,",
        "- + ^ :",
        "( )",
        "\0",
        "\u{2}\u{3}",
        "\"*\" **",
    ] {
        assert!(found(&store, query).await.is_empty(), "{query:?}");
    }
    assert_eq!(found(&store, "hello !!! \"\" * world").await, [1], "what is no word asks for nothing");
}

/// Whatever is typed: signs, operators of other search languages, all of Unicode.
pub async fn no_text_is_an_invalid_query(store: Store) {
    put(&store, &[(1, "c", 1, "and or not near hello")]).await;
    let fixed = [
        "AND",
        "OR",
        "NOT",
        "NEAR",
        "NEAR(",
        "NEAR(a b, 3)",
        "a AND",
        "AND a",
        "(a",
        "a)",
        "((((",
        "a:b",
        "text:a",
        "-a",
        "+a",
        "^a",
        "{a b}:c",
        "a*b*",
        "*a",
        "\"a",
        "a\"",
        "\"a\"b\"",
        "'a'",
        "''",
        "a''b",
        "a;b",
        "--",
        "/*",
        "a\0b",
        "\0\"",
        "\"\0\"",
        "%",
        "_",
        "\\",
        "\\\"",
        "a\\*",
        "&&",
        "||",
        "!",
        "~",
        "a<->b",
        ":*",
        "a:*",
    ];
    for query in fixed {
        hits(&store, query).await;
    }
    let mut dice = Dice(7);
    let signs: Vec<char> =
        "ab \"*()^:+-{},'\\\0\t\u{2}\u{301}éß한\u{1F600}\u{10FFFF}\u{FFFD}ANDORT".chars().collect();
    for _ in 0..500 {
        let length = dice.roll(24);
        let query: String = (0..length)
            .map(|_| match dice.roll(4) {
                0 => char::from_u32(dice.roll(0x11_0000) as u32).unwrap_or('\u{FFFD}'),
                _ => dice.pick(&signs),
            })
            .collect();
        hits(&store, &query).await;
    }
}

/// The words of other search languages are words here, and names of columns name nothing.
pub async fn a_query_is_never_syntax(store: Store) {
    put(&store, &[(1, "c", 1, "alpha"), (2, "c", 2, "beta"), (3, "d", 3, "alpha or beta not near k1")]).await;
    assert_eq!(found(&store, "alpha OR beta").await, [3]);
    assert_eq!(found(&store, "alpha NOT beta").await, [3]);
    assert!(found(&store, "alpha AND alpha").await.is_empty());
    assert!(found(&store, "NEAR(alpha beta)").await.ends_with(&[]));
    assert!(found(&store, "text:alpha").await.is_empty());
    assert_eq!(found(&store, "-beta").await, [3, 2], "a sign before a word excludes nothing");
    assert_eq!(found(&store, "^beta").await, [3, 2]);
    for word in ["c", "d", "k2", "scope", "u-1", "phone"] {
        assert!(found(&store, word).await.is_empty(), "{word} stands in no text");
    }
    let scoped = |words: &str| SearchQuery {
        words: words.into(),
        conversations: Some(vec![cid("c")]),
        before: None,
        limit: 10,
    };
    for words in ["alpha) OR text : (beta", "alpha\") OR (\"beta", "k1 OR k2", "x\") OR scope : (\"k2"] {
        let page = store.search(scoped(words)).await.unwrap();
        assert!(page.hits.iter().all(|hit| hit.conversation == cid("c")), "{words} reaches elsewhere");
    }
}

/// More than a thousand words, one after the other or in one phrase.
pub async fn a_query_may_be_very_long(store: Store) {
    let words: Vec<String> = (0..1_500).map(|i| format!("w{i}")).collect();
    let text = words.join(" ");
    put(&store, &[(1, "c", 1, &text), (2, "c", 2, "w1 w2")]).await;
    assert_eq!(found(&store, &text).await, [1]);
    assert_eq!(found(&store, &format!("\"{text}\"")).await, [1]);
    assert_eq!(found(&store, &words.join("* ")).await, [1]);
    assert!(found(&store, &format!("{text} missing")).await.is_empty());
}

/// Also none at all, and what could be mistaken for marks.
pub async fn any_text_can_be_indexed(store: Store) {
    let texts = [
        "",
        " ",
        "\0",
        "a\0b hello",
        "\u{2}hello\u{3}",
        "\u{3}\u{2} hello",
        "'; DROP TABLE documents; --",
        "\u{1F600}",
    ];
    let documents =
        texts.iter().zip(1..).map(|(text, seq)| document(seq, "c", seq, text)).collect::<Vec<_>>();
    store.index(documents.clone()).await.unwrap();
    store.index(documents).await.unwrap();
    assert_eq!(found(&store, "hello").await, [6, 5, 4]);
    assert_eq!(found(&store, "drop").await, [7]);
    for hit in hits(&store, "hello").await {
        assert_eq!(marked(&hit.snippet), ["hello"], "only found words are marked: {:?}", hit.snippet);
    }
    for seq in 1..=texts.len() as Seq {
        assert!(store.remove(&cid("c"), seq).await.unwrap());
    }
    assert!(found(&store, "hello").await.is_empty());
}

/// A snippet is a piece of the text around found words; those stand between `\u{2}` and `\u{3}`.
pub async fn found_words_are_marked(store: Store) {
    let far = format!("{} Needle here {}", "hay ".repeat(500), "hay ".repeat(500));
    put(
        &store,
        &[
            (1, "c", 1, "Say Hello, <b>World</b> & hello"),
            (2, "c", 2, &far),
            (3, "c", 3, "Ünïcode wörld-wide"),
        ],
    )
    .await;
    let snippet = hits(&store, "hello").await.remove(0).snippet;
    assert_eq!(marked(&snippet), ["Hello", "hello"]);
    assert_eq!(
        snippet.replace(['\u{2}', '\u{3}'], ""),
        "Say Hello, <b>World</b> & hello",
        "the text is not escaped"
    );
    let snippet = hits(&store, "needle").await.remove(0).snippet;
    assert_eq!(marked(&snippet), ["Needle"], "the piece that is shown has the word");
    let snippet = hits(&store, "unicode WORLD").await.remove(0).snippet;
    assert_eq!(marked(&snippet), ["Ünïcode", "wörld"]);
    let snippet = hits(&store, "hel*").await.remove(0).snippet;
    assert_eq!(marked(&snippet), ["Hello", "hello"]);
    let snippet = hits(&store, "\"say hello\"").await.remove(0).snippet;
    assert_eq!(
        marked(&snippet).concat().replace([' ', ','], ""),
        "SayHello",
        "a phrase is marked as one or word by word"
    );
}

/// What stands between marks.
fn marked(snippet: &str) -> Vec<&str> {
    snippet.split('\u{2}').skip(1).map(|rest| rest.split_once('\u{3}').expect("a mark that ends").0).collect()
}

/// Does `steps` random things to both and compares every answer but the snippets: `oracle` is one that is believed,
/// such as `beep-storage`'s memory index. Both must be empty.
pub async fn agrees_with(store: Store, oracle: Store, seed: u64, steps: usize) {
    const WORDS: [&str; 12] =
        ["one", "Two", "thrée", "three", "tw", "on", "ONE-two", "café", "cafe", "(one)", "twofold", "!"];
    let mut dice = Dice(seed);
    for step in 0..steps {
        let at = format!("seed {seed}, step {step}");
        let place = (format!("c{}", dice.roll(80)), dice.roll(3));
        match dice.roll(10) {
            0..5 => {
                let text: Vec<&str> = (0..dice.roll(6)).map(|_| dice.pick(&WORDS)).collect();
                let new = document(1 + dice.roll(400), &place.0, place.1, &text.join(" "));
                store.index(vec![new.clone()]).await.unwrap();
                oracle.index(vec![new]).await.unwrap();
            }
            5 => {
                let conversation = cid(&place.0);
                let ours = store.remove(&conversation, place.1).await.unwrap();
                assert_eq!(ours, oracle.remove(&conversation, place.1).await.unwrap(), "{at}");
            }
            6 if dice.roll(40) == 0 => {
                store.clear().await.unwrap();
                oracle.clear().await.unwrap();
            }
            _ => {
                let query = random_query(&mut dice, &WORDS);
                let (ours, theirs) = (store.search(query.clone()).await, oracle.search(query.clone()).await);
                let plain = |page: crate::Result<crate::store::SearchPage>| {
                    let mut page = page.unwrap();
                    page.hits.iter_mut().for_each(|hit| hit.snippet.clear());
                    page
                };
                assert_eq!(plain(ours), plain(theirs), "{at}: {query:?}");
            }
        }
    }
}

fn random_query(dice: &mut Dice, words: &[&str]) -> SearchQuery {
    let mut terms: Vec<String> = Vec::new();
    for _ in 0..=dice.roll(2) {
        terms.push(match dice.roll(4) {
            0 => format!("{}*", dice.pick(words)),
            1 => format!("\"{} {}\"", dice.pick(words), dice.pick(words)),
            _ => dice.pick(words).to_owned(),
        });
    }
    let conversations = match dice.roll(3) {
        0 => None,
        1 => Some((0..dice.roll(4)).map(|_| cid(&format!("c{}", dice.roll(80)))).collect()),
        _ => Some((0..75).map(|i| cid(&format!("c{i}"))).collect()),
    };
    let before = (dice.roll(2) == 0).then(|| dice.roll(400));
    SearchQuery { words: terms.join(" "), conversations, before, limit: dice.roll(12) as usize }
}
