//! One person's way, offline: made, changed, in touch, signed in, heard, exported and erased.

use crate::support::{Installation, wav};
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::clock::{Clock, System};
use beep_core::id::{Identity, SessionId};
use beep_core::store::{NewBite, NewBlob, Session, Start};
use beep_core::transcript::Transcript;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::Path;

fn identity(user: &str, device: &str) -> Identity {
    Identity { user: user.parse().unwrap(), device: device.parse().unwrap() }
}

/// Signs somebody in as a server does; the refresh token is `secret-DEVICE`.
fn sign_in(beep: &Installation, user: &str, device: &str, lasts_ms: u64) {
    beep.inside(async |stores| {
        let now = System.now();
        let session = Session {
            identity: identity(user, device),
            id: SessionId::random(&System).unwrap(),
            refresh: Digest::of(format!("secret-{device}").as_bytes()),
            created: now - 10,
            refreshed: now - 10,
            expires: (now + lasts_ms).saturating_sub(5),
        };
        stores.directory.put_session(session).await.unwrap();
    });
}

fn object(beep: &Installation, args: &[&str]) -> Value {
    let all = beep.run([args, &["--json"]].concat()).ok().json();
    assert_eq!(all.len(), 1, "{args:?}: {all:?}");
    all[0].clone()
}

/// Alice owns Crew with Bob, who spoke there twice, once with a transcript; Alice spoke once. Bob has a picture.
struct Heard {
    beep: Installation,
    alice: String,
    bob: String,
    crew: String,
}

impl Heard {
    fn new() -> Self {
        let beep = Installation::new();
        let (crew, alice) = beep.conversation();
        let bob = beep.user("+65 9000 0002", "Bob");
        beep.run(["conversation", "add", &crew, &bob]).ok();
        for (n, who, start) in [(1, &alice, "1000"), (2, &bob, "2000"), (3, &bob, "3000")] {
            let file = beep.write(&format!("{n}.wav"), &wav(n), 1_000);
            let args = [
                "ingest",
                file.to_str().unwrap(),
                "-c",
                &crew,
                "--user",
                who,
                "--client",
                "phone",
                "--start",
                start,
            ];
            beep.run(args).ok();
        }
        beep.inside(async |stores| {
            let text = Transcript {
                text: "send help".into(),
                language: "en".into(),
                model: "test".into(),
                ..Transcript::default()
            };
            let body = serde_json::to_vec(&text).unwrap();
            let put = NewBite {
                label: Label::Transcription,
                conversation: crew.parse().unwrap(),
                start: Start::At(2_000),
                author: identity(&bob, "phone"),
                media_type: Transcript::MEDIA_TYPE.into(),
                duration_ms: None,
                sha256: Digest::of(&body),
                body: body.into(),
                received: 1,
                idempotency: None,
            };
            stores.bites.put(put).await.unwrap();
            let picture = NewBlob {
                name: "..".into(),
                owner: bob.parse().unwrap(),
                media_type: "image/png".into(),
                received: 1,
                body: "a picture".into(),
            };
            stores.blobs.put(picture).await.unwrap();
            // What the next worker would index.
            let running = beep_pipeline::Beep::builder(stores).start().await.unwrap();
            running.settle().await.unwrap();
            running.shutdown().await;
        });
        sign_in(&beep, &bob, "phone", 60_000);
        beep.run(["contact", "add", &bob, "+65 9999 9999"]).ok();
        Self { beep, alice, bob, crew }
    }

    /// What an export must hold, however it is packed.
    fn check(&self, read: impl Fn(&str) -> Vec<u8>) {
        let lines = |name: &str| -> Vec<Value> {
            let text = String::from_utf8(read(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let user: Value = serde_json::from_slice(&read("user.json")).unwrap();
        assert_eq!((&user["id"], &user["phone_number"]), (&json!(self.bob), &json!("+6590000002")));
        let manifest = lines("manifest.jsonl");
        assert_eq!(manifest.len(), 2, "Bob's, not Alice's: {manifest:?}");
        for (line, (n, start, text)) in
            manifest.iter().zip([(2, 2_000, json!("send help")), (3, 3_000, Value::Null)])
        {
            let bytes = read(line["file"].as_str().unwrap());
            assert_eq!(bytes, wav(n), "{line}");
            assert_eq!(line["sha256"], json!(Digest::of(&wav(n)).to_string()));
            assert_eq!((&line["start"], &line["transcript"]), (&json!(start), &text));
            assert_eq!((&line["conversation"], &line["clientid"]), (&json!(self.crew), &json!("phone")));
            assert_eq!(line["media_type"], "audio/wav");
        }
        assert_eq!(lines("conversations.jsonl")[0]["role"], "member");
        assert_eq!(lines("contacts.jsonl")[0]["id"], json!(self.alice));
        assert_eq!(lines("sessions.jsonl")[0]["clientid"], "phone");
        let refresh = Digest::of(b"secret-phone").to_string();
        assert!(!String::from_utf8(read("sessions.jsonl")).unwrap().contains(&refresh));
        let file = &lines("files.jsonl")[0];
        assert_eq!(
            (&file["name"], read(file["file"].as_str().unwrap())),
            (&json!(".."), b"a picture".to_vec())
        );
    }
}

#[test]
fn a_user_is_changed_only_where_it_is_said() {
    let beep = Installation::new();
    let alice = beep.user("+6590000001", "Alice");
    assert!(beep.run(["user", "set", &alice, "--last", "Tan", "--username", "al"]).ok().out.is_empty());
    let shown = object(&beep, &["user", "set", &alice, "--bio", "On duty"]);
    assert_eq!(shown, object(&beep, &["user", "show", &alice]));
    assert_eq!(
        (&shown["first_name"], &shown["last_name"], &shown["username"], &shown["bio"]),
        (&json!("Alice"), &json!("Tan"), &json!("al"), &json!("On duty"))
    );
    let listed = beep.run(["user", "list"]).ok();
    assert!(listed.text().contains("+65 9000 0001  Alice Tan  @al"), "{}", listed.text());
    assert_eq!(
        object(&beep, &["user", "set", &alice, "--no-username", "--bio", ""])["username"],
        Value::Null
    );

    // The library's rules.
    let long = "x".repeat(101);
    assert!(beep.run(["user", "set", &alice, "--first", &long]).fails(1).err.contains("at most 100"));
    let bob = beep.user("+6590000002", "Bob");
    beep.run(["user", "set", &alice, "--username", "al"]).ok();
    assert_eq!(
        beep.run(["user", "set", &bob, "--username", "al", "--json"]).fails(1).json_err()[0]["code"],
        "conflict"
    );
    beep.run(["user", "set", &alice]).fails(2);
    beep.run(["user", "set", &alice, "--username", "a", "--no-username"]).fails(2);
    beep.run(["user", "set", "u-nobody", "--first", "X"]).fails(1);
}

#[test]
fn contacts_are_added_by_number_listed_and_removed() {
    let beep = Installation::new();
    let alice = beep.user("+6590000001", "Alice");
    let bob = beep.user("+6590000002", "Bob");
    assert_eq!(beep.run(["contact", "add", &alice, "+65 (9000) 0002"]).ok().alone(), bob);
    assert_eq!(beep.run(["contact", "add", &alice, "+6590000002"]).ok().alone(), bob, "twice is as once");
    let stranger = beep.run(["contact", "add", &alice, "+44 20 7946 0958"]).ok().alone();
    assert_eq!(object(&beep, &["user", "show", &stranger])["phone_number"], "+442079460958");
    assert_eq!(beep.run(["contact", "list", &alice, "--json"]).ok().json().len(), 2);
    assert!(beep.run(["contact", "list", &alice]).ok().text().contains("+44 20 7946 0958"));
    assert!(beep.run(["contact", "list", &bob]).ok().out.is_empty());

    beep.run(["contact", "remove", &alice, &stranger]).ok();
    assert!(beep.run(["contact", "remove", &alice, &stranger]).fails(1).err.contains("not among"));
    assert_eq!(object(&beep, &["contact", "list", &alice])["id"], json!(bob));
    assert!(beep.run(["contact", "add", &alice, "+6590000001"]).fails(1).err.contains("your own"));
    beep.run(["contact", "add", &alice, "90000002"]).fails(2);
    beep.run(["contact", "list", "u-nobody"]).fails(1);
}

#[test]
fn a_conversation_always_has_an_owner_until_it_ends() {
    let heard = Heard::new();
    let Heard { beep, alice, bob, crew } = &heard;
    let shown = object(beep, &["conversation", "show", crew]);
    assert_eq!(
        (&shown["title"], &shown["members"], &shown["last_bite"]),
        (&json!("Crew"), &json!(2), &json!(3_000))
    );
    assert_eq!(
        object(beep, &["conversation", "set", crew, "--title", "Night", "--picture", "p"])["title"],
        "Night"
    );
    assert!(beep.run(["conversation", "show", crew]).ok().text().contains("title     Night"));
    let long = "x".repeat(101);
    beep.run(["conversation", "set", crew, "--title", &long]).fails(1);
    beep.run(["conversation", "create", "--title", &long, "--member", alice]).fails(1);
    beep.run(["conversation", "set", crew]).fails(2);

    for args in [&["remove", crew, alice][..], &["add", crew, alice, "--role", "member"]] {
        let refused = beep.run([&["conversation"], args].concat()).fails(1);
        assert!(refused.err.contains("last owner"), "{args:?}: {}", refused.err);
    }
    beep.run(["conversation", "add", crew, bob, "--role", "owner"]).ok();
    beep.run(["conversation", "remove", crew, alice]).ok();

    assert!(beep.run(["conversation", "delete", crew]).fails(2).err.contains("--yes"));
    assert_eq!(beep.scan(crew).len(), 3);
    beep.run(["conversation", "delete", crew, "--yes"]).ok();
    beep.run(["conversation", "show", crew]).fails(1);
    beep.run(["scan", crew]).fails(1);
    assert!(beep.run(["search", "help"]).ok().out.is_empty());
    beep.run(["conversation", "delete", crew, "--yes"]).fails(1);
}

#[test]
fn a_conversation_that_nobody_owns_can_be_ended() {
    let heard = Heard::new();
    let Heard { beep, alice, crew, .. } = &heard;
    beep.inside(async |stores| {
        let user = alice.parse().unwrap();
        assert!(stores.directory.remove_member(&crew.parse().unwrap(), &user).await.unwrap());
    });
    assert_eq!(object(beep, &["conversation", "set", crew, "--title", "Left"])["title"], "Left");
    beep.run(["conversation", "delete", crew, "--yes"]).ok();
    beep.run(["scan", crew]).fails(1);
    assert!(beep.run(["search", "help"]).ok().out.is_empty());
}

#[test]
fn sessions_are_listed_without_secrets_and_ended() {
    let beep = Installation::new();
    let alice = beep.user("+6590000001", "Alice");
    sign_in(&beep, &alice, "old tablet", 0);
    sign_in(&beep, &alice, "phone", 60_000);
    let listed = beep.run(["session", "list", &alice]).ok();
    assert!(listed.lines().len() == 1 && listed.text().starts_with("phone  since "), "{}", listed.text());
    let session = object(&beep, &["session", "list", &alice]);
    assert_eq!(session["clientid"], "phone");
    let mut names: Vec<_> = session.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["clientid", "created", "expires", "refreshed"]);
    beep.run(["session", "end", &alice, "phone"]).ok();
    assert!(beep.run(["session", "list", &alice]).ok().out.is_empty());
    assert!(beep.run(["session", "end", &alice, "phone"]).fails(1).err.contains("not signed in"));
    beep.run(["session", "list", "u-nobody"]).fails(1);
}

#[test]
fn an_export_holds_exactly_what_was_recorded() {
    let heard = Heard::new();
    let Heard { beep, bob, .. } = &heard;
    let folder = beep.file("bob");
    let run = |to: &Path, flags: &[&str]| {
        let args = [&["export", bob.as_str(), "-o", to.to_str().unwrap()], flags].concat();
        beep.run(args)
    };
    assert_eq!(run(&folder, &[]).ok().alone(), folder.display().to_string());
    heard.check(|name| fs::read(folder.join(name)).unwrap());

    let file = beep.file("bob.zip");
    let sums = run(&file, &["--json"]).ok().json().pop().unwrap();
    assert_eq!(
        (&sums["recordings"], &sums["bytes"], &sums["files"], &sums["damaged"]),
        (&json!(2), &json!(wav(2).len() + wav(3).len()), &json!(1), &json!(0))
    );
    heard.check(|name| {
        let mut zip = zip::ZipArchive::new(fs::File::open(&file).unwrap()).unwrap();
        let mut bytes = Vec::new();
        zip.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    });

    // What is there is not touched, and nothing half-written is left beside it.
    let before = fs::read(&file).unwrap();
    for taken in [&file, &folder] {
        assert!(run(taken, &[]).fails(1).err.contains("is there already"));
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    beep.run(["export", "u-nobody", "-o", beep.file("none.zip").to_str().unwrap()]).fails(1);
    let left =
        fs::read_dir(beep.file("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.contains("none") || name.starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A record whose bytes went bad is named; everything else is exported all the same.
#[test]
fn a_damaged_recording_does_not_keep_the_rest_from_being_exported() {
    let heard = Heard::new();
    let Heard { beep, bob, .. } = &heard;
    let data = beep.data();
    let file =
        walk(&data).into_iter().find(|p| p.ends_with("data.mdb") && contains(p, &wav(3)[44..300])).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let needle = wav(3)[44..300].to_vec();
    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    bytes[at + 100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let to = beep.file("bob");
    let ran = beep.run(["export", bob, "-o", to.to_str().unwrap(), "--json"]).fails(1);
    let sums = ran.json().pop().unwrap();
    assert_eq!((&sums["recordings"], &sums["damaged"]), (&json!(1), &json!(1)));
    assert!(ran.err.contains("3000"), "{}", ran.err);
    assert!(to.join("manifest.jsonl").is_file());
}

fn contains(file: &Path, needle: &[u8]) -> bool {
    fs::read(file).unwrap().windows(needle.len()).any(|w| w == needle)
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(walk(&path)) } else { all.push(path) }
    }
    all
}

#[test]
fn erasing_leaves_nothing() {
    let heard = Heard::new();
    let Heard { beep, alice, bob, crew } = &heard;
    let hit = object(beep, &["search", "help"]);
    assert_eq!(hit["start"], 2_000);

    let refused = beep.run(["erase", bob]).fails(2);
    assert!(refused.err.contains("2 recordings") && refused.err.contains("--yes"), "{}", refused.err);
    assert_eq!(beep.scan(crew), [1_000, 2_000, 3_000]);

    let erased = object(beep, &["erase", bob, "--yes"]);
    assert_eq!(
        erased,
        json!({ "user": bob, "recordings": 2, "files": 1, "conversations": 1, "contacts": 1, "sessions": 1 })
    );
    assert_eq!(beep.scan(crew), [1_000], "what Alice said stays");
    assert_eq!(beep.get(crew, 1_000), wav(1));
    assert!(beep.run(["search", "help"]).ok().out.is_empty());
    beep.run(["transcript", crew, "2000"]).fails(1);
    beep.run(["user", "show", bob]).fails(1);
    assert_eq!(object(beep, &["conversation", "members", crew])["id"], json!(alice));
    beep.inside(async |stores| {
        let user = bob.parse().unwrap();
        assert!(stores.blobs.owned_by(&user).await.unwrap().is_empty());
        assert!(stores.directory.sessions(&user).await.unwrap().is_empty());
        for label in [Label::Bite, Label::User, Label::Transcription] {
            let key = BiteKey::new(label, crew.parse().unwrap(), 2_000);
            assert!(stores.bites.get(&key).await.unwrap().is_none(), "{label:?}");
        }
    });

    for again in [&["erase", bob.as_str()][..], &["user", "erase", bob]] {
        let gone = beep.run([again, &["--yes"]].concat()).fails(1);
        assert!(gone.err.contains(&format!("there is no user {bob}")), "{}", gone.err);
    }
    // By the other name; her conversation goes with her, as nobody else is left in it.
    beep.run(["user", "erase", alice, "--yes"]).ok();
    assert!(beep.run(["conversation", "list"]).ok().out.is_empty());
    assert!(beep.run(["user", "list"]).ok().out.is_empty());
}
