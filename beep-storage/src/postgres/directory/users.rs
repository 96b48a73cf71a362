//! Users and their contacts.

use super::{changes, rows};
use crate::postgres::error::storage;
use crate::postgres::text::{indexed, shown, stored};
use crate::words::username_key;
use beep_core::id::{ConversationId, DeviceId, UserId};
use beep_core::store::{Change, NewUser, User, UserPatch};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;

/// A row as every reading statement here selects it.
type Row = (String, Option<String>, String, String, String, String, String);

fn user((id, username, bio, profile_pic, first_name, last_name, phone_number): Row) -> Result<User> {
    Ok(User {
        id: UserId::parse(&id)?,
        username: username.map(shown),
        bio: shown(bio),
        profile_pic: shown(profile_pic),
        first_name: shown(first_name),
        last_name: shown(last_name),
        phone_number: shown(phone_number),
    })
}

fn unknown(id: &UserId) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such user").with("user", id)
}

/// The name as the index holds it.
fn name_key(username: Option<&str>) -> Option<String> {
    username.and_then(username_key).map(|key| indexed(&key).into_owned())
}

/// What a user that must be there is called in this database. Whoever points at it may still find that it went: that is
/// a foreign key's error, and the same answer.
pub(super) async fn known(db: &mut PgConnection, id: &UserId) -> Result<i64> {
    let key: Option<i64> = sqlx::query_scalar("SELECT key FROM users WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)?;
    key.ok_or_else(|| unknown(id))
}

pub(super) async fn create(tx: &mut PgConnection, new: &NewUser) -> Result<User> {
    let NewUser { id, username, first_name, last_name, phone_number } = new.clone();
    let (bio, profile_pic) = (String::new(), String::new());
    let username = username.filter(|name| username_key(name).is_some());
    sqlx::query(
        "INSERT INTO users (id, username, username_key, first_name, last_name, phone_number, phone_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.as_str())
    .bind(username.as_deref().map(stored))
    .bind(name_key(username.as_deref()))
    .bind(stored(&first_name))
    .bind(stored(&last_name))
    .bind(stored(&phone_number))
    .bind(indexed(&phone_number))
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    // Looked for only now: somebody may be deleting the holder of this id, and then the line above has waited for it.
    let gone: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM deleted_users WHERE id = $1)")
        .bind(id.as_str())
        .fetch_one(&mut *tx)
        .await
        .map_err(storage)?;
    if gone {
        return Err(Error::new(ErrorKind::Conflict, "this user id belonged to somebody who was deleted"));
    }
    changes::record(tx, &[Change::User(id.clone())]).await?;
    Ok(User { id, username, bio, profile_pic, first_name, last_name, phone_number })
}

pub(super) async fn by_id(db: &mut PgConnection, id: &UserId) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn by_phone(db: &mut PgConnection, phone_number: &str) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE phone_key = $1",
    )
    .bind(indexed(phone_number))
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn by_username(db: &mut PgConnection, username: &str) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE username_key = $1",
    )
    .bind(name_key(Some(username)))
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn page(db: &mut PgConnection, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users
         WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind(after.map_or("", UserId::as_str))
    .bind(rows(limit))
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(user).collect()
}

pub(super) async fn patch(tx: &mut PgConnection, id: &UserId, patch: &UserPatch) -> Result<User> {
    // Held, so that of two patches at once none undoes what the other one changed.
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE id = $1
         FOR NO KEY UPDATE",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *tx)
    .await
    .map_err(storage)?;
    let before = row.map(user).transpose()?.ok_or_else(|| unknown(id))?;
    let UserPatch { username, bio, profile_pic, first_name, last_name } = patch.clone();
    let after = User {
        id: before.id.clone(),
        username: username
            .map_or_else(|| before.username.clone(), |name| name.filter(|name| username_key(name).is_some())),
        bio: bio.unwrap_or_else(|| before.bio.clone()),
        profile_pic: profile_pic.unwrap_or_else(|| before.profile_pic.clone()),
        first_name: first_name.unwrap_or_else(|| before.first_name.clone()),
        last_name: last_name.unwrap_or_else(|| before.last_name.clone()),
        phone_number: before.phone_number.clone(),
    };
    if after == before {
        return Ok(after);
    }
    sqlx::query(
        "UPDATE users SET username = $2, username_key = $3, bio = $4, profile_pic = $5, first_name = $6, last_name = $7
         WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(after.username.as_deref().map(stored))
    .bind(name_key(after.username.as_deref()))
    .bind(stored(&after.bio))
    .bind(stored(&after.profile_pic))
    .bind(stored(&after.first_name))
    .bind(stored(&after.last_name))
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    changes::record(tx, &[Change::User(id.clone())]).await?;
    Ok(after)
}

pub(super) async fn delete(tx: &mut PgConnection, id: &UserId) -> Result<bool> {
    // Held first: from here on nobody can point at it, so what the lines below find is all that there is.
    let key: Option<i64> = sqlx::query_scalar("SELECT key FROM users WHERE id = $1 FOR UPDATE")
        .bind(id.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(storage)?;
    let Some(key) = key else { return Ok(false) };
    let left: Vec<String> = sqlx::query_scalar(
        "WITH gone AS (DELETE FROM members WHERE member = $1 RETURNING conversation)
         SELECT c.id FROM gone JOIN conversations c ON c.key = gone.conversation ORDER BY c.id",
    )
    .bind(key)
    .fetch_all(&mut *tx)
    .await
    .map_err(storage)?;
    let unknown: Vec<(String, String)> = sqlx::query_as(
        "WITH gone AS (DELETE FROM contacts WHERE owner = $1 OR contact = $1 RETURNING owner, contact)
         SELECT o.id, c.id FROM gone JOIN users o ON o.key = gone.owner JOIN users c ON c.key = gone.contact",
    )
    .bind(key)
    .fetch_all(&mut *tx)
    .await
    .map_err(storage)?;
    let devices: Vec<String> = sqlx::query_scalar("DELETE FROM sessions WHERE owner = $1 RETURNING device")
        .bind(key)
        .fetch_all(&mut *tx)
        .await
        .map_err(storage)?;
    sqlx::query("WITH gone AS (DELETE FROM users WHERE key = $1) INSERT INTO deleted_users (id) VALUES ($2)")
        .bind(key)
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    let mut told = Vec::with_capacity(left.len() + unknown.len() + devices.len() + 1);
    for conversation in &left {
        told.push(Change::Member(ConversationId::parse(conversation)?, id.clone()));
    }
    for (owner, contact) in &unknown {
        told.push(Change::Contact(UserId::parse(owner)?, UserId::parse(contact)?));
    }
    for device in &devices {
        told.push(Change::Session(id.clone(), DeviceId::parse(device)?));
    }
    told.push(Change::User(id.clone()));
    changes::record(tx, &told).await?;
    Ok(true)
}

pub(super) async fn put_contact(tx: &mut PgConnection, owner: &UserId, contact: &UserId) -> Result<()> {
    let (owner_key, contact_key) = (known(tx, owner).await?, known(tx, contact).await?);
    let added = sqlx::query("INSERT INTO contacts (owner, contact) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(owner_key)
        .bind(contact_key)
        .execute(&mut *tx)
        .await
        .map_err(storage)?
        .rows_affected();
    if added > 0 {
        changes::record(tx, &[Change::Contact(owner.clone(), contact.clone())]).await?;
    }
    Ok(())
}

pub(super) async fn remove_contact(tx: &mut PgConnection, owner: &UserId, contact: &UserId) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM contacts WHERE owner = (SELECT key FROM users WHERE id = $1)
         AND contact = (SELECT key FROM users WHERE id = $2)",
    )
    .bind(owner.as_str())
    .bind(contact.as_str())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if removed > 0 {
        changes::record(tx, &[Change::Contact(owner.clone(), contact.clone())]).await?;
    }
    Ok(removed > 0)
}

pub(super) async fn contacts(db: &mut PgConnection, owner: &UserId) -> Result<Vec<User>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT u.id, u.username, u.bio, u.profile_pic, u.first_name, u.last_name, u.phone_number
         FROM contacts c JOIN users u ON u.key = c.contact
         WHERE c.owner = (SELECT key FROM users WHERE id = $1) ORDER BY u.id",
    )
    .bind(owner.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(user).collect()
}
