//! `token`: signs a token with the key of the data directory.

use super::Context;
use crate::failure::{Outcome, Result};
use beep_core::auth::jwt::JwtConfig;
use beep_core::auth::{Scope, TokenIssuer};
use beep_core::clock::System;
use beep_core::id::{DeviceId, Identity, UserId};
use serde_json::json;
use std::sync::Arc;

const EXAMPLE: &str = "\
The token is good for 30 days at a server that runs on this data directory.

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
}

/// Prints it alone.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let data = context.data("token")?;
    let scope = match (args.admin, args.service) {
        (true, _) => Scope::Admin,
        (_, true) => Scope::Service,
        _ => Scope::User,
    };
    let jwt = data.jwt(JwtConfig::default(), Arc::new(System), Arc::new(System))?;
    let identity = Identity { user: args.user.clone(), device: args.client.clone() };
    let token = jwt.issue(&identity, scope)?;
    context.out.made(
        &token,
        &json!({ "token": token, "user": identity.user, "client": identity.device, "scope": scope }),
    )?;
    Ok(Outcome::Done)
}
