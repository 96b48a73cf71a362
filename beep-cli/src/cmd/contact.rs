//! `contact`: whom a user knows by number.

use super::user::row;
use super::{Context, Site};
use crate::failure::{Outcome, Result};
use crate::local;
use beep_core::id::UserId;
use beep_pipeline::services::phone;
use reqwest::Method;
use serde_json::{Value, json};

/// Add, list and remove the contacts of a user.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Add whoever has this number to a user's contacts, and print the contact's id
    #[command(
        after_help = "A number that nobody has makes a user without a name, who gets one by signing in.\n\n\
        Example:\n  beep-cli contact add u-0123 '+65 9999 9999'"
    )]
    Add {
        /// Whose contact; at a server, the token's own user
        #[arg(value_name = "U")]
        user: UserId,
        /// The contact's number with + and country code; spaces, dashes and parentheses do not matter
        #[arg(value_name = "N", value_parser = phone::parse)]
        phone: String,
    },
    /// List the contacts of a user
    List {
        /// Whose contacts; at a server, the token's own user
        #[arg(value_name = "U")]
        user: UserId,
    },
    /// Take somebody out of a user's contacts
    Remove {
        /// Whose contact; at a server, the token's own user
        #[arg(value_name = "U")]
        user: UserId,
        /// The contact
        #[arg(value_name = "CONTACT")]
        contact: UserId,
    },
}

/// Runs one of them.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    let (Command::Add { user, .. } | Command::List { user } | Command::Remove { user, .. }) = &command;
    let site = context.open_for(user).await?;
    match &command {
        Command::Add { user, phone } => {
            let contact = add(&site, user, phone).await?;
            context.out.made(contact["id"].as_str().unwrap_or_default(), &contact)?;
        }
        Command::List { user } => list(&site, user, context).await?,
        Command::Remove { user, contact } => remove(&site, user, contact).await?,
    }
    Ok(Outcome::Done)
}

async fn add(site: &Site, user: &UserId, phone: &str) -> Result<Value> {
    match site {
        Site::Local(stores) => {
            Ok(json!(local::people(stores, async |people| people.add_contact(user, phone).await).await?))
        }
        Site::Remote(remote) => {
            let body = json!({ "phone_number": phone });
            remote.request(Method::POST, &["core", "user", "contact"]).json(body).fetch().await
        }
    }
}

async fn list(site: &Site, user: &UserId, context: &Context) -> Result<()> {
    let all: Vec<Value> = match site {
        Site::Local(stores) => {
            let all = local::people(stores, async |people| people.contacts(user).await).await?;
            all.iter().map(|contact| json!(contact)).collect()
        }
        Site::Remote(remote) => remote.get(&["core", "user", "contact"]).fetch().await?,
    };
    if context.out.json() {
        return context.out.lines(all.iter().map(Value::to_string));
    }
    context.out.table(&all.iter().map(row).collect::<Vec<_>>())
}

async fn remove(site: &Site, user: &UserId, contact: &UserId) -> Result<()> {
    match site {
        Site::Local(stores) => {
            local::people(stores, async |people| people.remove_contact(user, contact).await).await
        }
        Site::Remote(remote) => {
            let path = ["core", "user", "contact", contact.as_str()];
            remote.request(Method::DELETE, &path).ok().await.map(drop)
        }
    }
}
