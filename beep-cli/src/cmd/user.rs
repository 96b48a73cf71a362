//! `user`: makes users and shows them.

use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::local::{self, Missing};
use crate::output::{Output, clean};
use crate::phone;
use beep_core::ErrorKind;
use beep_core::clock::System;
use beep_core::id::UserId;
use beep_core::store::{NewUser, User};
use reqwest::Method;
use serde_json::{Value, json};

/// Make and show users.
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
        if context.out.json() {
            context.out.lines(page.iter().map(|user| json!(user).to_string()))?;
        } else {
            context.out.table(&page.into_iter().map(row).collect::<Vec<_>>())?;
        }
    }
}

fn row(user: User) -> [String; 4] {
    let full = format!("{} {}", user.first_name, user.last_name);
    let username = user.username.map(|name| format!("@{name}"));
    [user.id.to_string(), user.phone_number, full.trim().to_owned(), username.unwrap_or_default()]
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
    ];
    let known = names.iter().filter_map(|(name, key)| {
        let value = user[*key].as_str().filter(|v| !v.is_empty())?;
        Some(format!("{name:<9} {}", clean(value)))
    });
    out.lines(known)
}
