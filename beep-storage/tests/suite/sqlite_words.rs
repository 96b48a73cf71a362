//! Any text as a query and as a document: never an error, and text and index stay in step.
#![cfg(feature = "store-sqlite")]

use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{SearchDocument, SearchIndex, SearchQuery};
use beep_storage::sqlite::SqliteSearch;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::ConnectOptions as _;
use std::path::Path;

/// Mostly what could be syntax, and any character.
fn nasty() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(
        " \"\"\"*()^:+-{},'\\;\0\t\u{2}\u{3}\u{301}abéß한ANDORTNE".chars().collect::<Vec<_>>(),
    );
    prop_oneof![
        any::<String>(),
        prop::collection::vec(prop_oneof![3 => sign, 1 => any::<char>()], 0..40).prop_map(String::from_iter)
    ]
}

fn said(place: u64, seq: u64, text: String) -> SearchDocument {
    SearchDocument {
        seq,
        conversation: ConversationId::parse(&format!("c-{}", place % 2)).unwrap(),
        start: place,
        author: Identity { user: UserId::parse("u").unwrap(), device: DeviceId::parse("d").unwrap() },
        text,
    }
}

/// SQLite compares the index with what stands in `documents`.
async fn in_step(file: &Path) {
    let mut db = sqlx::sqlite::SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let check = "INSERT INTO words (words, rank) VALUES ('integrity-check', 1)";
    sqlx::raw_sql(check).execute(&mut db).await.expect("text and index are in step");
}

#[test]
fn any_text_is_a_query_and_a_document() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("search.db");
    let search = runtime.block_on(SqliteSearch::open(&file)).unwrap();
    let seq = std::cell::Cell::new(0);
    let case = (nasty(), nasty(), 0..6u64, any::<bool>());
    let mut cases = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let outcome = cases.run(&case, |(query, text, place, remove)| {
        runtime.block_on(async {
            seq.set(seq.get() + 1);
            if remove {
                search
                    .remove(&ConversationId::parse(&format!("c-{}", place % 2)).unwrap(), place)
                    .await
                    .unwrap();
            }
            search.index(vec![said(place, seq.get(), text.clone())]).await.unwrap();
            let conversations = (place > 2).then(|| vec![ConversationId::parse("c-1").unwrap()]);
            for words in [&query, &text] {
                let asked = SearchQuery {
                    words: words.clone(),
                    conversations: conversations.clone(),
                    before: None,
                    limit: 9,
                };
                search.search(asked).await.map_err(|e| TestCaseError::fail(format!("{words:?}: {e}")))?;
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
    runtime.block_on(in_step(&file));
    runtime.block_on(search.clear()).unwrap();
    runtime.block_on(in_step(&file));
}
