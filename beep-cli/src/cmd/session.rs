//! `session`: the devices that a user is signed in on.

use super::{Context, Site};
use crate::failure::{Failure, Outcome, Result};
use crate::time;
use beep_core::clock::{Clock, System};
use beep_core::id::{DeviceId, Identity, UserId};
use beep_core::store::Session;
use reqwest::Method;
use serde_json::{Value, json};

/// List and end the sessions of a user.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the devices that a user is signed in on
    List {
        /// Whose sessions; at a server, the token's own user
        #[arg(value_name = "U")]
        user: UserId,
    },
    /// Sign a device out: the tokens of its session are dead then
    #[command(after_help = "Example:\n  beep-cli session end u-0123 phone")]
    End {
        /// Whose session; at a server, the token's own user
        #[arg(value_name = "U")]
        user: UserId,
        /// The device
        #[arg(value_name = "D")]
        client: DeviceId,
    },
}

/// Runs one of them.
pub async fn run(command: Command, context: &Context) -> Result<Outcome> {
    match command {
        Command::List { user } => list(&user, context).await?,
        Command::End { user, client } => end(Identity { user, device: client }, context).await?,
    }
    Ok(Outcome::Done)
}

/// A session without what only its device may know, in the shape that servers send.
pub fn object(session: &Session) -> Value {
    json!({
        "clientid": session.identity.device,
        "created": session.created,
        "refreshed": session.refreshed,
        "expires": session.expires,
    })
}

async fn list(user: &UserId, context: &Context) -> Result<()> {
    let all: Vec<Value> = match context.open_for(user).await? {
        Site::Local(stores) => {
            let now = System.now();
            let all = stores.directory.sessions(user).await?;
            all.iter().filter(|session| now < session.expires).map(object).collect()
        }
        Site::Remote(remote) => remote.get(&["login", "sessions"]).fetch().await?,
    };
    if context.out.json() {
        return context.out.lines(all.iter().map(Value::to_string));
    }
    let at = |session: &Value, name: &str| session[name].as_u64().map(time::local).unwrap_or_default();
    let rows = all.iter().map(|session| {
        let device = session["clientid"].as_str().unwrap_or_default().to_owned();
        let (created, expires) = (at(session, "created"), at(session, "expires"));
        [device, format!("since {created}"), format!("until {expires}")]
    });
    context.out.table(&rows.collect::<Vec<_>>())
}

async fn end(identity: Identity, context: &Context) -> Result<()> {
    match context.open_for(&identity.user).await? {
        Site::Local(stores) if stores.directory.end_session(&identity).await? => Ok(()),
        Site::Local(_) => {
            let Identity { user, device } = identity;
            Err(Failure::not_found(format!("{user} is not signed in on {device}"))
                .hint(format!("`beep-cli session list {user}` lists the devices")))
        }
        Site::Remote(remote) => {
            let path = ["login", "sessions", identity.device.as_str()];
            remote.request(Method::DELETE, &path).ok().await.map(drop)
        }
    }
}
