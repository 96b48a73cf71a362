//! Reading back: scan, get, transcript, search, verify.

use crate::support::{Installation, args, wav};
use beep_core::bite::{BiteKey, Digest, Label};
use beep_core::store::{NewBite, SearchDocument, Start};
use beep_core::transcript::{Transcript, Word};
use std::fs;

/// A conversation with recordings at 1,000, 2,000 and 3,000.
fn three() -> (Installation, String) {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    for n in 1..=3 {
        beep.write(&format!("in/{n}.wav"), &wav(n), u64::from(n) * 1_000);
    }
    beep.run(args([&"ingest", &beep.file("in"), &"-c", &crew])).ok();
    (beep, crew)
}

/// Gives recordings a transcript and puts it into the index, as the workers do.
fn transcribe(beep: &Installation, crew: &str, texts: &[(u64, &str)]) {
    beep.inside(async |stores| {
        for (start, text) in texts {
            let key = BiteKey::new(Label::Bite, crew.parse().unwrap(), *start);
            let author = stores.bites.head(&key).await.unwrap().unwrap().author;
            let words = text.split(' ').map(|w| Word {
                word: w.to_owned(),
                start_ms: 0,
                end_ms: 50,
                confidence: 0.5,
            });
            let words = words.collect();
            let transcript =
                Transcript { text: (*text).to_owned(), words, language: "en".into(), model: "test".into() };
            let body = serde_json::to_vec(&transcript).unwrap();
            let put = stores
                .bites
                .put(NewBite {
                    label: Label::Transcription,
                    conversation: key.conversation.clone(),
                    start: Start::At(*start),
                    author: author.clone(),
                    media_type: Transcript::MEDIA_TYPE.to_owned(),
                    duration_ms: None,
                    sha256: Digest::of(&body),
                    body: body.into(),
                    received: 1,
                    idempotency: None,
                })
                .await
                .unwrap();
            let (seq, conversation) = (put.entry.unwrap().seq, key.conversation);
            let document =
                SearchDocument { seq, conversation, start: *start, author, text: (*text).to_owned() };
            stores.search.index(vec![document]).await.unwrap();
        }
    });
}

#[test]
fn scan_lists_starts() {
    let (beep, crew) = three();
    let lines = |extra: &[&str]| beep.run([&["scan", &crew], extra].concat()).ok().text().to_owned();
    assert_eq!(lines(&[]), "1000\n2000\n3000\n");
    assert_eq!(lines(&["--from", "1001"]), "2000\n3000\n");
    assert_eq!(lines(&["--to", "1970-01-01T00:00:02Z"]), "1000\n2000\n");
    assert_eq!(lines(&["--limit", "1"]), "1000\n");
    assert_eq!(lines(&["--limit", "0"]), "");
    assert_eq!(lines(&["--from", "1h ago"]), "");
    assert_eq!(lines(&["--label", "transcription"]), "");
    transcribe(&beep, &crew, &[(2_000, "hello")]);
    assert_eq!(lines(&["--label", "transcription"]), "2000\n");

    let json = beep.run(["scan", &crew, "--json"]).ok().json();
    assert_eq!((&json[0]["start"], &json[0]["time"]), (&1_000.into(), &"1970-01-01T00:00:01Z".into()));
    assert_eq!((&json[0]["duration_ms"], &json[0]["bytes"]), (&100.into(), &wav(1).len().into()));
    assert!(json[0]["media_type"].as_str().unwrap().starts_with("audio/"));
    let table = lines(&["-v"]);
    let first = table.lines().next().unwrap();
    for part in ["1000  1970-01-01 00:00:01.000 +00:00", "0:00.100", "operator", "KiB", "audio/"] {
        assert!(first.contains(part), "{part} is not in {first}");
    }
    beep.run(["scan", &crew, "--from", "5", "--to", "4"]).fails(2);
    beep.run(["scan", &crew, "--label", "noise"]).fails(2);
    assert!(beep.run(["scan", "c-none"]).fails(1).err.contains("no conversation c-none"));
}

#[test]
fn scan_pages_through_everything() {
    let beep = Installation::new();
    let (crew, owner) = beep.conversation();
    beep.inside(async |stores| {
        let puts = (0..2_345_u64).map(|start| {
            let body: bytes::Bytes = wav(1).into();
            stores.bites.put(NewBite {
                label: Label::Bite,
                conversation: crew.parse().unwrap(),
                start: Start::At(start * 2),
                author: beep_core::id::Identity {
                    user: owner.parse().unwrap(),
                    device: "d".parse().unwrap(),
                },
                media_type: "audio/wav".to_owned(),
                duration_ms: None,
                sha256: Digest::of(&body),
                body,
                received: 1,
                idempotency: None,
            })
        });
        for put in futures_util::future::join_all(puts).await {
            put.unwrap();
        }
    });
    assert_eq!(beep.scan(&crew).len(), 2_345);
    assert_eq!(beep.run(["scan", &crew, "--limit", "1500"]).ok().lines().len(), 1_500);
    assert_eq!(beep.run(["scan", &crew, "--from", "3000", "--json"]).ok().json().len(), 845);
}

#[test]
fn get_writes_the_bytes() {
    let (beep, crew) = three();
    assert_eq!(beep.get(&crew, 2_000), wav(2));
    let file = beep.file("out.wav");
    beep.run(args([&"get", &crew, &"1970-01-01T00:00:03Z", &"-o", &file])).ok();
    assert_eq!(fs::read(&file).unwrap(), wav(3));
    assert_eq!(beep.run(["get", &crew, "1000", "-o", "-"]).ok().out, wav(1));
    let none = beep.file("none.wav");
    let missing = beep.run(args([&"get", &crew, &"1001", &"-o", &none])).fails(1);
    assert!(missing.err.contains("1001") && missing.err.contains("scan"), "{}", missing.err);
    assert!(!none.exists(), "a recording that is not there leaves no empty file");
    let nowhere = beep.file("no/such/folder/x.wav");
    beep.run(args([&"get", &crew, &"1000", &"-o", &nowhere])).fails(1);
}

#[test]
fn transcripts_with_times_and_words() {
    let (beep, crew) = three();
    let waiting = beep.run(["transcript", &crew, "1000"]).fails(1);
    assert!(waiting.err.contains("not transcribed yet") && waiting.err.contains("beep-cli transcribe"));
    transcribe(&beep, &crew, &[(1_000, "send help"), (3_000, "okay")]);
    assert_eq!(beep.run(["transcript", &crew, "1000"]).ok().text(), "send help\n");
    let all = beep.run(["transcript", &crew]).ok();
    assert_eq!(
        all.text(),
        "1970-01-01 00:00:01.000 +00:00  send help\n1970-01-01 00:00:03.000 +00:00  okay\n"
    );
    assert!(all.err.contains("1 not transcribed yet"), "{}", all.err);
    let json = beep.run(["transcript", &crew, "--json"]).ok().json();
    assert_eq!((json.len(), &json[0]["start"], &json[1]["text"]), (2, &1_000.into(), &"okay".into()));
    assert_eq!((&json[0]["words"][1]["word"], &json[0]["model"]), (&"help".into(), &"test".into()));
    assert!(beep.run(["transcript", &crew, "4"]).fails(1).err.contains("starts at 4"));
    beep.inside(async |stores| {
        let key = BiteKey::new(Label::Bite, crew.parse().unwrap(), 2_000);
        stores.bites.park(&key, "nobody understands it", 9).await.unwrap();
    });
    assert!(beep.run(["transcript", &crew, "2000"]).fails(1).err.contains("nobody understands it"));
}

#[test]
fn search_finds_and_highlights() {
    let (beep, crew) = three();
    transcribe(&beep, &crew, &[(1_000, "send help now"), (2_000, "no help"), (3_000, "okay")]);
    let found = beep.run(["search", "help"]).ok();
    assert_eq!(found.lines().len(), 2);
    assert!(found.lines()[0].contains("2000") && found.lines()[0].ends_with("no help"), "{:?}", found.text());
    assert_eq!(beep.run(["search", "send", "help"]).ok().lines().len(), 1);
    assert_eq!(beep.run(["search", "help", "--limit", "1"]).ok().lines().len(), 1);
    assert_eq!(beep.run(["search", "nothing"]).ok().text(), "");
    assert_eq!(beep.run(["search", "help", "-c", &crew]).ok().lines().len(), 2);
    assert!(beep.run(["search", "help", "-c", "c-none"]).fails(1).err.contains("c-none"));

    let json = beep.run(["search", "help", "--json"]).ok().json();
    assert_eq!((&json[1]["snippet"], &json[1]["start"]), (&"send help now".into(), &1_000.into()));
    assert_eq!(json[1]["highlights"], serde_json::json!(["help"]));

    let mut forced = beep.command(["search", "send"]);
    forced.env("CLICOLOR_FORCE", "1");
    assert!(crate::support::finish(forced).ok().text().contains("\u{1b}[1;33msend\u{1b}[0m help now"));
    let mut plain = beep.command(["search", "send"]);
    plain.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!crate::support::finish(plain).ok().text().contains('\u{1b}'));
    beep.run(["search"]).fails(2);
}

#[test]
fn verify_names_the_damaged() {
    let (beep, crew) = three();
    let whole = beep.run(["verify"]).ok();
    assert_eq!(whole.text(), "3 records read, 0 damaged\n");
    assert_eq!(beep.run(["verify", "--json"]).ok().json()[0]["checked"], 3);

    let file = beep.data().join("bites/data.mdb");
    let mut bytes = fs::read(&file).unwrap();
    let needle = &wav(2)[100..400];
    let at = bytes.windows(needle.len()).position(|w| w == needle).unwrap();
    bytes[at + 7] ^= 0x40;
    fs::write(&file, bytes).unwrap();

    let damaged = beep.run(["verify"]).fails(1);
    assert!(damaged.lines()[0].contains(&format!("bite/{crew}/2000")), "{}", damaged.text());
    assert_eq!(damaged.lines()[1], "3 records read, 1 damaged");
    let json = beep.run(["verify", "--json"]).fails(1).json();
    assert_eq!((&json[0]["type"], &json[1]["damaged"]), (&"damaged".into(), &1.into()));
    assert_eq!(beep.get(&crew, 1_000), wav(1));
    let corrupt = beep.run(["--json", "get", &crew, "2000"]).fails(1);
    assert!(corrupt.out.is_empty(), "damaged bytes are not handed out");
    assert_eq!(corrupt.json_err()[0]["code"], "corrupt");
}

#[test]
fn a_mistyped_directory_is_not_made() {
    let beep = Installation::new();
    for args in [
        &["scan", "c-1"][..],
        &["get", "c-1", "1"],
        &["verify"],
        &["user", "list"],
        &["search", "x"],
        &["transcribe"],
    ] {
        let refused = beep.run(args).fails(1);
        assert!(
            refused.err.contains("no data directory") && refused.err.contains("hint: "),
            "{}",
            refused.err
        );
    }
    assert!(!beep.data().exists());
}
