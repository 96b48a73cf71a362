//! The keys of tokens from a terminal: shown without secrets, replaced, and removed when they are no longer needed.

use crate::support::{Installation, Ran};
use beep_core::auth::jwt::JwtConfig;
use beep_core::auth::{Authenticator, Verified};
use beep_core::clock::System;
use beep_storage::DataDir;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The keys as `key list --json` shows them, the signing one first.
fn listed(beep: &Installation) -> Vec<Value> {
    beep.run(["key", "list", "--json"]).ok().json()
}

fn token(beep: &Installation, user: &str) -> String {
    beep.run(["token", "--user", user, "--client", "phone"]).ok().alone()
}

/// What a server that runs on this folder makes of a token.
fn verified(beep: &Installation, token: &str) -> beep_core::Result<Arc<Verified>> {
    let data = DataDir::new(beep.data());
    data.jwt(JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap().verify(token)
}

/// No letter of a private key is printed, however it is asked.
fn assert_no_secret(beep: &Installation, ran: &Ran) {
    let said = format!("{} {}", ran.text(), ran.err);
    for (_, key) in DataDir::new(beep.data()).stored_keys().unwrap() {
        let pem = key.to_pem();
        assert!(pem.lines().filter(|line| !line.starts_with('-')).all(|line| !said.contains(line)), "{said}");
    }
}

#[test]
fn a_new_key_signs_and_the_ones_before_it_still_verify() {
    let beep = Installation::new();
    let alice = beep.user("+6590000001", "Alice");
    let mut tokens = vec![token(&beep, &alice)];
    let first = listed(&beep);
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0]["alg"], &first[0]["signs"]), (&json!("RS256"), &json!(true)));

    let mut kids = vec![first[0]["kid"].as_str().unwrap().to_owned()];
    for _ in 0..2 {
        let rotated = beep.run(["key", "rotate"]).ok();
        assert_no_secret(&beep, &rotated);
        kids.insert(0, rotated.alone());
        tokens.push(token(&beep, &alice));
    }
    let object = beep.run(["key", "rotate", "--json"]).ok();
    assert_no_secret(&beep, &object);
    let object = object.json().pop().unwrap();
    assert_eq!(object["signs"], true);
    kids.insert(0, object["kid"].as_str().unwrap().to_owned());

    let all = listed(&beep);
    assert_eq!(all.iter().map(|key| key["kid"].as_str().unwrap()).collect::<Vec<_>>(), kids);
    assert_eq!(all.iter().map(|key| key["signs"] == true).collect::<Vec<_>>(), [true, false, false, false]);
    let shown = beep.run(["key", "list"]).ok();
    assert_no_secret(&beep, &shown);
    let lines = shown.lines();
    assert_eq!(lines.len(), 4);
    for (n, (line, kid)) in lines.iter().zip(&kids).enumerate() {
        let does = if n == 0 { " signs " } else { " verifies " };
        assert!(line.starts_with(kid) && line.contains("RS256") && line.contains(does), "{line}");
        let file = PathBuf::from(all[n]["file"].as_str().unwrap());
        assert!(line.ends_with(file.to_str().unwrap()), "{line}");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    for token in &tokens {
        assert_eq!(verified(&beep, token).unwrap().identity.user.as_str(), alice);
    }
}

#[test]
fn keys_go_when_their_last_token_has_ended() {
    let beep = Installation::new();
    let alice = beep.user("+6590000001", "Alice");
    let old = token(&beep, &alice);
    beep.run(["key", "rotate"]).ok();
    let new = token(&beep, &alice);
    assert!(beep.run(["key", "prune"]).ok().out.is_empty(), "its tokens may be good for a month");
    assert_eq!(listed(&beep).len(), 2);
    verified(&beep, &old).unwrap();

    // As if the new one had been made a day ago: too long for tokens of an hour, not for those of a month.
    let files: Vec<PathBuf> = listed(&beep).iter().map(|key| key["file"].as_str().unwrap().into()).collect();
    let file = fs::File::options().write(true).open(&files[0]).unwrap();
    let made = file.metadata().unwrap().modified().unwrap();
    file.set_modified(made - Duration::from_secs(24 * 3_600)).unwrap();
    assert!(beep.run(["key", "prune"]).ok().out.is_empty());
    let pruned = beep.run(["key", "prune", "--hours", "1"]).ok();
    assert_eq!(pruned.text(), format!("{}\n", files[1].display()));
    assert!(!files[1].exists() && files[0].exists());
    assert_eq!(listed(&beep).len(), 1);
    verified(&beep, &old).unwrap_err();
    assert_eq!(verified(&beep, &new).unwrap().identity.user.as_str(), alice);

    // Never the one that signs, and the server's own setting is heeded.
    let mut command = beep.command(["key", "prune", "--json"]);
    command.env("BEEP_AUTH_TOKEN_HOURS", "0");
    assert!(crate::support::finish(command).ok().out.is_empty());
    assert_eq!(listed(&beep).len(), 1);
    beep.run(["key", "rotate"]).ok();
    let file = fs::File::options().write(true).open(listed(&beep)[0]["file"].as_str().unwrap()).unwrap();
    file.set_modified(made - Duration::from_secs(24 * 3_600)).unwrap();
    let mut command = beep.command(["key", "prune", "--json"]);
    command.env("BEEP_AUTH_TOKEN_HOURS", "1");
    assert_eq!(crate::support::finish(command).ok().json(), [json!({ "removed": files[0] })]);
}

/// Where there is no installation none is begun, and a remote one has its own keys.
#[test]
fn keys_are_made_in_an_installation_only() {
    let beep = Installation::new();
    for args in [["key", "list"], ["key", "rotate"], ["key", "prune"]] {
        beep.run(args).fails(1);
        assert!(!beep.data().exists(), "{args:?}");
        let remote =
            crate::support::bare(["--server", "http://127.0.0.1:9", "--token", "t"].iter().chain(&args));
        assert!(remote.fails(2).err.contains("data directory only"), "{args:?}");
    }
    fs::create_dir(beep.data()).unwrap();
    assert!(beep.run(["key", "list"]).ok().out.is_empty());
    assert!(beep.run(["key", "prune"]).ok().out.is_empty());
    assert!(listed(&beep).is_empty(), "looking makes none");
    // One under a name that is no text.
    beep.run(["key", "rotate"]).ok();
    let file = PathBuf::from(listed(&beep)[0]["file"].as_str().unwrap());
    let odd = file.with_file_name(OsStr::from_bytes(b"\xff.pem"));
    fs::rename(&file, &odd).unwrap();
    assert_eq!(listed(&beep).len(), 1);
    assert_eq!(beep.run(["key", "list"]).ok().lines().len(), 1);
    fs::remove_file(&odd).unwrap();
    // A key that others can read is named, with what to do.
    beep.run(["key", "rotate"]).ok();
    let file = listed(&beep)[0]["file"].as_str().unwrap().to_owned();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = beep.run(["key", "list"]).fails(1);
    assert!(refused.err.contains(&file) && refused.err.contains("chmod 600"), "{}", refused.err);
}
