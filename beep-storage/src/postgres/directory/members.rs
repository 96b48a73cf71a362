//! Who is in which conversation, with what role, pinned or not, heard up to where.

use super::{changes, conversations, users};
use crate::postgres::error::storage;
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Change, Member, Membership, Role};
use beep_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;

/// The roles by their number in the table.
const ROLES: [Role; 4] = [Role::Listener, Role::Member, Role::Admin, Role::Owner];

fn number(role: Role) -> i16 {
    match role {
        Role::Listener => 0,
        Role::Member => 1,
        Role::Admin => 2,
        Role::Owner => 3,
    }
}

fn named(number: i16) -> Result<Role> {
    usize::try_from(number)
        .ok()
        .and_then(|n| ROLES.get(n).copied())
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a stored role is none").with("role", number))
}

fn not_a_member(conversation: &ConversationId, user: &UserId) -> Error {
    Error::new(ErrorKind::NotFound, "this user is not in this conversation")
        .with("conversation", conversation)
        .with("user", user)
}

pub(super) async fn insert(tx: &mut PgConnection, conversation: i64, user: i64, role: Role) -> Result<bool> {
    let changed = sqlx::query(
        "INSERT INTO members AS before (conversation, member, role) VALUES ($1, $2, $3)
         ON CONFLICT (conversation, member) DO UPDATE SET role = excluded.role WHERE before.role <> excluded.role",
    )
    .bind(conversation)
    .bind(user)
    .bind(number(role))
    .execute(tx)
    .await
    .map_err(storage)?
    .rows_affected();
    Ok(changed > 0)
}

pub(super) async fn put(tx: &mut PgConnection, id: &ConversationId, user: &UserId, role: Role) -> Result<()> {
    let conversation = conversations::known(tx, id).await?;
    let user_key = users::known(tx, user).await?;
    if insert(tx, conversation, user_key, role).await? {
        changes::record(tx, &[Change::Member(id.clone(), user.clone())]).await?;
    }
    Ok(())
}

pub(super) async fn remove(
    tx: &mut PgConnection,
    conversation: &ConversationId,
    user: &UserId,
) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM members WHERE conversation = (SELECT key FROM conversations WHERE id = $1)
         AND member = (SELECT key FROM users WHERE id = $2)",
    )
    .bind(conversation.as_str())
    .bind(user.as_str())
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if removed > 0 {
        changes::record(tx, &[Change::Member(conversation.clone(), user.clone())]).await?;
    }
    Ok(removed > 0)
}

pub(super) async fn of_conversation(
    db: &mut PgConnection,
    conversation: &ConversationId,
) -> Result<Vec<Member>> {
    let found: Vec<(String, i16)> = sqlx::query_as(
        "SELECT u.id, m.role FROM members m JOIN users u ON u.key = m.member
         WHERE m.conversation = (SELECT key FROM conversations WHERE id = $1) ORDER BY u.id",
    )
    .bind(conversation.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found
        .into_iter()
        .map(|(user, role)| Ok(Member { user: UserId::parse(&user)?, role: named(role)? }))
        .collect()
}

pub(super) async fn role(
    db: &mut PgConnection,
    conversation: &ConversationId,
    user: &UserId,
) -> Result<Option<Role>> {
    let role: Option<i16> = sqlx::query_scalar(
        "SELECT role FROM members WHERE conversation = (SELECT key FROM conversations WHERE id = $1)
         AND member = (SELECT key FROM users WHERE id = $2)",
    )
    .bind(conversation.as_str())
    .bind(user.as_str())
    .fetch_optional(db)
    .await
    .map_err(storage)?;
    role.map(named).transpose()
}

pub(super) async fn of_user(db: &mut PgConnection, user: &UserId) -> Result<Vec<Membership>> {
    let found: Vec<(String, String, String, i16, bool, i64)> = sqlx::query_as(
        "SELECT c.id, c.title, c.picture, m.role, m.pinned, m.last_heard
         FROM members m JOIN conversations c ON c.key = m.conversation
         WHERE m.member = (SELECT key FROM users WHERE id = $1) ORDER BY c.id",
    )
    .bind(user.as_str())
    .fetch_all(db)
    .await
    .map_err(storage)?;
    found
        .into_iter()
        .map(|(id, title, picture, role, pinned, last_heard)| {
            Ok(Membership {
                conversation: conversations::conversation((id, title, picture))?,
                role: named(role)?,
                pinned,
                last_heard: last_heard.cast_unsigned(),
            })
        })
        .collect()
}

/// After an update that changed nothing: because nothing was to be changed, or because there is no such member.
async fn must_be(db: &mut PgConnection, conversation: &ConversationId, user: &UserId) -> Result<()> {
    role(db, conversation, user).await?.map(drop).ok_or_else(|| not_a_member(conversation, user))
}

pub(super) async fn pin(
    tx: &mut PgConnection,
    conversation: &ConversationId,
    user: &UserId,
    pinned: bool,
) -> Result<()> {
    let changed = sqlx::query(
        "UPDATE members SET pinned = $3 WHERE conversation = (SELECT key FROM conversations WHERE id = $1)
         AND member = (SELECT key FROM users WHERE id = $2) AND pinned <> $3",
    )
    .bind(conversation.as_str())
    .bind(user.as_str())
    .bind(pinned)
    .execute(&mut *tx)
    .await
    .map_err(storage)?
    .rows_affected();
    if changed == 0 {
        return must_be(tx, conversation, user).await;
    }
    changes::record(tx, &[Change::Member(conversation.clone(), user.clone())]).await
}

pub(super) async fn heard(
    db: &mut PgConnection,
    conversation: &ConversationId,
    user: &UserId,
    start: Millis,
) -> Result<()> {
    // `#` turns the highest bit around: so the upper half of a u64 is compared as the larger one.
    let changed = sqlx::query(
        "UPDATE members SET last_heard = $3 WHERE conversation = (SELECT key FROM conversations WHERE id = $1)
         AND member = (SELECT key FROM users WHERE id = $2) AND last_heard # $4 < $3 # $4",
    )
    .bind(conversation.as_str())
    .bind(user.as_str())
    .bind(start.cast_signed())
    .bind(i64::MIN)
    .execute(&mut *db)
    .await
    .map_err(storage)?
    .rows_affected();
    if changed == 0 { must_be(db, conversation, user).await } else { Ok(()) }
}
