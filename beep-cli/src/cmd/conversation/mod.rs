//! `conversation`: makes conversations, shows, changes and ends them.

mod members;

use super::confirm::agreed;
use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::clean;
use crate::remote::Remote;
use crate::time;
use beep_core::bite::{Label, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, UserId};
use beep_core::permission::{Action, Gate};
use beep_core::store::{BiteStoreExt, Conversation, ConversationPatch, Role, Stores};
use beep_pipeline::Beep;
use reqwest::Method;
use serde_json::{Value, json};

/// Make, show, change and end conversations, and their members.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a conversation and print its id
    #[command(after_help = "Example:\n  beep-cli conversation create --title Crew --member u-0123 u-4567")]
    Create(Create),
    /// Show a conversation
    Show {
        /// The conversation
        #[arg(value_name = "C")]
        conversation: ConversationId,
    },
    /// Change title or picture; what is not named stays
    #[command(after_help = "Example:\n  beep-cli conversation set c-0123 --title 'Night shift'")]
    Set(Set),
    /// End a conversation for all, with everything said there
    #[command(after_help = "At a server, owners end it; who is no owner only leaves it.\n\n\
        Example:\n  beep-cli conversation delete c-0123 --yes")]
    Delete {
        /// The conversation
        #[arg(value_name = "C")]
        conversation: ConversationId,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Add members, or change what they may do
    #[command(after_help = "Example:\n  beep-cli conversation add c-0123 u-0123 --role admin")]
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
    /// End a membership; the last owner has to make somebody else owner first
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

/// What is to be different.
#[derive(clap::Args)]
pub struct Set {
    /// The conversation
    #[arg(value_name = "C")]
    conversation: ConversationId,
    #[command(flatten)]
    changes: Changes,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Its title
    #[arg(long, value_name = "T")]
    title: Option<String>,
    /// The stored name of its picture; empty for none
    #[arg(long, value_name = "NAME")]
    picture: Option<String>,
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
        Command::Show { conversation } => show(&site, &conversation, context).await?,
        Command::Set(set) => change(&site, set, context).await?,
        Command::Delete { conversation, yes } => delete(&site, &conversation, yes, context).await?,
        Command::Add { conversation, users, role } => match &site {
            Site::Local(stores) => members::add(stores, &conversation, &users, role).await?,
            Site::Remote(remote) => members::add_at(remote, conversation.as_str(), &users, role).await?,
        },
        Command::Remove { conversation, user } => members::remove(&site, &conversation, &user).await?,
        Command::List { user } => list(&site, user.as_ref(), context).await?,
        Command::Members { conversation } => members::list(&site, &conversation, context).await?,
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
    let title = new.title;
    let made =
        local::people(stores, async |people| people.create_conversation(&owner, title, String::new()).await);
    let made = made.await?.conversation;
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
    members::add_at(remote, made["id"].as_str().unwrap_or_default(), &new.members, None).await?;
    Ok(made)
}

/// An owner, in whose name the operator acts: what an owner may not do either would break the conversation.
async fn owner(stores: &Stores, conversation: &ConversationId) -> Result<Option<UserId>> {
    let members = stores.directory.members(conversation).await?;
    Ok(members.into_iter().find(|member| member.role == Role::Owner).map(|member| member.user))
}

async fn show(site: &Site, id: &ConversationId, context: &Context) -> Result<()> {
    let object = match site {
        Site::Local(stores) => {
            let mut object = json!(local::conversation(stores, id).await?);
            object["members"] = stores.directory.members(id).await?.len().into();
            object["last_bite"] = last_bite(stores, id).await?.into();
            object
        }
        Site::Remote(remote) => {
            remote.get(&["core", "user", "conversation", id.as_str()]).fetch::<Value>().await?
        }
    };
    if context.out.json() {
        return context.out.object(&object);
    }
    let text = |key: &str| match &object[key] {
        Value::Null => None,
        Value::String(text) => Some(clean(text).into_owned()).filter(|text| !text.is_empty()),
        Value::Number(time) if key == "last_bite" => time.as_u64().map(time::local),
        other => Some(other.to_string()),
    };
    let names = ["id", "title", "picture", "role", "members", "unheard", "last_bite"];
    let known = names.iter().filter_map(|key| Some(format!("{:<9} {}", key.replace('_', " "), text(key)?)));
    context.out.lines(known)
}

async fn last_bite(stores: &Stores, id: &ConversationId) -> Result<Option<Millis>> {
    let end = ScanRange::new(Millis::MAX, Millis::MAX, 1)?;
    let page = stores.bites.scan(Label::Bite, id, end).await?;
    Ok(page.starts.last().copied().or(page.previous))
}

async fn change(site: &Site, set: Set, context: &Context) -> Result<()> {
    let Set { conversation: id, changes: Changes { title, picture } } = set;
    let object = match site {
        Site::Local(stores) => {
            local::conversation(stores, &id).await?;
            let patch = ConversationPatch { title, picture };
            match owner(stores, &id).await? {
                Some(owner) => {
                    local::people(stores, async |people| people.patch_conversation(&owner, &id, patch).await)
                        .await?;
                }
                None => drop(stores.directory.patch_conversation(&id, patch).await?),
            }
            json!(local::conversation(stores, &id).await?)
        }
        Site::Remote(remote) => {
            let mut body = json!({});
            for (name, text) in [("title", title), ("picture", picture)] {
                if let Some(text) = text {
                    body[name] = text.into();
                }
            }
            let path = ["core", "user", "conversation", id.as_str()];
            remote.request(Method::PATCH, &path).json(body).fetch().await?
        }
    };
    if context.out.json() { context.out.object(&object) } else { Ok(()) }
}

async fn delete(site: &Site, id: &ConversationId, yes: bool, context: &Context) -> Result<()> {
    match site {
        Site::Local(stores) => {
            local::conversation(stores, id).await?;
            let said = stores.bites.starts(Label::Bite, id).await?.len();
            agreed(yes, &format!("the conversation {id} with {said} recordings")).await?;
            delete_here(stores, id).await?;
        }
        Site::Remote(remote) => {
            agreed(yes, &format!("the conversation {id} with all that was said there, if you own it"))
                .await?;
            let path = ["core", "user", "conversation", id.as_str()];
            remote.request(Method::DELETE, &path).ok().await?;
        }
    }
    context.out.progress(&format!("deleted {id}"));
    Ok(())
}

async fn delete_here(stores: &Stores, id: &ConversationId) -> Result<()> {
    let beep = Beep::builder(stores.clone()).start().await?;
    let deleted = async {
        match owner(stores, id).await? {
            Some(owner) => beep.people().delete_conversation(&owner, id).await?,
            None => delete_ownerless(&beep, id).await?,
        }
        // Until none of it can be found any more.
        Ok(beep.settle().await?)
    };
    let deleted = deleted.await;
    beep.shutdown().await;
    deleted
}

/// The same by an operator's right, where nobody is left whose right it is.
async fn delete_ownerless(beep: &Beep, id: &ConversationId) -> Result<()> {
    let stores = beep.stores();
    let grant = Gate::operator(id, Gate::operator_identity()?, Action::Moderate);
    for start in stores.bites.starts(Label::Bite, id).await? {
        beep.delete(&grant, start).await?;
    }
    stores.directory.delete_conversation(id).await?;
    Ok(())
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

/// The objects as JSON lines, or these fields of each as a table.
fn print<const N: usize>(objects: &[Value], fields: [&str; N], context: &Context) -> Result<()> {
    if context.out.json() {
        return context.out.lines(objects.iter().map(Value::to_string));
    }
    let cell = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let rows: Vec<_> = objects.iter().map(|object| fields.map(|field| cell(object, field))).collect();
    context.out.table(&rows)
}
