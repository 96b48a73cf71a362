//! The devices that people signed in on.

use super::{changes, users};
use crate::sqlite::error::storage;
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{DeviceId, Identity, SessionId, UserId};
use beep_core::store::{Change, Renewal, Session, Standing};
use beep_core::{Error, ErrorKind, Result};
use sqlx::SqliteConnection;

/// A row as every reading statement here selects it.
type Row = (String, String, String, Vec<u8>, i64, i64, i64);

fn session((user, device, id, refresh, created, refreshed, expires): Row) -> Result<Session> {
    let refresh = refresh.try_into().map_err(|_| {
        Error::new(ErrorKind::Corrupt, "a stored refresh digest is none").with("session", id.as_str())
    })?;
    Ok(Session {
        identity: Identity { user: UserId::parse(&user)?, device: DeviceId::parse(&device)? },
        id: SessionId::parse(&id)?,
        refresh: Digest(refresh),
        created: created.cast_unsigned(),
        refreshed: refreshed.cast_unsigned(),
        expires: expires.cast_unsigned(),
    })
}

fn change(identity: &Identity) -> Change {
    Change::Session(identity.user.clone(), identity.device.clone())
}

pub(super) async fn put(tx: &mut SqliteConnection, new: &Session) -> Result<()> {
    let user = users::known(tx, &new.identity.user).await?;
    let changed = sqlx::query(
        "INSERT INTO sessions (user, device, id, refresh, created, refreshed, expires)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (user, device) DO UPDATE SET id = excluded.id, refresh = excluded.refresh,
             created = excluded.created, refreshed = excluded.refreshed, expires = excluded.expires
         WHERE (id, refresh, created, refreshed, expires)
             <> (excluded.id, excluded.refresh, excluded.created, excluded.refreshed, excluded.expires)",
    )
    .bind(user)
    .bind(new.identity.device.as_str())
    .bind(new.id.as_str())
    .bind(new.refresh.0.as_slice())
    .bind(new.created.cast_signed())
    .bind(new.refreshed.cast_signed())
    .bind(new.expires.cast_signed())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if changed > 0 {
        changes::record(tx, &change(&new.identity)).await?;
    }
    Ok(())
}

async fn by_id(db: &mut SqliteConnection, id: &SessionId) -> Result<Option<Session>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT u.id, s.device, s.id, s.refresh, s.created, s.refreshed, s.expires
         FROM sessions s JOIN users u ON u.key = s.user WHERE s.id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    row.map(session).transpose()
}

pub(super) async fn renew(
    tx: &mut SqliteConnection,
    id: &SessionId,
    old: &Digest,
    new: &Digest,
    now: Millis,
    expires: Millis,
) -> Result<Renewal> {
    // Compared here, because SQLite would take the upper half of a u64 for negative.
    let Some(before) = by_id(tx, id).await?.filter(|s| now < s.expires) else { return Ok(Renewal::Unknown) };
    if before.refresh != *old {
        end(tx, &before.identity).await?;
        return Ok(Renewal::Reused(before.identity));
    }
    sqlx::query("UPDATE sessions SET refresh = ?2, refreshed = ?3, expires = ?4 WHERE id = ?1")
        .bind(id.as_str())
        .bind(new.0.as_slice())
        .bind(now.cast_signed())
        .bind(expires.cast_signed())
        .execute(tx)
        .await
        .map_err(storage)?;
    Ok(Renewal::Renewed(Session { refresh: *new, refreshed: now, expires, ..before }))
}

pub(super) async fn of_user(db: &mut SqliteConnection, user: &UserId) -> Result<Vec<Session>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT u.id, s.device, s.id, s.refresh, s.created, s.refreshed, s.expires
         FROM sessions s JOIN users u ON u.key = s.user WHERE u.id = ?1 ORDER BY s.device",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(session).collect()
}

pub(super) async fn end(tx: &mut SqliteConnection, identity: &Identity) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM sessions WHERE user = (SELECT key FROM users WHERE id = ?1) AND device = ?2",
    )
    .bind(identity.user.as_str())
    .bind(identity.device.as_str())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if removed > 0 {
        changes::record(tx, &change(identity)).await?;
    }
    Ok(removed > 0)
}

pub(super) async fn standing(db: &mut SqliteConnection, identity: &Identity) -> Result<Standing> {
    // One statement, so that both answers are of one moment.
    let (deleted, session): (bool, Option<String>) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM deleted WHERE id = ?1),
         (SELECT id FROM sessions WHERE user = (SELECT key FROM users WHERE id = ?1) AND device = ?2)",
    )
    .bind(identity.user.as_str())
    .bind(identity.device.as_str())
    .fetch_one(db)
    .await
    .map_err(storage)?;
    Ok(Standing { deleted, session: session.map(|id| SessionId::parse(&id)).transpose()? })
}
