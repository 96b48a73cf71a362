//! The devices that people signed in on.

use super::{changes, users};
use crate::postgres::error::storage;
use beep_core::bite::Digest;
use beep_core::clock::Millis;
use beep_core::id::{DeviceId, Identity, SessionId, UserId};
use beep_core::store::{Change, Renewal, Session, Standing};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;

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

pub(super) async fn put(tx: &mut PgConnection, new: &Session) -> Result<()> {
    let owner = users::known(tx, &new.identity.user).await?;
    let changed = sqlx::query(
        "INSERT INTO sessions AS before (owner, device, id, refresh, created, refreshed, expires)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (owner, device) DO UPDATE SET id = excluded.id, refresh = excluded.refresh,
             created = excluded.created, refreshed = excluded.refreshed, expires = excluded.expires
         WHERE (before.id, before.refresh, before.created, before.refreshed, before.expires)
             <> (excluded.id, excluded.refresh, excluded.created, excluded.refreshed, excluded.expires)",
    )
    .bind(owner)
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
        changes::record(tx, &[change(&new.identity)]).await?;
    }
    Ok(())
}

/// One conditional update, when the token is the good one: of two at once the second waits for the first, and then no
/// longer has it. None when there was nothing to renew; then [`refuse`] says why.
pub(super) async fn renew(
    db: &mut PgConnection,
    id: &SessionId,
    old: &Digest,
    new: &Digest,
    now: Millis,
    expires: Millis,
) -> Result<Option<Renewal>> {
    // `#` turns the highest bit around: so the upper half of a u64 is compared as the larger one.
    let row: Option<Row> = sqlx::query_as(
        "UPDATE sessions s SET refresh = $3, refreshed = $4, expires = $5 FROM users u
         WHERE u.key = s.owner AND s.id = $1 AND s.refresh = $2 AND $4 # $6 < s.expires # $6
         RETURNING u.id, s.device, s.id, s.refresh, s.created, s.refreshed, s.expires",
    )
    .bind(id.as_str())
    .bind(old.0.as_slice())
    .bind(new.0.as_slice())
    .bind(now.cast_signed())
    .bind(expires.cast_signed())
    .bind(i64::MIN)
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    Ok(row.map(session).transpose()?.map(Renewal::Renewed))
}

/// What is done with a token that renewed nothing: it ends the session, unless that is gone or over.
pub(super) async fn refuse(
    tx: &mut PgConnection,
    id: &SessionId,
    bad: &Digest,
    now: Millis,
) -> Result<Renewal> {
    let ended: Option<(String, String)> = sqlx::query_as(
        "DELETE FROM sessions s USING users u WHERE u.key = s.owner AND s.id = $1 AND s.refresh <> $2
         AND $3 # $4 < s.expires # $4 RETURNING u.id, s.device",
    )
    .bind(id.as_str())
    .bind(bad.0.as_slice())
    .bind(now.cast_signed())
    .bind(i64::MIN)
    .fetch_optional(&mut *tx)
    .await
    .map_err(storage)?;
    let Some((user, device)) = ended else { return Ok(Renewal::Unknown) };
    let identity = Identity { user: UserId::parse(&user)?, device: DeviceId::parse(&device)? };
    changes::record(tx, &[change(&identity)]).await?;
    Ok(Renewal::Reused(identity))
}

pub(super) async fn of_user(db: &mut PgConnection, user: &UserId) -> Result<Vec<Session>> {
    let found: Vec<Row> = sqlx::query_as(
        "SELECT u.id, s.device, s.id, s.refresh, s.created, s.refreshed, s.expires
         FROM sessions s JOIN users u ON u.key = s.owner WHERE u.id = $1 ORDER BY s.device",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found.into_iter().map(session).collect()
}

pub(super) async fn end(tx: &mut PgConnection, identity: &Identity) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM sessions WHERE owner = (SELECT key FROM users WHERE id = $1) AND device = $2",
    )
    .bind(identity.user.as_str())
    .bind(identity.device.as_str())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if removed > 0 {
        changes::record(tx, &[change(identity)]).await?;
    }
    Ok(removed > 0)
}

pub(super) async fn standing(db: &mut PgConnection, identity: &Identity) -> Result<Standing> {
    // One statement, so that both answers are of one moment and there is one way to the server and back.
    let (deleted, session): (bool, Option<String>) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM deleted_users WHERE id = $1),
         (SELECT id FROM sessions WHERE owner = (SELECT key FROM users WHERE id = $1) AND device = $2)",
    )
    .bind(identity.user.as_str())
    .bind(identity.device.as_str())
    .fetch_one(db)
    .await
    .map_err(storage)?;
    Ok(Standing { deleted, session: session.map(|id| SessionId::parse(&id)).transpose()? })
}
