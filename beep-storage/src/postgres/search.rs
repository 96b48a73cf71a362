//! The full-text index: words in a `tsvector`, phrases as pieces of the folded text.

use super::Postgres;
use super::error::storage;
use super::snippet::{Wanted, snippet};
use crate::words::{kept, tokens};
use async_trait::async_trait;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, DeviceId, Identity, UserId};
use beep_core::store::{Capability, SearchDocument, SearchHit, SearchIndex, SearchPage, SearchQuery};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Each of up to so many conversations is read from its newest end; beyond, hits elsewhere are read and left out.
const SCOPES: usize = 256;
/// What Postgres takes of one word; of a longer one this much stands in the index.
const WORD_BYTES: usize = 2_000;
/// What Postgres takes of all different words of a text, and a little less.
const TEXT_BYTES: usize = 900_000;
/// So many words of a query are looked up in the index; the others are looked for in what those find.
const LOOKED_UP: usize = 1_000;

/// A [`SearchIndex`] in a PostgreSQL schema, for any number of nodes.
///
/// * Durable, shared and reached over the network.
/// * Words are what Unicode calls letters and digits, without case, without marks and without stemming, in every language
///   of the server.
/// * The cost of a query follows what the caller's conversations hold and how rare its words are, not what is in the
///   index, as long as the caller asks for at most 256 conversations.
/// * Of a text with more than 900,000 bytes of different words those that come later are not found.
#[derive(Clone, Debug)]
pub struct PostgresSearch {
    postgres: Postgres,
}

impl PostgresSearch {
    /// The index of this database.
    pub fn new(postgres: &Postgres) -> Self {
        Self { postgres: postgres.clone() }
    }
}

#[async_trait]
impl SearchIndex for PostgresSearch {
    fn capability(&self) -> Capability {
        Capability::networked(true)
    }

    async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
        if documents.is_empty() {
            return Ok(());
        }
        let batches = batches(documents)?;
        transact!(self.postgres, |tx| put(tx, &batches))
    }

    async fn remove(&self, conversation: &ConversationId, start: Millis) -> Result<bool> {
        within!(self.postgres, |db| remove(db, conversation, start))
    }

    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        let limit = query.limit.clamp(1, 100);
        let wanted = Wanted::all(&query.words);
        if wanted.is_empty() || query.conversations.as_ref().is_some_and(Vec::is_empty) {
            return Ok(SearchPage::default());
        }
        let asked = Asked::new(&wanted, &query, limit + 1);
        let mut found = within!(self.postgres, |db| asked.find(db))?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut hits = found.into_iter().map(|row| hit(row, &wanted)).collect::<Result<Vec<SearchHit>>>()?;
        let next = if more { hits.last().map(|last| last.seq) } else { None };
        if let Some(asked) = &query.conversations {
            // The statements already keep to these; what people said is worth a second lock.
            let asked: HashSet<&ConversationId> = asked.iter().collect();
            hits.retain(|hit| asked.contains(&hit.conversation));
        }
        Ok(SearchPage { hits, next })
    }

    async fn clear(&self) -> Result<()> {
        transact!(self.postgres, |tx| clear(tx))
    }

    async fn ready(&self) -> Result<()> {
        self.postgres.ready().await
    }
}

/// A row as every searching statement here selects it.
type Row = (i64, String, i64, String, String, String);

fn hit((seq, conversation, start, user, device, text): Row, wanted: &[Wanted]) -> Result<SearchHit> {
    Ok(SearchHit {
        seq: seq.cast_unsigned(),
        conversation: ConversationId::parse(&conversation)?,
        start: start.cast_unsigned(),
        author: Identity { user: UserId::parse(&user)?, device: DeviceId::parse(&device)? },
        snippet: snippet(&text, wanted),
    })
}

/// What is asked for, as the statements take it.
struct Asked {
    /// Words that must occur, as a `tsquery`.
    words: String,
    /// Pieces of the folded text that must occur, where words alone do not say it: phrases, and words that are too long
    /// or too many to be looked up.
    pieces: Vec<String>,
    conversations: Option<Vec<String>>,
    /// The last position that belongs to the page.
    last: i64,
    rows: i64,
}

impl Asked {
    fn new(wanted: &[Wanted], query: &SearchQuery, rows: usize) -> Self {
        // By word: whether it must occur whole.
        let mut words: HashMap<&str, bool> = HashMap::new();
        let mut pieces = Vec::new();
        for term in wanted {
            let mut is_said = term.words.len() == 1;
            for (i, word) in term.words.iter().enumerate() {
                let start = beginning(word);
                is_said &= start.len() == word.len();
                let is_prefix = term.prefix && i + 1 == term.words.len();
                if words.len() < LOOKED_UP || words.contains_key(start) {
                    *words.entry(start).or_default() |= !is_prefix;
                    // Of `on` and `on*` the first says it all.
                } else {
                    is_said = false;
                }
            }
            if !is_said {
                let end = if term.prefix { "" } else { " " };
                pieces.push(format!(" {}{end}", term.words.join(" ")));
            }
        }
        let mut conversations = query
            .conversations
            .as_ref()
            .map(|asked| asked.iter().map(ToString::to_string).collect::<Vec<_>>());
        if let Some(asked) = &mut conversations {
            asked.sort();
            asked.dedup();
        }
        let words: Vec<String> = words.iter().map(|(word, whole)| lexeme(word, *whole)).collect();
        Self {
            words: words.join(" & "),
            pieces,
            conversations,
            // Positions are below 2^63.
            last: query.before.map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX).saturating_sub(1)),
            rows: rows as i64,
        }
    }

    /// Never by a stored plan: how common the words are decides between the index of the words and reading from the
    /// newest end.
    async fn find(&self, db: &mut PgConnection) -> Result<Vec<Row>> {
        let statement = match &self.conversations {
            Some(few) if few.len() <= SCOPES => {
                "SELECT d.seq, d.conversation, d.start, d.author, d.device, d.text
                 FROM unnest($5) AS asked (conversation) CROSS JOIN LATERAL (
                     SELECT * FROM documents
                     WHERE conversation = asked.conversation AND seq <= $3 AND words @@ $1::tsquery
                     AND NOT EXISTS (SELECT FROM unnest($2) AS piece (text) WHERE strpos(folded, piece.text) = 0)
                     ORDER BY seq DESC LIMIT $4
                 ) d ORDER BY d.seq DESC LIMIT $4"
            }
            _ => {
                "SELECT seq, conversation, start, author, device, text FROM documents
                 WHERE seq <= $3 AND words @@ $1::tsquery AND ($5 IS NULL OR conversation = ANY($5))
                 AND NOT EXISTS (SELECT FROM unnest($2) AS piece (text) WHERE strpos(folded, piece.text) = 0)
                 ORDER BY seq DESC LIMIT $4"
            }
        };
        sqlx::query_as(statement)
            .persistent(false)
            .bind(&self.words)
            .bind(&self.pieces)
            .bind(self.last)
            .bind(self.rows)
            .bind(&self.conversations)
            .fetch_all(db)
            .await
            .map_err(storage)
    }
}

/// What of a word stands in the index.
fn beginning(word: &str) -> &str {
    let end = word.floor_char_boundary(WORD_BYTES);
    &word[..end]
}

/// A word in the language of `tsquery`, quoted, so that nothing in it is syntax.
fn lexeme(word: &str, whole: bool) -> String {
    let quoted = word.replace('\\', "\\\\").replace('\'', "''");
    format!("'{quoted}'{}", if whole { "" } else { ":*" })
}

/// Documents in columns, of which no place and no position occurs twice: so each is one statement.
#[derive(Default)]
struct Rows {
    seqs: Vec<i64>,
    starts: Vec<i64>,
    conversations: Vec<String>,
    authors: Vec<String>,
    devices: Vec<String>,
    texts: Vec<String>,
    folded: Vec<String>,
    words: Vec<String>,
}

fn batches(documents: Vec<SearchDocument>) -> Result<Vec<Rows>> {
    let mut batches = Vec::new();
    let (mut places, mut positions) = (HashSet::new(), HashSet::new());
    let mut rows = Rows::default();
    for document in documents {
        let Ok(seq) = i64::try_from(document.seq) else {
            return Err(
                Error::new(ErrorKind::Invalid, "a log position must be below 2^63").with("seq", document.seq)
            );
        };
        let place = (document.conversation.clone(), document.start);
        if places.contains(&place) || positions.contains(&seq) {
            batches.push(std::mem::take(&mut rows));
            places.clear();
            positions.clear();
        }
        places.insert(place);
        positions.insert(seq);
        let text = kept(&document.text);
        let found: Vec<String> =
            tokens(&text).into_iter().map(|token| token.folded).filter(|word| !word.is_empty()).collect();
        rows.seqs.push(seq);
        rows.starts.push(document.start.cast_signed());
        rows.conversations.push(document.conversation.into());
        rows.authors.push(document.author.user.into());
        rows.devices.push(document.author.device.into());
        rows.words.push(different(&found));
        rows.folded.push(format!(" {} ", found.join(" ")));
        rows.texts.push(text);
    }
    batches.push(rows);
    Ok(batches)
}

/// Each word once, with a space between them.
fn different(words: &[String]) -> String {
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    for word in words {
        let word = beginning(word);
        if bytes + word.len() <= TEXT_BYTES && seen.insert(word) {
            bytes += word.len();
        }
    }
    seen.into_iter().collect::<Vec<_>>().join(" ")
}

async fn put(tx: &mut PgConnection, batches: &[Rows]) -> Result<()> {
    // One writer at a time: two with the same documents would wait for each other. Readers do not notice.
    sqlx::query("SELECT pg_advisory_xact_lock('documents'::regclass::oid::bigint)")
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    for rows in batches {
        put_batch(tx, rows).await?;
    }
    Ok(())
}

async fn put_batch(tx: &mut PgConnection, rows: &Rows) -> Result<()> {
    // A position belongs to one document: whoever else claims it stems from a log that is no more.
    sqlx::query(
        "DELETE FROM documents d USING unnest($1, $2, $3) AS new (seq, start, conversation)
         WHERE d.seq = new.seq AND (d.conversation <> new.conversation OR d.start <> new.start)",
    )
    .bind(&rows.seqs)
    .bind(&rows.starts)
    .bind(&rows.conversations)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    sqlx::query(
        "INSERT INTO documents AS before (seq, start, conversation, author, device, text, folded, words)
         SELECT seq, start, conversation, author, device, text, folded, array_to_tsvector(string_to_array(words, ' '))
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             AS new (seq, start, conversation, author, device, text, folded, words)
         ON CONFLICT (conversation, start) DO UPDATE
         SET seq = excluded.seq, author = excluded.author, device = excluded.device, text = excluded.text,
             folded = excluded.folded, words = excluded.words
         WHERE (before.seq, before.author, before.device, before.text)
             <> (excluded.seq, excluded.author, excluded.device, excluded.text)",
    )
    .bind(&rows.seqs)
    .bind(&rows.starts)
    .bind(&rows.conversations)
    .bind(&rows.authors)
    .bind(&rows.devices)
    .bind(&rows.texts)
    .bind(&rows.folded)
    .bind(&rows.words)
    .execute(tx)
    .await
    .map_err(storage)?;
    Ok(())
}

async fn remove(db: &mut PgConnection, conversation: &ConversationId, start: Millis) -> Result<bool> {
    let removed = sqlx::query("DELETE FROM documents WHERE conversation = $1 AND start = $2")
        .bind(conversation.as_str())
        .bind(start.cast_signed())
        .execute(db)
        .await
        .map_err(storage)?
        .rows_affected();
    Ok(removed > 0)
}

/// New files instead of a million dead rows.
async fn clear(tx: &mut PgConnection) -> Result<()> {
    sqlx::query("TRUNCATE documents").execute(tx).await.map_err(storage)?;
    Ok(())
}
