//! `conversation`: makes conversations, adds and removes members, shows both.

use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::remote::Remote;
use beep_core::clock::System;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Conversation, NewConversation, Role, Stores};
use reqwest::Method;
use serde_json::{Value, json};

/// Make and show conversations and their members.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a conversation and print its id
    #[command(after_help = "Example:\n  beep-cli conversation create --title Crew --member u-0123 u-4567")]
    Create(Create),
    /// Add members, or change what they may do
    Add {
        /// The conversation
        #[arg(value_name = "C")]
        conversation: ConversationId,
        /// The users
        #[arg(value_name = "U", required = true)]
        users: Vec<UserId>,
        /// What they may do: listener, member, admin or owner; without it, who is new becomes a member
        #[arg(long, value_name = "ROLE", value_parser = Role::parse)]
        role: Option<Role>,
    },
    /// End a membership
    Remove {
        /// The conversation
        #[arg(value_name = "C")]
        conversation: ConversationId,
        /// The user
        #[arg(value_name = "U")]
        user: UserId,
    },
    /// List conversations
    List {
        /// Only those of this user
        #[arg(long, value_name = "U")]
        user: Option<UserId>,
    },
    /// List the members of a conversation
    Members {
        /// The conversation
        #[arg(value_name = "C")]
        conversation: ConversationId,
    },
}

/// A new conversation.
#[derive(clap::Args)]
pub struct Create {
    /// Its title
    #[arg(long, value_name = "T")]
    title: String,
    /// Its members; the first one becomes the owner unless --owner names another
    #[arg(long = "member", value_name = "U", num_args = 1.., required_unless_present = "owner")]
    members: Vec<UserId>,
    /// Its owner
    #[arg(long, value_name = "U")]
    owner: Option<UserId>,
}

/// Runs one of them.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    let site = context.open(Missing::Refuse).await?;
    match command {
        Command::Create(new) => {
            let object = match &site {
                Site::Local(stores) => json!(create(stores, new).await?),
                Site::Remote(remote) => create_at(remote, new).await?,
            };
            context.out.made(object["id"].as_str().unwrap_or_default(), &object)?;
        }
        Command::Add { conversation, users, role } => match &site {
            Site::Local(stores) => add(stores, &conversation, &users, role).await?,
            Site::Remote(_) if role.is_some_and(|role| role != Role::Member) => {
                return Err(Failure::usage("a server adds members in the role `member` only"));
            }
            Site::Remote(remote) => add_at(remote, conversation.as_str(), &users).await?,
        },
        Command::Remove { conversation, user } => remove(&site, &conversation, &user).await?,
        Command::List { user } => list(&site, user.as_ref(), context).await?,
        Command::Members { conversation } => members(&site, &conversation, context).await?,
    }
    Ok(Outcome::Done)
}

/// Whoever is unknown is named before anything is made.
async fn create(stores: &Stores, new: Create) -> Result<Conversation> {
    let Some(owner) = new.owner.or_else(|| new.members.first().cloned()) else {
        return Err(Failure::usage("a conversation needs an owner: say --member U or --owner U"));
    };
    for user in new.members.iter().chain([&owner]) {
        local::user(stores, user).await?;
    }
    let id = ConversationId::random(&System)?;
    let conversation = NewConversation { id, title: new.title, picture: String::new(), owner: owner.clone() };
    let made = stores.directory.create_conversation(conversation).await?;
    for user in new.members.iter().filter(|user| **user != owner) {
        stores.directory.put_member(&made.id, user, Role::Member).await?;
    }
    Ok(made)
}

/// At a server, whoever asks becomes the owner.
async fn create_at(remote: &Remote, new: Create) -> Result<Value> {
    if new.owner.is_some() {
        return Err(Failure::usage("at a server, the owner is who the token belongs to: leave --owner out"));
    }
    let body = json!({ "title": new.title });
    let made: Value =
        remote.request(Method::POST, &["core", "user", "conversation"]).json(body).fetch().await?;
    add_at(remote, made["id"].as_str().unwrap_or_default(), &new.members).await?;
    Ok(made)
}

async fn add(
    stores: &Stores,
    conversation: &ConversationId,
    users: &[UserId],
    role: Option<Role>,
) -> Result<()> {
    local::conversation(stores, conversation).await?;
    for user in users {
        local::user(stores, user).await?;
    }
    for user in users {
        // Adding an owner once more must not make a plain member of them.
        if role.is_some() || stores.directory.role(conversation, user).await?.is_none() {
            stores.directory.put_member(conversation, user, role.unwrap_or(Role::Member)).await?;
        }
    }
    Ok(())
}

async fn add_at(remote: &Remote, conversation: &str, users: &[UserId]) -> Result<()> {
    for user in users {
        let path = ["core", "user", "conversation", conversation, "member"];
        remote.request(Method::POST, &path).json(json!({ "id": user })).any().ok().await?;
    }
    Ok(())
}

async fn remove(site: &Site, conversation: &ConversationId, user: &UserId) -> Result<()> {
    match site {
        Site::Local(stores) => {
            local::conversation(stores, conversation).await?;
            if stores.directory.remove_member(conversation, user).await? {
                return Ok(());
            }
            Err(Failure::not_found(format!("{user} is not a member of {conversation}")))
        }
        Site::Remote(remote) => {
            let path = ["core", "user", "conversation", conversation.as_str(), "member", user.as_str()];
            remote.request(Method::DELETE, &path).ok().await.map(drop)
        }
    }
}

async fn list(site: &Site, user: Option<&UserId>, context: &Context) -> Result<()> {
    let stores = match site {
        Site::Local(stores) => stores,
        Site::Remote(_) if user.is_some() => {
            return Err(Failure::usage(
                "a server lists the conversations of the token's user: leave --user out",
            ));
        }
        Site::Remote(remote) => {
            let page: Vec<Value> = remote.get(&["core", "user", "conversation"]).fetch().await?;
            return print(&page, ["id", "title"], context);
        }
    };
    if let Some(user) = user {
        local::user(stores, user).await?;
        let own = stores.directory.memberships(user).await?;
        let own: Vec<_> = own.iter().map(|m| json!(m.conversation)).collect();
        return print(&own, ["id", "title"], context);
    }
    let mut after: Option<ConversationId> = None;
    loop {
        let page = stores.directory.conversations(after.as_ref(), 500).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        let page: Vec<_> = page.iter().map(|c| json!(c)).collect();
        print(&page, ["id", "title"], context)?;
    }
}

async fn members(site: &Site, conversation: &ConversationId, context: &Context) -> Result<()> {
    let stores = match site {
        Site::Local(stores) => stores,
        Site::Remote(remote) => {
            let path = ["core", "user", "conversation", conversation.as_str(), "member"];
            let all: Vec<Value> = remote.get(&path).fetch().await?;
            return print(&all, ["id", "first_name", "last_name"], context);
        }
    };
    local::conversation(stores, conversation).await?;
    let mut all = Vec::new();
    for member in stores.directory.members(conversation).await? {
        let mut object = json!({ "id": member.user, "role": member.role.as_str() });
        if let Some(user) = stores.directory.user(&member.user).await? {
            object["first_name"] = user.first_name.into();
            object["last_name"] = user.last_name.into();
        }
        all.push(object);
    }
    print(&all, ["id", "role", "first_name", "last_name"], context)
}

/// The objects as JSON lines, or these fields of each as a table.
fn print<const N: usize>(objects: &[Value], fields: [&str; N], context: &Context) -> Result<()> {
    if context.out.json() {
        return context.out.lines(objects.iter().map(Value::to_string));
    }
    let cell = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let rows: Vec<_> = objects.iter().map(|object| fields.map(|field| cell(object, field))).collect();
    context.out.table(&rows)
}
