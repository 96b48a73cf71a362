//! Users, conversations, members and contacts from a dump of the original's Postgres.

use super::Imported;
use super::dump::{Row, bytea, rows};
use crate::services::phone;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Directory, NewConversation, NewUser, Role, UserPatch};
use beep_core::{Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

const TABLES: [&str; 5] = ["user", "conversation", "member", "contact", "pinned_conversation"];

/// What stands in a dump.
#[derive(Default)]
struct Dump {
    users: Vec<(u64, Row)>,
    conversations: Vec<(u64, Row)>,
    /// By conversation, in the order of the dump: who, and whether they pinned it.
    members: BTreeMap<ConversationId, Vec<(UserId, bool)>>,
    contacts: Vec<(UserId, UserId)>,
    pins: BTreeSet<(ConversationId, UserId)>,
}

/// Takes over the people of a plain `pg_dump` of the original's database (`COPY` blocks, not `--inserts`).
///
/// The original had no roles: the first member of a conversation in the dump, who made it, becomes its owner, all others
/// members. Phone numbers become E.164. Errors are those of the directory and [`ErrorKind::Malformed`] for a file that
/// is none, or not whole.
pub async fn import_people(directory: &dyn Directory, file: &mut (dyn BufRead + Send)) -> Result<Imported> {
    let mut done = Imported::default();
    let dump = read(file, &mut done)?;
    for (line, row) in &dump.users {
        user(directory, *line, row, &mut done).await?;
    }
    for (line, row) in &dump.conversations {
        conversation(directory, &dump, *line, row, &mut done).await?;
    }
    for (owner, contact) in &dump.contacts {
        if directory.contacts(owner).await?.iter().any(|c| c.id == *contact) {
            done.already += 1;
            continue;
        }
        match directory.put_contact(owner, contact).await {
            Ok(()) => done.contacts += 1,
            Err(e) => refused(format!("contact {contact} of {owner}"), e, &mut done)?,
        }
    }
    Ok(done)
}

fn read(file: &mut dyn BufRead, done: &mut Imported) -> Result<Dump> {
    let mut dump = Dump::default();
    rows(file, &TABLES, |table, row, line| {
        let what = format!("line {line} of the dump ({table})");
        let row = match row {
            Ok(row) => row,
            Err(why) => return done.skip(what, why),
        };
        let pair = match table {
            "user" => return dump.users.push((line, row)),
            "conversation" => return dump.conversations.push((line, row)),
            "contact" => user_id(&row, "user").and_then(|owner| {
                dump.contacts.push((owner, user_id(&row, "contact")?));
                Ok(())
            }),
            "member" => user_id(&row, "user").and_then(|user| {
                let pinned = row.get("pinned").is_some_and(|p| p == "t");
                dump.members.entry(conversation_id(&row, "conversation")?).or_default().push((user, pinned));
                Ok(())
            }),
            _ => user_id(&row, "user").and_then(|user| {
                dump.pins.insert((conversation_id(&row, "conversation")?, user));
                Ok(())
            }),
        };
        if let Err(e) = pair {
            done.skip(what, e.message());
        }
    })?;
    Ok(dump)
}

async fn user(directory: &dyn Directory, line: u64, row: &Row, done: &mut Imported) -> Result<()> {
    let text = |column: &str| row.get(column).cloned().unwrap_or_default();
    let id = match user_id(row, "id") {
        Ok(id) => id,
        Err(e) => return done.leave_out(format!("line {line} of the dump (user)"), e.message()),
    };
    let what = format!("user {id}");
    let phone_number = match row.get("phone_number").map(|number| phone::parse(number)) {
        Some(Ok(number)) => number,
        Some(Err(e)) => return done.leave_out(what, format!("the phone number: {}", e.message())),
        None => return done.leave_out(what, "there is no phone number"),
    };
    let there = match directory.user(&id).await? {
        Some(there) if there.phone_number == phone_number => {
            done.already += 1;
            there
        }
        Some(_) => return done.leave_out(what, "somebody of this id and another phone number is there"),
        None => {
            if let Some(holder) = directory.user_by_phone(&phone_number).await? {
                return done.leave_out(what, format!("the phone number belongs to {}", holder.id));
            }
            let mut username = row.get("username").cloned().filter(|name| !name.is_empty());
            if let Some(name) = &username
                && let Some(holder) = directory.user_by_username(name).await?
            {
                done.skip(format!("user name of {id}"), format!("it belongs to {}", holder.id));
                username = None;
            }
            let (first_name, last_name) = (text("first_name"), text("last_name"));
            let made = directory.create_user(NewUser {
                id: id.clone(),
                username,
                first_name,
                last_name,
                phone_number,
            });
            match made.await {
                Ok(made) => {
                    done.users += 1;
                    made
                }
                Err(e) => return refused(what, e, done),
            }
        }
    };
    // Both empty: just made, or made by an import that was interrupted here.
    let (bio, profile_pic) = (text("bio"), text("profile_pic"));
    if there.bio.is_empty() && there.profile_pic.is_empty() && !(bio.is_empty() && profile_pic.is_empty()) {
        let patch = UserPatch { bio: Some(bio), profile_pic: Some(profile_pic), ..UserPatch::default() };
        directory.patch_user(&id, patch).await?;
    }
    Ok(())
}

async fn conversation(
    directory: &dyn Directory,
    dump: &Dump,
    line: u64,
    row: &Row,
    done: &mut Imported,
) -> Result<()> {
    let id = match conversation_id(row, "id") {
        Ok(id) => id,
        Err(e) => return done.leave_out(format!("line {line} of the dump (conversation)"), e.message()),
    };
    let mut members = Vec::new();
    for (user, pinned) in dump.members.get(&id).into_iter().flatten() {
        if directory.user(user).await?.is_some() {
            members.push((user, *pinned || dump.pins.contains(&(id.clone(), user.clone()))));
        } else {
            done.skip(format!("member {user} of {id}"), "this user was not imported");
        }
    }
    let Some((owner, _)) = members.first() else {
        return done.leave_out(format!("conversation {id}"), "nobody is in it");
    };
    if directory.conversation(&id).await?.is_none() {
        let text = |column: &str| row.get(column).cloned().unwrap_or_default();
        let new = NewConversation {
            id: id.clone(),
            title: text("title"),
            picture: text("picture"),
            owner: (*owner).clone(),
        };
        match directory.create_conversation(new).await {
            Ok(_) => (done.conversations, done.members) = (done.conversations + 1, done.members + 1),
            Err(e) => return refused(format!("conversation {id}"), e, done),
        }
    } else {
        done.already += 1;
    }
    for (user, pinned) in members {
        if directory.role(&id, user).await?.is_none() {
            directory.put_member(&id, user, Role::Member).await?;
            done.members += 1;
        }
        if pinned {
            directory.set_pinned(&id, user, true).await?;
        }
    }
    Ok(())
}

fn user_id(row: &Row, column: &str) -> Result<UserId> {
    UserId::parse(&id(row, column)?)
}

fn conversation_id(row: &Row, column: &str) -> Result<ConversationId> {
    ConversationId::parse(&id(row, column)?)
}

fn id(row: &Row, column: &str) -> Result<String> {
    let none = || Error::new(ErrorKind::Malformed, format!("there is no id in `{column}`"));
    row.get(column).and_then(|field| bytea(field)).ok_or_else(none)
}

/// Skips what the directory refuses; what has nothing to do with the row ends the import.
fn refused(what: String, e: Error, done: &mut Imported) -> Result<()> {
    match e.kind() {
        ErrorKind::Conflict | ErrorKind::NotFound | ErrorKind::Malformed | ErrorKind::Invalid => {
            done.leave_out(what, e.message())
        }
        _ => Err(e),
    }
}
