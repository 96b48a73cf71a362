//! Conversations themselves; who is in them stands in `members`.

use super::changes::{self, MEMBER};
use super::{members, users};
use crate::sqlite::error::storage;
use crate::sqlite::pool::limit as rows;
use beep_core::id::ConversationId;
use beep_core::store::{Change, Conversation, ConversationPatch, NewConversation, Role};
use beep_core::{Error, ErrorKind, Result};
use sqlx::SqliteConnection;

/// A row as every reading statement here selects it.
type Row = (String, String, String);

fn conversation((id, title, picture): Row) -> Result<Conversation> {
    Ok(Conversation { id: ConversationId::parse(&id)?, title, picture })
}

pub(super) fn unknown(id: &ConversationId) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such conversation").with("conversation", id)
}

/// What a conversation is called in this file.
pub(super) async fn key(db: &mut SqliteConnection, id: &ConversationId) -> Result<Option<i64>> {
    sqlx::query_scalar("SELECT key FROM conversations WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)
}

pub(super) async fn create(tx: &mut SqliteConnection, new: NewConversation) -> Result<Conversation> {
    let NewConversation { id, title, picture, owner } = new;
    let owner_key = users::known(tx, &owner).await?;
    let key = sqlx::query("INSERT INTO conversations (id, title, picture) VALUES (?1, ?2, ?3)")
        .bind(id.as_str())
        .bind(&title)
        .bind(&picture)
        .execute(&mut *tx)
        .await
        .map_err(storage)?
        .last_insert_rowid();
    changes::record(tx, &Change::Conversation(id.clone())).await?;
    members::insert(tx, key, owner_key, Role::Owner).await?;
    changes::record(tx, &Change::Member(id.clone(), owner)).await?;
    Ok(Conversation { id, title, picture })
}

pub(super) async fn by_id(db: &mut SqliteConnection, id: &ConversationId) -> Result<Option<Conversation>> {
    let row: Option<Row> = sqlx::query_as("SELECT id, title, picture FROM conversations WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)?;
    row.map(conversation).transpose()
}

pub(super) async fn patch(
    tx: &mut SqliteConnection,
    id: &ConversationId,
    patch: ConversationPatch,
) -> Result<Conversation> {
    let before = by_id(tx, id).await?.ok_or_else(|| unknown(id))?;
    let ConversationPatch { title, picture } = patch;
    let after = Conversation {
        id: before.id.clone(),
        title: title.unwrap_or_else(|| before.title.clone()),
        picture: picture.unwrap_or_else(|| before.picture.clone()),
    };
    if after != before {
        sqlx::query("UPDATE conversations SET title = ?2, picture = ?3 WHERE id = ?1")
            .bind(id.as_str())
            .bind(&after.title)
            .bind(&after.picture)
            .execute(&mut *tx)
            .await
            .map_err(storage)?;
        changes::record(tx, &Change::Conversation(id.clone())).await?;
    }
    Ok(after)
}

pub(super) async fn delete(tx: &mut SqliteConnection, id: &ConversationId) -> Result<bool> {
    let Some(key) = key(tx, id).await? else { return Ok(false) };
    sqlx::query(
        "INSERT INTO changes (kind, a, b)
         SELECT ?1, ?2, u.id FROM members m JOIN users u ON u.key = m.user WHERE m.conversation = ?3 ORDER BY u.id",
    )
    .bind(MEMBER)
    .bind(id.as_str())
    .bind(key)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    sqlx::query("DELETE FROM conversations WHERE key = ?1")
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    changes::record(tx, &Change::Conversation(id.clone())).await?;
    Ok(true)
}

pub(super) async fn page(
    db: &mut SqliteConnection,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<Conversation>> {
    let found: Vec<Row> =
        sqlx::query_as("SELECT id, title, picture FROM conversations WHERE id > ?1 ORDER BY id LIMIT +?2")
            .bind(after.map_or("", ConversationId::as_str))
            .bind(rows(limit))
            .fetch_all(db)
            .await
            .map_err(storage)?;
    found.into_iter().map(conversation).collect()
}
