//! Forward authentication with Caddy itself in front of a service, by the very file that is there for users.

use crate::gateway::{Addresses, Gateway, configuration, proofs};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts it with the users' file, with these addresses in it.
fn caddy(binary: &Path, dir: &Path, addresses: &Addresses) -> Child {
    let Addresses { own, beep, service } = addresses;
    let changes = [
        ("127.0.0.1:8080", beep.to_string()),
        ("127.0.0.1:9000", service.to_string()),
        (":8000 {", format!("http://{own} {{")),
    ];
    // It would listen for commands on one port of the machine otherwise.
    let text = format!("{{\n\tadmin off\n}}\n{}", configuration("Caddyfile", &changes));
    let file = dir.join("Caddyfile");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(binary);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&file).env("HOME", dir);
    command.env("XDG_DATA_HOME", dir).env("XDG_CONFIG_HOME", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
async fn caddy_lets_good_tokens_through_and_says_whose_they_are() {
    let Some(gateway) = Gateway::start("caddy", caddy).await else { return };
    proofs::lets_good_tokens_through_and_says_whose_they_are(&gateway).await;
}

#[tokio::test]
async fn caddy_turns_away_who_has_no_good_token() {
    let Some(gateway) = Gateway::start("caddy", caddy).await else { return };
    proofs::turns_away_who_has_no_good_token(&gateway).await;
}

#[tokio::test]
async fn caddy_passes_on_tokens_in_the_query_of_get() {
    let Some(gateway) = Gateway::start("caddy", caddy).await else { return };
    proofs::passes_on_tokens_in_the_query_of_get(&gateway).await;
}

#[tokio::test]
async fn caddy_turns_away_who_signed_out_or_was_deleted_at_once() {
    let Some(gateway) = Gateway::start("caddy", caddy).await else { return };
    proofs::turns_away_who_signed_out_or_was_deleted_at_once(&gateway).await;
}
