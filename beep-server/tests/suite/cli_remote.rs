//! `beep-cli --server` against the real server: the two know nothing of each other but HTTP.

use crate::common::{Server, wav};
use beep_core::bite::Digest;
use beep_core::id::Identity;
use beep_core::store::{Role, Session};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The CLI: `cargo test --workspace` puts it beside the server; whoever tests the server alone gets it built.
fn cli() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_beep-server")).with_file_name("beep-cli");
    if !beside.is_file() {
        let built = Command::new(env!("CARGO")).args(["build", "-p", "beep-cli"]).status().unwrap();
        assert!(built.success());
    }
    beside
}

fn lines(out: &[u8]) -> Vec<Value> {
    let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cli_ingests_scans_gets_and_searches_through_a_real_server() {
    let server = Server::echoing().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    server.conversation("c-hers", &alice, &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said.wav");
    std::fs::write(&file, wav("a <b> & 'c' send help")).unwrap();
    let file = file.to_str().unwrap();

    let cli = cli();
    let run = |args: &[&str]| {
        let mut command = Command::new(&cli);
        command.args(["--server", &format!("http://{}", server.address), "--json"]).args(args);
        command.env("BEEP_TOKEN", &bob.token).output().unwrap()
    };
    let good = |args: &[&str]| {
        let done = run(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };

    for again in 0..2 {
        let said = lines(&good(&["ingest", file, "-c", "c-crew", "--start", "2000"])).pop().unwrap();
        assert_eq!((&said["stored"], &said["already_there"]), (&(1 - again).into(), &again.into()), "{said}");
    }
    assert_eq!(lines(&good(&["scan", "c-crew"]))[0]["start"], 2_000);
    assert_eq!(good(&["get", "c-crew", "2000"]), std::fs::read(file).unwrap());

    server.settle().await;
    let hits = lines(&good(&["search", "send"]));
    assert_eq!(
        (hits.len(), &hits[0]["conversation"], &hits[0]["start"]),
        (1, &"c-crew".into(), &2_000.into())
    );
    assert_eq!(
        (&hits[0]["snippet"], &hits[0]["highlights"]),
        (&"a <b> & 'c' send help".into(), &["send"][..].into())
    );
    assert_eq!(lines(&good(&["transcript", "c-crew", "2000"]))[0]["text"], "a <b> & 'c' send help");
    assert!(good(&["search", "nowhere", "-c", "c-crew"]).is_empty());

    // What could not be transcribed is told, one and all.
    server.put(&alice, "c-crew", 3_000, wav("fail nobody understands this")).await.expect(201);
    server.settle().await;
    let one = run(&["transcript", "c-crew", "3000"]);
    assert_eq!(one.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&one.stderr).contains("nobody understands this"), "{one:?}");
    let all = run(&["transcript", "c-crew"]);
    assert!(String::from_utf8_lossy(&all.stderr).contains("1 could not be transcribed"), "{all:?}");

    // What is not his is denied, whatever the command.
    for args in [&["scan", "c-hers"][..], &["get", "c-hers", "2000"], &["search", "send", "-c", "c-hers"]] {
        let denied = run(args);
        assert_eq!(denied.status.code(), Some(1), "{args:?}");
        assert_eq!(lines(&denied.stderr)[0]["code"], "denied", "{args:?}");
    }
    let denied = run(&["ingest", file, "-c", "c-hers", "--start", "1"]);
    assert!(!denied.status.success());
    assert_eq!(
        server.get(&alice, "/store/bite/c-hers/scan?from=0&to=9").await.json()["starts"],
        Value::Array(vec![])
    );
}

/// Everybody does for themselves what routes offer; what is another's, or an operator's, is refused in one sentence.
#[tokio::test(flavor = "multi_thread")]
async fn the_cli_manages_ones_own_account_through_a_real_server() {
    let server = Server::echoing().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let cli = cli();
    let run = |who: &crate::common::Person, args: &[&str]| {
        let mut command = Command::new(&cli);
        command.args(["--server", &format!("http://{}", server.address), "--json"]).args(args);
        command.env("BEEP_TOKEN", &who.token).output().unwrap()
    };
    let good = |who: &crate::common::Person, args: &[&str]| {
        let done = run(who, args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        lines(&done.stdout)
    };
    let fails = |who: &crate::common::Person, args: &[&str], code: i32| {
        let done = run(who, args);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {done:?}");
        lines(&done.stderr).pop().unwrap()
    };
    let (a, b) = (alice.id(), bob.id());

    let set = good(&alice, &["user", "set", a, "--last", "Tan", "--username", "al"]);
    assert_eq!((&set[0]["last_name"], &set[0]["first_name"]), (&"Tan".into(), &"alice".into()));
    assert_eq!(good(&alice, &["user", "set", a, "--no-username"])[0]["username"], Value::Null);
    assert_eq!(good(&alice, &["user", "show", a])[0]["last_name"], "Tan");

    let added = good(&alice, &["contact", "add", a, &server.number(&bob).await]);
    assert_eq!(added[0]["id"], b);
    assert_eq!(good(&alice, &["contact", "list", a])[0]["id"], b);
    good(&alice, &["contact", "remove", a, b]);
    assert!(good(&alice, &["contact", "list", a]).is_empty());

    let crew = good(&alice, &["conversation", "create", "--title", "Crew", "--member", b]);
    let crew = crew[0]["id"].as_str().unwrap();
    good(&alice, &["conversation", "add", crew, b, "--role", "admin"]);
    let roles = good(&alice, &["conversation", "members", crew]);
    assert!(roles.iter().any(|member| member["id"] == b && member["role"] == "admin"), "{roles:?}");
    assert_eq!(good(&bob, &["conversation", "set", crew, "--title", "Night"])[0]["title"], "Night");
    assert_eq!(good(&alice, &["conversation", "show", crew])[0]["title"], "Night");
    assert_eq!(fails(&alice, &["conversation", "remove", crew, a], 1)["code"], "conflict");
    server.put(&alice, crew, 1_000, wav("send help")).await.expect(201);
    server.put(&bob, crew, 2_000, wav("send more help")).await.expect(201);
    server.settle().await;

    let session = Session {
        identity: alice.identity.clone(),
        id: "s-1".parse().unwrap(),
        refresh: Digest::of(b"secret"),
        created: 1,
        refreshed: 1,
        expires: u64::MAX >> 12,
    };
    let tablet = Identity { device: "tablet".parse().unwrap(), ..alice.identity.clone() };
    server.stores.directory.put_session(Session { identity: tablet, ..session }).await.unwrap();
    assert_eq!(good(&alice, &["session", "list", a])[0]["clientid"], "tablet");
    good(&alice, &["session", "end", a, "tablet"]);
    assert!(good(&alice, &["session", "list", a]).is_empty());
    assert_eq!(fails(&alice, &["session", "end", a, "tablet"], 1)["code"], "not_found");

    for args in [
        &["user", "set", b, "--first", "X"][..],
        &["user", "list"],
        &["contact", "list", b],
        &["session", "list", b],
        &["export", a, "-o", "never.zip"],
        &["erase", b, "--yes"],
        &["erase", a],
        &["conversation", "delete", crew],
    ] {
        assert_eq!(fails(&alice, args, 2)["code"], "usage", "{args:?}");
    }
    assert_eq!(good(&bob, &["user", "show", b])[0]["first_name"], "bob");

    good(&alice, &["erase", a, "--yes"]);
    fails(&alice, &["erase", a, "--yes"], 1);
    let left: Vec<_> = good(&bob, &["scan", crew]).iter().map(|line| line["start"].clone()).collect();
    assert_eq!(left, [2_000]);
    assert_eq!(good(&bob, &["conversation", "members", crew])[0]["role"], "owner");
    good(&bob, &["conversation", "delete", crew, "--yes"]);
    assert!(good(&bob, &["conversation", "list"]).is_empty());
}
