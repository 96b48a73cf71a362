//! The guarantees of a [`SearchIndex`] about documents and pages; how words are found stands beside.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use crate::ErrorKind;
use crate::clock::Millis;
use crate::event::Seq;
use crate::id::{ConversationId, DeviceId, Identity, UserId};
use crate::store::{SearchDocument, SearchHit, SearchIndex, SearchQuery};
use std::sync::Arc;

/// The index under test.
pub type Store = Arc<dyn SearchIndex>;

/// Expands to one `#[tokio::test]` per guarantee of a [`SearchIndex`], on a fresh index each.
///
/// Takes the path of an `async fn() -> (Arc<dyn SearchIndex>, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! search_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => search:
            a_document_is_found_as_it_was_indexed
            the_same_document_again_changes_nothing
            another_text_at_the_same_place_replaces
            a_position_belongs_to_one_document
            a_removed_document_is_not_found
            a_cleared_index_finds_nothing_and_can_be_filled_again
            the_newest_come_first
            pages_never_repeat_nor_skip
            the_limit_is_brought_into_1_to_100
            nothing_outside_the_asked_conversations_is_returned
            a_conversation_is_not_its_neighbour
            a_position_that_is_none_is_refused
        }
        $crate::conformance_tests! { $fresh => search_text:
            all_words_must_occur
            a_phrase_must_occur_as_it_stands
            a_prefix_finds_what_begins_with_it
            case_and_diacritics_do_not_matter
            words_are_found_in_any_script
            a_query_without_words_finds_nothing
            no_text_is_an_invalid_query
            a_query_is_never_syntax
            a_query_may_be_very_long
            any_text_can_be_indexed
            found_words_are_marked
        }
    };
}

pub(super) fn cid(name: &str) -> ConversationId {
    ConversationId::parse(name).unwrap()
}

pub(super) fn document(seq: Seq, conversation: &str, start: Millis, text: &str) -> SearchDocument {
    let author =
        Identity { user: UserId::parse("u-1").unwrap(), device: DeviceId::parse("a phone!").unwrap() };
    SearchDocument { seq, conversation: cid(conversation), start, author, text: text.into() }
}

pub(super) async fn put(store: &Store, documents: &[(Seq, &str, Millis, &str)]) {
    store
        .index(documents.iter().map(|(seq, c, start, text)| document(*seq, c, *start, text)).collect())
        .await
        .unwrap();
}

/// The hits of the first page, everywhere.
pub(super) async fn hits(store: &Store, words: &str) -> Vec<SearchHit> {
    let query = SearchQuery { words: words.into(), conversations: None, before: None, limit: 100 };
    store.search(query).await.unwrap_or_else(|e| panic!("{words:?} is refused: {e}")).hits
}

/// The positions of the hits of the first page, everywhere.
pub(super) async fn found(store: &Store, words: &str) -> Vec<Seq> {
    hits(store, words).await.into_iter().map(|hit| hit.seq).collect()
}

async fn found_in(store: &Store, words: &str, conversations: &[&str]) -> Vec<Seq> {
    let conversations = Some(conversations.iter().map(|c| cid(c)).collect());
    let query = SearchQuery { words: words.into(), conversations, before: None, limit: 100 };
    store.search(query).await.unwrap().hits.into_iter().map(|hit| hit.seq).collect()
}

/// Everything that was said about it comes back, over the whole range of a `u64` start.
pub async fn a_document_is_found_as_it_was_indexed(store: Store) {
    for (seq, start) in [(1, 0), (2, 1_700_000_000_000), (3, 1 << 63), (4, u64::MAX)] {
        put(&store, &[(seq, "c", start, "hello")]).await;
        let hit = hits(&store, "hello").await.remove(0);
        let expected = document(seq, "c", start, "hello");
        assert_eq!((hit.seq, hit.start, &hit.conversation), (seq, start, &expected.conversation));
        assert_eq!(hit.author, expected.author);
    }
    store.index(Vec::new()).await.unwrap();
    store.ready().await.unwrap();
}

/// Workers repeat themselves: once or thrice is the same, in one call or several.
pub async fn the_same_document_again_changes_nothing(store: Store) {
    let twice = [(1, "c", 10, "hello world"), (1, "c", 10, "hello world"), (2, "c", 11, "hello")];
    put(&store, &twice).await;
    put(&store, &twice).await;
    assert_eq!(found(&store, "hello").await, [2, 1]);
    assert!(store.remove(&cid("c"), 10).await.unwrap());
    assert_eq!(found(&store, "hello").await, [2], "nothing is left of a document that was indexed thrice");
    assert!(found(&store, "world").await.is_empty());
}

/// The last text at a place is the one that is found, under its own position, also within one call.
pub async fn another_text_at_the_same_place_replaces(store: Store) {
    put(&store, &[(1, "c", 10, "first common"), (2, "c", 11, "common")]).await;
    put(&store, &[(1, "c", 10, "second common")]).await;
    assert!(found(&store, "first").await.is_empty(), "the old text is gone");
    assert_eq!(found(&store, "second").await, [1]);
    put(&store, &[(5, "c", 10, "third common"), (6, "c", 10, "fourth common")]).await;
    assert_eq!(found(&store, "common").await, [6, 2], "one document per place");
    assert!(found(&store, "second").await.is_empty());
    assert!(found(&store, "third").await.is_empty());
    assert_eq!(found(&store, "fourth").await, [6]);
}

/// Two documents cannot share a position, or pages would lose one: the last one has it.
pub async fn a_position_belongs_to_one_document(store: Store) {
    put(&store, &[(1, "c", 10, "old common")]).await;
    put(&store, &[(1, "d", 20, "new common")]).await;
    assert_eq!(found(&store, "common").await, [1]);
    assert!(found(&store, "old").await.is_empty());
    put(&store, &[(2, "c", 10, "common"), (3, "c", 11, "common")]).await;
    put(&store, &[(3, "c", 10, "common swapped"), (2, "c", 11, "common")]).await;
    assert_eq!(found(&store, "common").await, [3, 2, 1]);
    assert_eq!(found(&store, "swapped").await, [3]);
}

/// `remove` takes out one document and tells whether it was there.
pub async fn a_removed_document_is_not_found(store: Store) {
    put(&store, &[(1, "c", 10, "hello"), (2, "c", 11, "hello"), (3, "d", 10, "hello")]).await;
    assert!(store.remove(&cid("c"), 10).await.unwrap());
    assert!(!store.remove(&cid("c"), 10).await.unwrap());
    assert!(!store.remove(&cid("c"), 12).await.unwrap());
    assert!(!store.remove(&cid("x"), 10).await.unwrap());
    assert_eq!(found(&store, "hello").await, [3, 2]);
    put(&store, &[(4, "c", 10, "again")]).await;
    assert_eq!(found(&store, "again").await, [4]);
}

/// After `clear` it is as new.
pub async fn a_cleared_index_finds_nothing_and_can_be_filled_again(store: Store) {
    for round in 0..3 {
        let text = format!("hello round{round}");
        put(&store, &[(1, "c", 10, &text), (2, "d", 10, &text), (7 + round, "e", 10, "extra")]).await;
        put(&store, &[(2, "d", 10, &format!("{text} changed"))]).await;
        assert_eq!(found(&store, "hello").await, [2, 1]);
        assert_eq!(found(&store, &format!("round{round}")).await, [2, 1]);
        assert_eq!(found_in(&store, "hello", &["d"]).await, [2]);
        assert!(store.remove(&cid("e"), 10).await.unwrap());
        store.clear().await.unwrap();
        assert!(found(&store, "hello").await.is_empty());
        assert!(!store.remove(&cid("c"), 10).await.unwrap());
    }
    store.clear().await.unwrap();
}

/// Whatever order they were indexed in.
pub async fn the_newest_come_first(store: Store) {
    put(&store, &[(3, "c", 1, "hello"), (9, "d", 2, "hello"), (1, "c", 3, "hello")]).await;
    put(&store, &[(5, "c", 4, "hello hello hello")]).await;
    assert_eq!(found(&store, "hello").await, [9, 5, 3, 1]);
}

/// Paging through while documents come and go gives each one that stayed exactly once.
pub async fn pages_never_repeat_nor_skip(store: Store) {
    let stay: Vec<Seq> = (1..=50).map(|i| i * 10).collect();
    for seq in &stay {
        put(&store, &[(*seq, if seq % 20 == 0 { "c" } else { "d" }, *seq, "hello")]).await;
    }
    for limit in [1, 7, 50, 100] {
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let query = SearchQuery { words: "hello".into(), conversations: None, before, limit };
            let page = store.search(query).await.unwrap();
            assert!(page.hits.len() <= limit);
            seen.extend(page.hits.into_iter().map(|hit| hit.seq));
            before = page.next;
            if before.is_none() {
                break;
            }
            // Newer ones arrive meanwhile, and an older one that no page has shown yet comes and goes.
            put(&store, &[(1_000 + seen.len() as u64, "c", 7, "hello"), (5, "c", 5, "hello")]).await;
            store.remove(&cid("c"), 5).await.unwrap();
        }
        seen.retain(|seq| *seq <= 500);
        assert_eq!(seen, stay.iter().rev().copied().collect::<Vec<_>>(), "in pages of {limit}");
        store.remove(&cid("c"), 7).await.unwrap();
    }
    let query =
        |before| SearchQuery { words: "hello".into(), conversations: None, before: Some(before), limit: 3 };
    assert!(store.search(query(0)).await.unwrap().hits.is_empty(), "nothing is older than the beginning");
    assert!(
        store.search(query(10)).await.unwrap().hits.is_empty(),
        "`before` itself does not belong to the page"
    );
    assert_eq!(store.search(query(u64::MAX)).await.unwrap().hits.len(), 3);
    let last = store.search(query(31)).await.unwrap();
    assert_eq!((last.hits.len(), last.next), (3, None), "a full last page is the last one");
}

/// A page has at least one hit if there is one, and at most 100.
pub async fn the_limit_is_brought_into_1_to_100(store: Store) {
    let documents = (1..=120).map(|i| document(i, "c", i, "hello")).collect();
    store.index(documents).await.unwrap();
    for (limit, size) in [(0, 1), (1, 1), (100, 100), (101, 100), (usize::MAX, 100)] {
        let query = SearchQuery { words: "hello".into(), conversations: None, before: None, limit };
        let page = store.search(query).await.unwrap();
        assert_eq!(page.hits.len(), size, "limit {limit}");
        assert_eq!(page.next, Some(120 - size as u64 + 1));
    }
}

/// With one conversation asked for, with many, with none, with unknown ones.
pub async fn nothing_outside_the_asked_conversations_is_returned(store: Store) {
    let names: Vec<String> = (0..300).map(|i| format!("c-{i}")).collect();
    let documents = names.iter().zip(1..).map(|(name, seq)| document(seq, name, 1, "hello")).collect();
    store.index(documents).await.unwrap();
    assert!(found_in(&store, "hello", &[]).await.is_empty(), "no conversations are not all of them");
    assert!(found_in(&store, "hello", &["unknown"]).await.is_empty());
    assert_eq!(found_in(&store, "hello", &["c-3", "unknown", "c-3"]).await, [4]);
    for count in [1, 2, 63, 64, 65, 100, 250] {
        let asked: Vec<&str> = names.iter().step_by(300 / count).take(count).map(String::as_str).collect();
        let mut expected: Vec<Seq> = (1..=300).step_by(300 / count).take(count).collect();
        expected.reverse();
        expected.truncate(100);
        assert_eq!(found_in(&store, "hello", &asked).await, expected, "{count} conversations");
    }
    let unknown: Vec<String> = (0..200).map(|i| format!("x-{i}")).collect();
    assert!(
        found_in(&store, "hello", &unknown.iter().map(String::as_str).collect::<Vec<_>>()).await.is_empty()
    );
}

/// Ids are compared exactly: case, hyphens and what they begin with tell them apart.
pub async fn a_conversation_is_not_its_neighbour(store: Store) {
    let names = ["c", "C", "c-1", "c1", "c-10", "c-1-", "-c", "1", "10", "k1"];
    for (name, seq) in names.iter().zip(1..) {
        put(&store, &[(seq, name, 5, "hello")]).await;
    }
    for (name, seq) in names.iter().zip(1..) {
        assert_eq!(found_in(&store, "hello", &[name]).await, [seq], "{name}");
    }
}

/// Positions of a log are far below 2^63; something else is refused whole, or kept.
pub async fn a_position_that_is_none_is_refused(store: Store) {
    let documents = vec![document(1, "c", 1, "hello"), document(u64::MAX, "c", 2, "hello")];
    match store.index(documents).await {
        Ok(()) => assert_eq!(found(&store, "hello").await, [u64::MAX, 1]),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(found(&store, "hello").await.is_empty(), "all in one commit");
        }
    }
}
