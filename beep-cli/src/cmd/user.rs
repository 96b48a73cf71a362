//! `user`: makes users, shows and changes them.

use super::{Context, Site, erase};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::{Output, clean};
use beep_core::ErrorKind;
use beep_core::clock::System;
use beep_core::id::UserId;
use beep_core::store::{NewUser, UserPatch};
use beep_pipeline::services::phone;
use reqwest::Method;
use serde_json::{Value, json};

/// Make, show, change and erase users.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a user and print their id
    #[command(
        after_help = "Example:\n  beep-cli user create --phone '+65 9999 9999' --first Alice --last Tan"
    )]
    Create(Create),
    /// List all users
    List,
    /// Show a user
    Show {
        /// The user
        #[arg(value_name = "ID")]
        id: UserId,
    },
    /// Change what is known about a user; what is not named stays
    #[command(after_help = "Example:\n  beep-cli user set u-0123 --last Lim --bio 'On duty until six'")]
    Set(Set),
    /// Erase a user with everything that they recorded: the same as `erase`
    Erase(erase::Args),
}

/// Somebody new.
#[derive(clap::Args)]
pub struct Create {
    /// Phone number with + and country code; spaces, dashes and parentheses do not matter
    #[arg(long, value_name = "N", value_parser = phone::parse)]
    phone: String,
    /// First name
    #[arg(long, value_name = "F", value_parser = name)]
    first: String,
    /// Last name
    #[arg(long, value_name = "L", default_value = "", hide_default_value = true)]
    last: String,
    /// A unique name
    #[arg(long, value_name = "U", value_parser = name)]
    username: Option<String>,
}

/// What is to be different.
#[derive(clap::Args)]
pub struct Set {
    /// The user; at a server, the token's own
    #[arg(value_name = "ID")]
    id: UserId,
    #[command(flatten)]
    changes: Changes,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// First name
    #[arg(long, value_name = "F", value_parser = name)]
    first: Option<String>,
    /// Last name
    #[arg(long, value_name = "L", value_parser = name)]
    last: Option<String>,
    /// A unique name
    #[arg(long, value_name = "U", value_parser = name)]
    username: Option<String>,
    /// Give the unique name up
    #[arg(long, conflicts_with = "username")]
    no_username: bool,
    /// A line about themselves; empty for none
    #[arg(long, value_name = "TEXT")]
    bio: Option<String>,
    /// The stored name of their picture; empty for none
    #[arg(long, value_name = "NAME")]
    picture: Option<String>,
}

fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() { Err("a name must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// Runs one of them.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    match command {
        Command::Create(new) => create(new, context).await?,
        Command::List => list(context).await?,
        Command::Show { id } => show(&id, context).await?,
        Command::Set(set) => change(set, context).await?,
        Command::Erase(args) => return erase::run(&args, context).await,
    }
    Ok(Outcome::Done)
}

async fn create(new: Create, context: &Context) -> Result<()> {
    let (id, object) = match context.open(Missing::Make).await? {
        Site::Local(stores) => {
            let user = NewUser {
                id: UserId::random(&System)?,
                username: new.username,
                first_name: new.first,
                last_name: new.last,
                phone_number: new.phone,
            };
            let user = stores.directory.create_user(user).await.map_err(taken)?;
            (user.id.to_string(), json!(user))
        }
        Site::Remote(remote) => {
            let body = json!({
                "first_name": new.first,
                "last_name": new.last,
                "phone_number": new.phone,
                "username": new.username,
            });
            let user: Value = remote.request(Method::POST, &["core", "user"]).json(body).fetch().await?;
            (user["id"].as_str().unwrap_or_default().to_owned(), user)
        }
    };
    context.out.made(&id, &object)
}

fn taken(e: beep_core::Error) -> Failure {
    let conflict = e.kind() == ErrorKind::Conflict;
    let failure = Failure::from(e);
    if conflict { failure.hint("`beep-cli user list` shows who has it") } else { failure }
}

async fn list(context: &Context) -> Result<()> {
    let stores = context.stores("user list").await?;
    let mut after: Option<UserId> = None;
    loop {
        let page = stores.directory.users(after.as_ref(), 500).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        let page: Vec<_> = page.iter().map(|user| json!(user)).collect();
        if context.out.json() {
            context.out.lines(page.iter().map(Value::to_string))?;
        } else {
            context.out.table(&page.iter().map(row).collect::<Vec<_>>())?;
        }
    }
}

/// A user in a table, from a data directory or a server.
pub fn row(user: &Value) -> [String; 4] {
    let text = |key: &str| user[key].as_str().unwrap_or_default();
    let full = format!("{} {}", text("first_name"), text("last_name"));
    let username = user["username"].as_str().map(|name| format!("@{name}"));
    let phone = phone::international(text("phone_number"));
    [text("id").to_owned(), phone, full.trim().to_owned(), username.unwrap_or_default()]
}

async fn change(set: Set, context: &Context) -> Result<()> {
    let Set { id, changes } = set;
    let username = if changes.no_username { Some(None) } else { changes.username.map(Some) };
    let patch = UserPatch {
        username,
        bio: changes.bio,
        profile_pic: changes.picture,
        first_name: changes.first,
        last_name: changes.last,
    };
    let user = match context.open_for(&id).await? {
        Site::Local(stores) => {
            local::people(&stores, async |people| people.patch_user(&id, patch).await).await?;
            json!(local::user(&stores, &id).await?)
        }
        Site::Remote(remote) => {
            let mut body = json!({});
            let fields = [
                ("bio", patch.bio),
                ("profile_pic", patch.profile_pic),
                ("first_name", patch.first_name),
                ("last_name", patch.last_name),
            ];
            for (name, text) in fields {
                if let Some(text) = text {
                    body[name] = text.into();
                }
            }
            if let Some(username) = patch.username {
                body["username"] = username.into();
            }
            remote.request(Method::PATCH, &["core", "user"]).json(body).fetch().await?
        }
    };
    if context.out.json() { context.out.object(&user) } else { Ok(()) }
}

async fn show(id: &UserId, context: &Context) -> Result<()> {
    let user = match context.open(Missing::Refuse).await? {
        Site::Local(stores) => json!(local::user(&stores, id).await?),
        Site::Remote(remote) => remote.get(&["core", "user", "id", id.as_str()]).fetch().await?,
    };
    if context.out.json() { context.out.object(&user) } else { fields(&user, &context.out) }
}

fn fields(user: &Value, out: &Output) -> Result<()> {
    let names = [
        ("id", "id"),
        ("phone", "phone_number"),
        ("first", "first_name"),
        ("last", "last_name"),
        ("username", "username"),
        ("bio", "bio"),
        ("picture", "profile_pic"),
    ];
    let known = names.iter().filter_map(|(name, key)| {
        let value = user[*key].as_str().filter(|v| !v.is_empty())?;
        let value = if *key == "phone_number" { phone::international(value) } else { value.to_owned() };
        Some(format!("{name:<9} {}", clean(&value)))
    });
    out.lines(known)
}
