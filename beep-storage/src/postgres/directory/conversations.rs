//! Conversations themselves; who is in them stands in `members`.

use super::{changes, members, rows, users};
use crate::postgres::error::storage;
use crate::postgres::text::{shown, stored};
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Change, Conversation, ConversationPatch, NewConversation, Role};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;

/// A row as every reading statement here selects it.
type Row = (String, String, String);

pub(super) fn conversation((id, title, picture): Row) -> Result<Conversation> {
    Ok(Conversation { id: ConversationId::parse(&id)?, title: shown(title), picture: shown(picture) })
}

fn unknown(id: &ConversationId) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such conversation").with("conversation", id)
}

/// What a conversation that must be there is called in this database.
pub(super) async fn known(db: &mut PgConnection, id: &ConversationId) -> Result<i64> {
    let key: Option<i64> = sqlx::query_scalar("SELECT key FROM conversations WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)?;
    key.ok_or_else(|| unknown(id))
}

pub(super) async fn create(tx: &mut PgConnection, new: &NewConversation) -> Result<Conversation> {
    let NewConversation { id, title, picture, owner } = new.clone();
    let owner_key = users::known(tx, &owner).await?;
    let key: i64 = sqlx::query_scalar(
        "INSERT INTO conversations (id, title, picture) VALUES ($1, $2, $3) RETURNING key",
    )
    .bind(id.as_str())
    .bind(stored(&title))
    .bind(stored(&picture))
    .fetch_one(&mut *tx)
    .await
    .map_err(storage)?;
    members::insert(tx, key, owner_key, Role::Owner).await?;
    changes::record(tx, &[Change::Conversation(id.clone()), Change::Member(id.clone(), owner)]).await?;
    Ok(Conversation { id, title, picture })
}

pub(super) async fn by_id(db: &mut PgConnection, id: &ConversationId) -> Result<Option<Conversation>> {
    let row: Option<Row> = sqlx::query_as("SELECT id, title, picture FROM conversations WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)?;
    row.map(conversation).transpose()
}

pub(super) async fn patch(
    tx: &mut PgConnection,
    id: &ConversationId,
    patch: &ConversationPatch,
) -> Result<Conversation> {
    // Held, so that of two patches at once none undoes what the other one changed.
    let row: Option<Row> =
        sqlx::query_as("SELECT id, title, picture FROM conversations WHERE id = $1 FOR NO KEY UPDATE")
            .bind(id.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage)?;
    let before = row.map(conversation).transpose()?.ok_or_else(|| unknown(id))?;
    let ConversationPatch { title, picture } = patch.clone();
    let after = Conversation {
        id: before.id.clone(),
        title: title.unwrap_or_else(|| before.title.clone()),
        picture: picture.unwrap_or_else(|| before.picture.clone()),
    };
    if after != before {
        sqlx::query("UPDATE conversations SET title = $2, picture = $3 WHERE id = $1")
            .bind(id.as_str())
            .bind(stored(&after.title))
            .bind(stored(&after.picture))
            .execute(&mut *tx)
            .await
            .map_err(storage)?;
        changes::record(tx, &[Change::Conversation(id.clone())]).await?;
    }
    Ok(after)
}

pub(super) async fn delete(tx: &mut PgConnection, id: &ConversationId) -> Result<bool> {
    // Held first: from here on nobody can join, so what the line below finds is all that there is.
    let key: Option<i64> = sqlx::query_scalar("SELECT key FROM conversations WHERE id = $1 FOR UPDATE")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(storage)?;
    let Some(key) = key else { return Ok(false) };
    let left: Vec<String> = sqlx::query_scalar(
        "WITH gone AS (DELETE FROM members WHERE conversation = $1 RETURNING member)
         SELECT u.id FROM gone JOIN users u ON u.key = gone.member ORDER BY u.id",
    )
    .bind(key)
    .fetch_all(&mut *tx)
    .await
    .map_err(storage)?;
    sqlx::query("DELETE FROM conversations WHERE key = $1")
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    let mut told = Vec::with_capacity(left.len() + 1);
    for user in &left {
        told.push(Change::Member(id.clone(), UserId::parse(user)?));
    }
    told.push(Change::Conversation(id.clone()));
    changes::record(tx, &told).await?;
    Ok(true)
}

pub(super) async fn page(
    db: &mut PgConnection,
    after: Option<&ConversationId>,
    limit: usize,
) -> Result<Vec<Conversation>> {
    let found: Vec<Row> =
        sqlx::query_as("SELECT id, title, picture FROM conversations WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(after.map_or("", ConversationId::as_str))
            .bind(rows(limit))
            .fetch_all(db)
            .await
            .map_err(storage)?;
    found.into_iter().map(conversation).collect()
}
