//! Users and their contacts.

use super::changes::{self, CONTACT, MEMBER, SESSION};
use crate::sqlite::error::storage;
use crate::sqlite::pool::limit as rows;
use crate::words::username_key;
use beep_core::id::UserId;
use beep_core::store::{Change, NewUser, User, UserPatch};
use beep_core::{Error, ErrorKind, Result};
use sqlx::SqliteConnection;

/// A row as every reading statement here selects it.
type Row = (String, Option<String>, String, String, String, String, String);

fn user((id, username, bio, profile_pic, first_name, last_name, phone_number): Row) -> Result<User> {
    Ok(User { id: UserId::parse(&id)?, username, bio, profile_pic, first_name, last_name, phone_number })
}

fn unknown(id: &UserId) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such user").with("user", id)
}

/// What a user is called in this file.
pub(super) async fn key(db: &mut SqliteConnection, id: &UserId) -> Result<Option<i64>> {
    sqlx::query_scalar("SELECT key FROM users WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .map_err(storage)
}

/// As [`key`], for a user that must be there.
pub(super) async fn known(db: &mut SqliteConnection, id: &UserId) -> Result<i64> {
    key(db, id).await?.ok_or_else(|| unknown(id))
}

pub(super) async fn create(tx: &mut SqliteConnection, new: NewUser) -> Result<User> {
    let NewUser { id, username, first_name, last_name, phone_number } = new;
    let (bio, profile_pic) = (String::new(), String::new());
    let username = username.filter(|name| username_key(name).is_some());
    let added = sqlx::query(
        "INSERT INTO users (id, username, username_key, first_name, last_name, phone_number)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM deleted WHERE id = ?1)",
    )
    .bind(id.as_str())
    .bind(&username)
    .bind(username.as_deref().and_then(username_key))
    .bind(&first_name)
    .bind(&last_name)
    .bind(&phone_number)
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if added == 0 {
        return Err(Error::new(ErrorKind::Conflict, "this user id belonged to somebody who was deleted"));
    }
    changes::record(tx, &Change::User(id.clone())).await?;
    Ok(User { id, username, bio, profile_pic, first_name, last_name, phone_number })
}

pub(super) async fn by_id(db: &mut SqliteConnection, id: &UserId) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn by_phone(db: &mut SqliteConnection, phone_number: &str) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE phone_number = ?1",
    )
    .bind(phone_number)
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn by_username(db: &mut SqliteConnection, username: &str) -> Result<Option<User>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users WHERE username_key = ?1",
    )
    .bind(username_key(username))
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(user).transpose()
}

pub(super) async fn page(
    db: &mut SqliteConnection,
    after: Option<&UserId>,
    limit: usize,
) -> Result<Vec<User>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT id, username, bio, profile_pic, first_name, last_name, phone_number FROM users
         WHERE id > ?1 ORDER BY id LIMIT +?2",
    )
    .bind(after.map_or("", UserId::as_str))
    .bind(rows(limit))
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(user).collect()
}

pub(super) async fn patch(tx: &mut SqliteConnection, id: &UserId, patch: UserPatch) -> Result<User> {
    let before = by_id(tx, id).await?.ok_or_else(|| unknown(id))?;
    let UserPatch { username, bio, profile_pic, first_name, last_name } = patch;
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
        "UPDATE users SET username = ?2, username_key = ?3, bio = ?4, profile_pic = ?5, first_name = ?6, last_name = ?7
         WHERE id = ?1",
    )
    .bind(id.as_str())
    .bind(&after.username)
    .bind(after.username.as_deref().and_then(username_key))
    .bind(&after.bio)
    .bind(&after.profile_pic)
    .bind(&after.first_name)
    .bind(&after.last_name)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    changes::record(tx, &Change::User(id.clone())).await?;
    Ok(after)
}

pub(super) async fn delete(tx: &mut SqliteConnection, id: &UserId) -> Result<bool> {
    let Some(key) = key(tx, id).await? else { return Ok(false) };
    sqlx::query(
        "INSERT INTO changes (kind, a, b)
         SELECT ?1, c.id, ?2 FROM members m JOIN conversations c ON c.key = m.conversation
         WHERE m.user = ?3 ORDER BY c.id",
    )
    .bind(MEMBER)
    .bind(id.as_str())
    .bind(key)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    // UNION, so that somebody who is their own contact is told once.
    sqlx::query(
        "INSERT INTO changes (kind, a, b)
         SELECT ?1, ?2, u.id FROM contacts c JOIN users u ON u.key = c.contact WHERE c.owner = ?3
         UNION
         SELECT ?1, u.id, ?2 FROM contacts c JOIN users u ON u.key = c.owner WHERE c.contact = ?3",
    )
    .bind(CONTACT)
    .bind(id.as_str())
    .bind(key)
    .execute(&mut *tx)
    .await
    .map_err(storage)?;
    sqlx::query("INSERT INTO changes (kind, a, b) SELECT ?1, ?2, device FROM sessions WHERE user = ?3 ORDER BY device")
        .bind(SESSION)
        .bind(id.as_str())
        .bind(key)
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    sqlx::query("INSERT INTO deleted (id) VALUES (?1)")
        .bind(id.as_str())
        .execute(&mut *tx)
        .await
        .map_err(storage)?;
    sqlx::query("DELETE FROM users WHERE key = ?1").bind(key).execute(&mut *tx).await.map_err(storage)?;
    changes::record(tx, &Change::User(id.clone())).await?;
    Ok(true)
}

pub(super) async fn put_contact(tx: &mut SqliteConnection, owner: &UserId, contact: &UserId) -> Result<()> {
    let (owner_key, contact_key) = (known(tx, owner).await?, known(tx, contact).await?);
    let added = sqlx::query("INSERT INTO contacts (owner, contact) VALUES (?1, ?2) ON CONFLICT DO NOTHING")
        .bind(owner_key)
        .bind(contact_key)
        .execute(&mut *tx)
        .await
        .map_err(storage)?
        .rows_affected();
    if added > 0 {
        changes::record(tx, &Change::Contact(owner.clone(), contact.clone())).await?;
    }
    Ok(())
}

pub(super) async fn remove_contact(
    tx: &mut SqliteConnection,
    owner: &UserId,
    contact: &UserId,
) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM contacts WHERE owner = (SELECT key FROM users WHERE id = ?1)
         AND contact = (SELECT key FROM users WHERE id = ?2)",
    )
    .bind(owner.as_str())
    .bind(contact.as_str())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if removed > 0 {
        changes::record(tx, &Change::Contact(owner.clone(), contact.clone())).await?;
    }
    Ok(removed > 0)
}

pub(super) async fn contacts(db: &mut SqliteConnection, owner: &UserId) -> Result<Vec<User>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT u.id, u.username, u.bio, u.profile_pic, u.first_name, u.last_name, u.phone_number
         FROM contacts c JOIN users u ON u.key = c.contact
         WHERE c.owner = (SELECT key FROM users WHERE id = ?1) ORDER BY u.id",
    )
    .bind(owner.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(user).collect()
}
