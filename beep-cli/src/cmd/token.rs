//! `token`: signs a token with the key of the data directory.

use super::Context;
use crate::failure::{Outcome, Result};
use crate::local::{self, Missing};
use beep_core::auth::jwt::JwtConfig;
use beep_core::auth::{Scope, TokenIssuer};
use beep_core::clock::System;
use beep_core::id::{DeviceId, Identity, UserId};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const EXAMPLE: &str = "\
The token is good at a server that runs on this data directory. --issuer, --audience and --hours are the server's
`auth` settings; the variables are the same too.

Example:
  export BEEP_TOKEN=$(beep-cli token --user u-0123 --client laptop)";

/// Print a token for a user on a device.
#[derive(clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Args {
    /// The user
    #[arg(long, value_name = "U")]
    user: UserId,
    /// The device: any name of 1 to 128 printable ASCII characters
    #[arg(long, value_name = "D")]
    client: DeviceId,
    /// For an operator: may do what is the operator's at a server
    #[arg(long, conflicts_with = "service")]
    admin: bool,
    /// For another service: may ask about permissions
    #[arg(long)]
    service: bool,
    /// Who issues it
    #[arg(long, value_name = "I", env = "BEEP_AUTH_ISSUER", default_value = "beep")]
    issuer: String,
    /// Whom it is for
    #[arg(long, value_name = "A", env = "BEEP_AUTH_AUDIENCE", default_value = "beep")]
    audience: String,
    /// How long it is good
    #[arg(long, value_name = "H", env = "BEEP_AUTH_TOKEN_HOURS", default_value_t = 720)]
    hours: u64,
}

/// Prints it alone.
pub async fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let data = context.data("token")?;
    let stores = local::open(data, Missing::Make).await?;
    if stores.directory.user(&args.user).await?.is_none() {
        context.out.warn(&format!("there is no user {} in {} yet", args.user, data.path().display()));
    }
    let scope = match (args.admin, args.service) {
        (true, _) => Scope::Admin,
        (_, true) => Scope::Service,
        _ => Scope::User,
    };
    let config = JwtConfig {
        issuer: args.issuer.clone(),
        audience: args.audience.clone(),
        lifetime: Duration::from_secs(args.hours.saturating_mul(3_600)),
        ..JwtConfig::default()
    };
    let jwt = data.jwt(config, Arc::new(System), Arc::new(System))?;
    let identity = Identity { user: args.user.clone(), device: args.client.clone() };
    let token = jwt.issue(&identity, scope)?;
    context.out.made(
        &token,
        &json!({ "token": token, "user": identity.user, "client": identity.device, "scope": scope }),
    )?;
    Ok(Outcome::Done)
}
