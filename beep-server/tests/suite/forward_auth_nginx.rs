//! Forward authentication with nginx itself in front of a service, by the very file that is there for users.

use crate::common::{PATIENCE, eventually};
use crate::gateway::{Addresses, Gateway, configuration, proofs};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts it with the users' file, with these addresses in it.
fn nginx(binary: &Path, dir: &Path, addresses: &Addresses) -> Child {
    let Addresses { own, beep, service } = addresses;
    let at = dir.display();
    let changes = [
        ("server 127.0.0.1:8080;", format!("server {beep};")),
        ("server 127.0.0.1:9000;", format!("server {service};")),
        ("listen 127.0.0.1:8000;", format!("listen {own};")),
        ("/var/log/nginx/service.log", format!("{at}/access.log")),
    ];
    let text = configuration("nginx-forward-auth.conf", &changes);
    fs::write(dir.join("forward-auth.conf"), text).unwrap();
    // One process: no master that would leave a worker behind when it is killed.
    let around = format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;
         events {{ worker_connections 1024; }}
         http {{
             client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c;
             uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;
             include {at}/forward-auth.conf;
         }}"
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, around).unwrap();
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).args(["-e", "stderr"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test]
async fn nginx_lets_good_tokens_through_and_says_whose_they_are() {
    let Some(gateway) = Gateway::start("nginx", nginx).await else { return };
    proofs::lets_good_tokens_through_and_says_whose_they_are(&gateway).await;
}

#[tokio::test]
async fn nginx_turns_away_who_has_no_good_token() {
    let Some(gateway) = Gateway::start("nginx", nginx).await else { return };
    proofs::turns_away_who_has_no_good_token(&gateway).await;
    // Where nginx asks is not for clients.
    let carol = gateway.server.person("carol").await;
    gateway.call("GET", "/.beep/auth").by(&carol).send().await.expect(404);
}

/// And they are not logged.
#[tokio::test]
async fn nginx_passes_on_tokens_in_the_query_of_get() {
    let Some(gateway) = Gateway::start("nginx", nginx).await else { return };
    let token = proofs::passes_on_tokens_in_the_query_of_get(&gateway).await;
    let logged = || fs::read_to_string(gateway.dir.path().join("access.log")).unwrap();
    // nginx writes its line after the answer.
    eventually("all is logged", PATIENCE, async || logged().lines().count() >= 7).await;
    assert!(logged().contains("GET /x 200"), "{}", logged());
    let signature = token.rsplit('.').next().unwrap();
    assert!(!logged().contains(signature), "a token was logged");
}

#[tokio::test]
async fn nginx_turns_away_who_signed_out_or_was_deleted_at_once() {
    let Some(gateway) = Gateway::start("nginx", nginx).await else { return };
    proofs::turns_away_who_signed_out_or_was_deleted_at_once(&gateway).await;
}
