//! The full-text index in SQLite's FTS5.

use super::error::storage;
use super::pool::{Database, commit};
use crate::words::{kept, terms};
use async_trait::async_trait;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{Capability, SearchDocument, SearchHit, SearchIndex, SearchPage, SearchQuery};
use beep_core::{Error, ErrorKind, Result};
use sqlx::{AssertSqlSafe, SqliteConnection};
use std::collections::HashSet;
use std::path::Path;

static SCHEMA: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite/search");

/// Up to so many conversations are looked up in the index itself, at about 30 µs each; beyond, hits elsewhere are read
/// and left out.
const SCOPES: usize = 256;

/// A [`SearchIndex`] in one SQLite file.
///
/// * Durable and shared: other processes may read and write the same file meanwhile.
/// * Words are what Unicode calls letters and digits; marks are ignored on Latin letters and where they stand apart.
/// * The cost of a query follows what the caller's conversations hold, not what is in the index, as long as the caller
///   asks for at most 256 of them.
#[derive(Clone, Debug)]
pub struct SqliteSearch {
    db: Database,
}

impl SqliteSearch {
    /// Opens or makes the file and brings its schema up to date. Its folder must exist.
    ///
    /// [`ErrorKind::Unsupported`] when a newer version has written it.
    pub async fn open(path: &Path) -> Result<Self> {
        Ok(Self { db: Database::open(path, &SCHEMA).await? })
    }
}

#[async_trait]
impl SearchIndex for SqliteSearch {
    fn capability(&self) -> Capability {
        Capability::new(true, true)
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let batches = batches(documents)?;
        let mut tx = self.db.begin().await?;
        for batch in batches {
            put(&mut tx, &batch).await?;
        }
        commit(tx).await
    }

    async fn remove(&self, conversation: &ConversationId, start: Millis) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let removed = sqlx::query(
            "DELETE FROM documents WHERE conversation = (SELECT key FROM scopes WHERE conversation = ?1) AND start = ?2",
        )
        .bind(conversation.as_str())
        .bind(start.cast_signed())
        .execute(&mut *tx)
        .await
        .map_err(storage)?
        .rows_affected();
        commit(tx).await?;
        Ok(removed > 0)
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        let limit = query.limit.clamp(1, 100);
        let text = expression(&query.words);
        if text.is_empty() || query.conversations.as_ref().is_some_and(Vec::is_empty) {
            return Ok(SearchPage::default());
        }
        // The last position that belongs to the page; positions are below 2^63.
        let last = query.before.map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX).saturating_sub(1));
        let mut db = self.db.read().await?;
        let mut rows = match &query.conversations {
            None => everywhere(&mut db, &text, last, limit + 1).await?,
            Some(few) if few.len() <= SCOPES => within(&mut db, few, &text, last, limit + 1).await?,
            Some(many) => among(&mut db, many, &text, last, limit + 1).await?,
        };
        drop(db);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut hits = rows.into_iter().map(hit).collect::<Result<Vec<SearchHit>>>()?;
        let next = if more { hits.last().map(|last| last.seq) } else { None };
        if let Some(asked) = &query.conversations {
            // The statements already keep to these; what people said is worth a second lock.
            let asked: HashSet<&ConversationId> = asked.iter().collect();
            hits.retain(|hit| asked.contains(&hit.conversation));
        }
        Ok(SearchPage { hits, next })
    }

    async fn clear(&self) -> Result<()> {
        let mut tx = self.db.begin().await?;
        clear(&mut tx).await?;
        commit(tx).await
    }

    async fn ready(&self) -> Result<()> {
        self.db.ready().await
    }
}

/// What is asked for in FTS5's language: every term quoted, so that nothing in it is syntax. Empty when there is none.
fn expression(words: &str) -> String {
    let mut out = String::new();
    for term in terms(words) {
        out.push_str(if out.is_empty() { "\"" } else { " \"" });
        out.push_str(term.text);
        out.push_str(if term.prefix { "\" *" } else { "\"" });
    }
    out
}

/// A row as every searching statement here selects it.
type Row = (i64, String, i64, String, String, String);

fn hit((seq, conversation, start, user, device, snippet): Row) -> Result<SearchHit> {
    Ok(SearchHit {
        seq: seq.cast_unsigned(),
        conversation: ConversationId::parse(&conversation)?,
        start: start.cast_unsigned(),
        author: Identity { user: UserId::parse(&user)?, device: DeviceId::parse(&device)? },
        snippet,
    })
}

fn ids(conversations: &[ConversationId]) -> Result<String> {
    serde_json::to_string(conversations).map_err(|e| Error::internal("writing a list of conversations", e))
}

async fn everywhere(db: &mut SqliteConnection, text: &str, last: i64, rows: usize) -> Result<Vec<Row>> {
    sqlx::query_as(
        "SELECT d.seq, s.conversation, d.start, d.user, d.device, snippet(words, 1, char(2), char(3), '…', 24)
         FROM words CROSS JOIN documents d ON d.seq = words.rowid CROSS JOIN scopes s ON s.key = d.conversation
         WHERE words MATCH 'text : (' || ?1 || ')' AND words.rowid <= ?2
         ORDER BY words.rowid DESC LIMIT +?3",
    )
    .bind(text)
    .bind(last)
    .bind(rows as i64)
    .fetch_all(db)
    .await
    .map_err(storage)
}

/// A conversation is a word of the index, so a common word of other people costs nothing here. `k0` is
/// none: keys begin at 1.
async fn within(
    db: &mut SqliteConnection,
    conversations: &[ConversationId],
    text: &str,
    last: i64,
    rows: usize,
) -> Result<Vec<Row>> {
    sqlx::query_as(
        "SELECT d.seq, s.conversation, d.start, d.user, d.device, snippet(words, 1, char(2), char(3), '…', 24)
         FROM words CROSS JOIN documents d ON d.seq = words.rowid CROSS JOIN scopes s ON s.key = d.conversation
         WHERE words MATCH (
             SELECT 'scope : (' || coalesce(group_concat('k' || key, ' OR '), '\"\"') || ') AND text : (' || ?1 || ')'
             FROM scopes WHERE conversation IN (SELECT value FROM json_each(?4))
         ) AND words.rowid <= ?2
         ORDER BY words.rowid DESC LIMIT +?3",
    )
    .bind(text)
    .bind(last)
    .bind(rows as i64)
    .bind(ids(conversations)?)
    .fetch_all(db)
    .await
    .map_err(storage)
}

async fn among(
    db: &mut SqliteConnection,
    conversations: &[ConversationId],
    text: &str,
    last: i64,
    rows: usize,
) -> Result<Vec<Row>> {
    sqlx::query_as(
        "SELECT d.seq, s.conversation, d.start, d.user, d.device, snippet(words, 1, char(2), char(3), '…', 24)
         FROM words CROSS JOIN documents d ON d.seq = words.rowid CROSS JOIN scopes s ON s.key = d.conversation
         WHERE words MATCH 'text : (' || ?1 || ')' AND words.rowid <= ?2
         AND s.conversation IN (SELECT value FROM json_each(?4))
         ORDER BY words.rowid DESC LIMIT +?3",
    )
    .bind(text)
    .bind(last)
    .bind(rows as i64)
    .bind(ids(conversations)?)
    .fetch_all(db)
    .await
    .map_err(storage)
}

/// One document as the statements below read it: `[seq, conversation, start, user, device, text]`.
type Packed = (i64, String, i64, String, String, String);

/// The documents as JSON lists in which no place and no position occurs twice, so that each list is one statement.
fn batches(documents: Vec<SearchDocument>) -> Result<Vec<String>> {
    let mut lists: Vec<Vec<Packed>> = vec![Vec::new()];
    let (mut places, mut positions) = (HashSet::new(), HashSet::new());
    for d in documents {
        let Ok(seq) = i64::try_from(d.seq) else {
            return Err(
                Error::new(ErrorKind::Invalid, "a log position must be below 2^63").with("seq", d.seq)
            );
        };
        let start = d.start.cast_signed();
        if places.contains(&(d.conversation.clone(), start)) || positions.contains(&seq) {
            lists.push(Vec::new());
            places.clear();
            positions.clear();
        }
        places.insert((d.conversation.clone(), start));
        positions.insert(seq);
        let packed =
            (seq, d.conversation.into(), start, d.author.user.into(), d.author.device.into(), kept(&d.text));
        if let Some(list) = lists.last_mut() {
            list.push(packed);
        }
    }
    lists
        .iter()
        .map(|list| {
            serde_json::to_string(list).map_err(|e| Error::internal("writing a list of documents", e))
        })
        .collect()
}

async fn put(tx: &mut SqliteConnection, batch: &str) -> Result<()> {
    sqlx::query(
        "INSERT INTO scopes (conversation) SELECT DISTINCT value ->> 1 FROM json_each(?1) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(batch)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    // A position belongs to one document: whoever else claims it stems from a log that is no more.
    sqlx::query(
        "DELETE FROM documents WHERE seq IN (
             SELECT d.seq FROM json_each(?1) j JOIN documents d ON d.seq = j.value ->> 0
             JOIN scopes s ON s.key = d.conversation
             WHERE s.conversation <> j.value ->> 1 OR d.start <> j.value ->> 2
         )",
    )
    .bind(batch)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    sqlx::query(
        "INSERT INTO documents (seq, conversation, start, user, device, text)
         SELECT j.value ->> 0, s.key, j.value ->> 2, j.value ->> 3, j.value ->> 4, j.value ->> 5
         FROM json_each(?1) j CROSS JOIN scopes s ON s.conversation = j.value ->> 1 WHERE true
         ON CONFLICT (conversation, start) DO UPDATE
         SET seq = excluded.seq, user = excluded.user, device = excluded.device, text = excluded.text
         WHERE (seq, user, device, text) IS NOT (excluded.seq, excluded.user, excluded.device, excluded.text)",
    )
    .bind(batch)
    .execute(tx)
    .await
    .map_err(storage)?;
    Ok(())
}

/// Empties everything without undoing the index word by word: its triggers are taken away meanwhile.
async fn clear(tx: &mut SqliteConnection) -> Result<()> {
    let triggers: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'documents'",
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(storage)?;
    for (name, _) in &triggers {
        // Safe: names and texts come from this file's own schema.
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TRIGGER {name}")))
            .execute(&mut *tx)
            .await
            .map_err(storage)?;
    }
    sqlx::raw_sql(
        "DELETE FROM documents; DELETE FROM scopes; INSERT INTO words (words) VALUES ('delete-all');",
    )
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    for (_, text) in triggers {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *tx).await.map_err(storage)?;
    }
    Ok(())
}
