//! Tokens, users and conversations, offline.

use crate::support::Installation;
use beep_core::auth::jwt::JwtConfig;
use beep_core::auth::{Authenticator, Scope};
use beep_core::clock::{Clock, System};
use beep_storage::DataDir;
use std::sync::Arc;

#[test]
fn a_token_is_printed_alone_and_holds() {
    let beep = Installation::new();
    let verify = |token: &str| {
        let jwt =
            DataDir::new(beep.data()).jwt(JwtConfig::default(), Arc::new(System), Arc::new(System)).unwrap();
        jwt.verify(token).unwrap()
    };
    for (flags, scope) in
        [(&[][..], Scope::User), (&["--admin"], Scope::Admin), (&["--service"], Scope::Service)]
    {
        let args = [&["token", "--user", "u-alice", "--client", "phone"], flags].concat();
        let verified = verify(&beep.run(args).ok().alone());
        assert_eq!(
            (verified.identity.user.as_str(), verified.identity.device.as_str()),
            ("u-alice", "phone")
        );
        assert_eq!(verified.scope, scope);
    }
    // As the server's settings say, by flags or by its variables.
    let elsewhere = JwtConfig { issuer: "acme".into(), audience: "crew".into(), ..JwtConfig::default() };
    let jwt = DataDir::new(beep.data()).jwt(elsewhere, Arc::new(System), Arc::new(System)).unwrap();
    let args = ["token", "--user", "u-alice", "--client", "phone", "--issuer", "acme", "--audience", "crew"];
    jwt.verify(&beep.run(args).ok().alone()).unwrap();
    let mut command = beep.command(&args[..5]);
    command
        .env("BEEP_AUTH_ISSUER", "acme")
        .env("BEEP_AUTH_AUDIENCE", "crew")
        .env("BEEP_AUTH_TOKEN_HOURS", "1");
    let verified = jwt.verify(&crate::support::finish(command).ok().alone()).unwrap();
    assert!(verified.expires - System.now() <= 3_600_000);
    let json = beep.run(["--json", "token", "--user", "u-alice", "--client", "phone"]).ok().json();
    verify(json[0]["token"].as_str().unwrap());
    beep.run(["token", "--user", "u-alice", "--client", "phone", "--admin", "--service"]).fails(2);
    beep.run(["token", "--user", "not a user", "--client", "phone"]).fails(2);
    beep.run(["token", "--user", "u-alice"]).fails(2);
    let remote =
        ["--server", "http://127.0.0.1:1", "--token", "x", "token", "--user", "u-a", "--client", "c"];
    assert!(crate::support::bare(remote).fails(2).err.contains("data directory"));
}

/// Where the server's variables put a store elsewhere, the command line works on it there as well.
#[test]
fn the_servers_variables_for_stores_count() {
    let beep = Installation::new();
    let bites = format!("heed:{}", beep.file("elsewhere").display());
    let (crew, owner) = beep.conversation();
    let file = beep.write("a.wav", &crate::support::wav(1), 1_000);
    let run = |args: &[&str]| {
        let mut command = beep.command(args);
        command.env("BEEP_STORE_BITES", &bites);
        crate::support::finish(command).ok()
    };
    run(&["ingest", file.to_str().unwrap(), "-c", &crew, "--user", &owner]);
    assert_eq!(run(&["scan", &crew]).lines(), ["1000"]);
    assert!(beep.file("elsewhere/data.mdb").is_file());
    assert!(beep.scan(&crew).is_empty());
}

#[test]
fn users_are_made_listed_and_shown() {
    let beep = Installation::new();
    let create = [
        "user",
        "create",
        "--phone",
        "+65 (9999)-9999",
        "--first",
        "Alice",
        "--last",
        "Tan",
        "--username",
        "al",
    ];
    let alice = beep.run(create).ok().alone();
    assert!(alice.starts_with("u-") && alice.len() == 34, "{alice}");
    let bob = beep.user("+15550100199", "Bob");
    // The zero that is dialled within Britain is not part of the number.
    let cyd = beep.user("+44 (0)20 7946 0958", "Cyd");
    assert!(beep.run(["user", "show", &cyd]).ok().text().contains("phone     +44 20 7946 0958"));

    let taken = beep.run(["user", "create", "--phone", "+6599999999", "--first", "Eve"]).fails(1);
    assert!(taken.err.starts_with("error: ") && taken.err.contains("hint: "), "{}", taken.err);
    assert!(taken.out.is_empty());
    let taken = ["user", "create", "--phone", "+6511111111", "--first", "Eve", "--username", "al"];
    beep.run(taken).fails(1);

    let list = beep.run(["user", "list"]).ok();
    assert_eq!(list.lines().len(), 3);
    let line = list.lines().into_iter().find(|line| line.starts_with(&alice)).unwrap().to_owned();
    assert!(line.contains("+65 9999 9999") && line.contains("Alice Tan") && line.contains("@al"), "{line}");
    let list = beep.run(["user", "list", "--json"]).ok().json();
    assert!(list.iter().any(|user| user["id"] == *bob && user["phone_number"] == "+15550100199"));

    assert!(beep.run(["user", "show", &alice]).ok().text().contains("phone     +65 9999 9999"));
    assert_eq!(beep.run(["user", "show", &alice, "--json"]).ok().json()[0]["username"], "al");
    let unknown = beep.run(["user", "show", "u-nobody"]).fails(1);
    assert!(
        unknown.err.contains("no user u-nobody") && unknown.err.contains("user create"),
        "{}",
        unknown.err
    );
}

#[test]
fn wrong_numbers_and_names_are_wrong_usage() {
    let beep = Installation::new();
    for (phone, why) in [
        ("12345678", "begins with +"),
        ("+12345", "too few digits"),
        ("+1234567890123456", "too many digits"),
        ("+65 9999 999x", "only digits"),
        ("+999 1234 5678", "no country"),
        ("", "begins with +"),
    ] {
        let refused = beep.run(["user", "create", "--phone", phone, "--first", "Alice"]).fails(2);
        assert!(
            refused.err.contains(why) && refused.err.contains("+65 9999 9999"),
            "{phone}: {}",
            refused.err
        );
    }
    beep.run(["user", "create", "--phone", "+6599999999", "--first", " "]).fails(2);
    beep.run(["user", "create", "--phone", "+6599999999"]).fails(2);
    assert!(!beep.data().exists(), "wrong usage makes nothing");
}

#[test]
fn conversations_have_an_owner_and_members() {
    let beep = Installation::new();
    let [alice, bob, eve] = [("+6500000001", "Alice"), ("+6500000002", "Bob"), ("+6500000003", "Eve")]
        .map(|(phone, first)| beep.user(phone, first));
    let crew = beep.run(["conversation", "create", "--title", "Crew", "--member", &alice, &bob]).ok().alone();
    assert!(crew.starts_with("c-") && crew.len() == 34, "{crew}");
    let roles = |conversation: &str| {
        let mut all: Vec<_> = beep
            .run(["conversation", "members", conversation, "--json"])
            .ok()
            .json()
            .iter()
            .map(|m| (m["first_name"].as_str().unwrap().to_owned(), m["role"].as_str().unwrap().to_owned()))
            .collect();
        all.sort();
        all.iter().map(|(name, role)| format!("{name} {role}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(roles(&crew), "Alice owner, Bob member");
    let args =
        ["conversation", "create", "--title", "Duo", "--member", &alice, "--member", &bob, "--owner", &bob];
    let duo = beep.run(args).ok().alone();
    assert_eq!(roles(&duo), "Alice member, Bob owner");

    beep.run(["conversation", "add", &crew, &eve, "--role", "listener"]).ok();
    assert_eq!(roles(&crew), "Alice owner, Bob member, Eve listener");
    beep.run(["conversation", "add", &crew, &alice, &eve]).ok();
    assert_eq!(roles(&crew), "Alice owner, Bob member, Eve listener", "adding again changes nothing");
    beep.run(["conversation", "add", &crew, &eve, "--role", "admin"]).ok();
    assert_eq!(roles(&crew), "Alice owner, Bob member, Eve admin");
    beep.run(["conversation", "remove", &crew, &bob]).ok();
    assert_eq!(roles(&crew), "Alice owner, Eve admin");
    beep.run(["conversation", "remove", &crew, &bob]).fails(1);

    let list = beep.run(["conversation", "list"]).ok();
    assert!(list.lines().len() == 2 && list.text().contains("Crew") && list.text().contains(&duo));
    let own = beep.run(["conversation", "list", "--user", &bob, "--json"]).ok().json();
    assert!(own.len() == 1 && own[0]["id"] == *duo && own[0]["title"] == "Duo");
}

#[test]
fn what_refers_to_nobody_is_refused() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    for args in [
        &["conversation", "create", "--title", "X", "--member", "u-nobody"][..],
        &["conversation", "add", &crew, "u-nobody"],
        &["conversation", "add", "c-none", "u-nobody"],
        &["conversation", "members", "c-none"],
        &["conversation", "remove", "c-none", "u-nobody"],
        &["conversation", "list", "--user", "u-nobody"],
    ] {
        assert!(beep.run(args).fails(1).err.contains("there is no"), "{args:?}");
    }
    assert_eq!(beep.run(["conversation", "list"]).ok().lines().len(), 1, "nothing was made on the way");
    beep.run(["conversation", "create", "--title", "X"]).fails(2);
    beep.run(["conversation", "add", &crew, "u-x", "--role", "king"]).fails(2);
}

#[test]
fn titles_cannot_steer_the_terminal() {
    let beep = Installation::new();
    let owner = beep.user("+6500000001", "Al\u{1b}[2Jice");
    beep.run(["conversation", "create", "--title", "a\u{1b}]0;b\u{7}\nc-fake", "--member", &owner]).ok();
    for args in [["conversation", "list"], ["user", "list"], ["user", "show"]] {
        let args = [&args[..], &[&*owner][..usize::from(args[1] == "show")]].concat();
        let shown = beep.run(args).ok();
        assert!(!shown.text().contains('\u{1b}') && !shown.text().contains("\nc-fake"), "{:?}", shown.text());
    }
}
