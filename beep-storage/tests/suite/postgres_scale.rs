//! A search costs what the caller may hear and the page, not what is in the index: the same calls on a small index and
//! on one with 100,000 documents, in turns.
#![cfg(feature = "store-postgres")]

use crate::services::postgres::Schema;
use beep_core::id::ConversationId;
use beep_core::store::{SearchIndex, SearchQuery};
use beep_storage::postgres::{Postgres, PostgresSearch};
use sqlx::{Connection as _, PgConnection};
use std::time::Instant;

/// Turns of small and large; the best of all turns counts, because other work disturbs a shared machine.
const TURNS: usize = 5;
const CALLS: usize = 15;

/// `n` documents of others, all with the same common words, and 20 of one small conversation strewn among them. Loaded
/// past the API, as it stores them, in one commit; then the server learns how common the words are, as it does by itself
/// within a minute.
async fn talk(n: i64) -> Option<(PostgresSearch, Schema)> {
    let schema = Schema::fresh().await?;
    let search = PostgresSearch::new(&Postgres::open(&schema.url()).await.unwrap());
    let mut db = PgConnection::connect(&schema.url()).await.unwrap();
    sqlx::query(
        "INSERT INTO documents (seq, start, conversation, author, device, text, folded, words)
         SELECT i, i, CASE i % ($1 / 20) WHEN 0 THEN 'own' ELSE 'c-' || i % ($1 / 50) END, 'u', 'd', t, ' ' || t || ' ',
             array_to_tsvector(string_to_array(t, ' '))
         FROM generate_series(1, $1) i, LATERAL (SELECT 'everybody says hello w' || i % 97 || ' v' || i % 1009 ||
             ' and rare' || i % 50000 || ' then goes on talking for a while' AS t) said",
    )
    .bind(n)
    .execute(&mut db)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE documents").execute(&mut db).await.unwrap();
    Some((search, schema))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_costs_what_the_caller_may_hear() {
    const N: i64 = 100_000;
    let Some((small, _small)) = talk(1_000).await else { return };
    let (large, _large) = talk(N).await.unwrap();
    let own = vec![ConversationId::parse("own").unwrap()];
    let many: Vec<ConversationId> =
        (0..63).map(|i| ConversationId::parse(&format!("c-{i}")).unwrap()).chain(own.clone()).collect();
    for (goal, words, conversations, hits) in [
        ("search_common_word_own", "hello", Some(own.clone()), 20),
        ("search_common_phrase_own", "\"says hello\"", Some(own.clone()), 20),
        ("search_common_prefix_own", "hel*", Some(own.clone()), 20),
        ("search_two_words_own", "hello talking everybody", Some(own.clone()), 20),
        ("search_rare_word_own", "rare77", Some(own), 0),
        ("search_common_word_64", "hello", Some(many.clone()), 50),
        ("search_rare_word_64", "rare77", Some(many), 0),
        ("search_common_word_everywhere", "hello", None, 50),
        ("search_common_phrase_everywhere", "\"says hello\"", None, 50),
        ("search_common_prefix_everywhere", "hel*", None, 50),
        ("search_rare_word_everywhere", "rare77", None, 1),
    ] {
        let mut best = [u128::MAX; 2];
        for _ in 0..TURNS {
            for (search, best) in [&small, &large].into_iter().zip(&mut best) {
                let mut took = Vec::new();
                for _ in 0..CALLS {
                    let conversations = conversations.clone();
                    let query = SearchQuery { words: words.into(), conversations, before: None, limit: 50 };
                    let begun = Instant::now();
                    let found = search.search(query).await.unwrap().hits.len();
                    took.push(begun.elapsed().as_micros());
                    assert!(found >= hits, "{words} finds {found}");
                }
                took.sort();
                *best = (*best).min(took[CALLS / 2]);
            }
        }
        println!("goal={goal}_p50_us value={} limit=10000 n={N} small={}", best[1], best[0]);
        assert!(best[1] < 10_000, "{goal}: {} µs with {N} documents, {} with 1,000", best[1], best[0]);
    }
}
