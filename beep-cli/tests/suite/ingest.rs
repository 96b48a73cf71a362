//! Ingest: what is stored where, and that doing it again changes nothing.

use crate::support::{Installation, args, clips, mtime, wav};
use beep_core::bite::{BiteKey, Label};
use std::fs;
use std::os::unix::fs::symlink;

fn summary(ran: &crate::support::Ran) -> String {
    ran.lines().last().unwrap().to_string()
}

#[test]
fn again_changes_nothing() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let path = beep.write("note.wav", &wav(1), 1_700_000_000_123);
    let ingest = args([&"ingest", &path, &"--conversation", &crew]);
    assert_eq!(summary(&beep.run(&ingest).ok()), "stored 1, already there 0, skipped 0, failed 0");
    for _ in 0..2 {
        assert_eq!(summary(&beep.run(&ingest).ok()), "stored 0, already there 1, skipped 0, failed 0");
    }
    assert_eq!(beep.scan(&crew), [1_700_000_000_123]);
    assert_eq!(beep.get(&crew, 1_700_000_000_123), wav(1), "bit for bit");
    assert!(beep.run([&ingest[..], &["-q".into()]].concat()).ok().out.is_empty());
    let verbose = beep.run([&ingest[..], &["-v".into()]].concat()).ok();
    assert!(verbose.text().starts_with("already there: ") && verbose.text().contains("1700000000123"));
}

#[test]
fn nothing_is_remembered_but_the_recordings() {
    // Idempotency names end after a day; so that nothing here leans on them, the recordings are stored without any.
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    for n in 0..5 {
        beep.write(&format!("in/{n}.wav"), &wav(n), 5_000);
    }
    let ingest = args([&"ingest", &beep.file("in"), &"-c", &crew]);
    beep.run(&ingest).ok();
    beep.inside(async |stores| {
        for start in 5_000..5_005 {
            let key = BiteKey::new(Label::Bite, crew.parse().unwrap(), start);
            let bite = stores.bites.get(&key).await.unwrap().unwrap();
            assert_eq!(bite.body, wav((start - 5_000) as u32));
            assert_eq!(
                (bite.meta.author.user.as_str(), bite.meta.author.device.as_str()),
                ("operator", "beep-cli")
            );
        }
        assert_eq!(stores.bites.tail().await.unwrap(), 5);
    });
    assert!(summary(&beep.run(&ingest).ok()).starts_with("stored 0, already there 5,"));
    beep.inside(async |stores| assert_eq!(stores.bites.tail().await.unwrap(), 5, "not even a log entry"));
}

#[test]
fn files_of_one_time_are_all_stored_in_the_order_of_their_names() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    // b and d have the same bytes: still two recordings. The 1001 of `late` is taken by then.
    for (name, n, time) in
        [("c", 3, 1_000), ("a", 1, 1_000), ("d", 2, 1_000), ("b", 2, 1_000), ("late", 9, 1_001)]
    {
        beep.write(&format!("in/{name}.wav"), &wav(n), time);
    }
    let ingest = args([&"ingest", &beep.file("in"), &"-c", &crew]);
    assert!(summary(&beep.run(&ingest).ok()).starts_with("stored 5, already there 0,"));
    assert_eq!(beep.scan(&crew), [1_000, 1_001, 1_002, 1_003, 1_004]);
    assert!(summary(&beep.run(&ingest).ok()).starts_with("stored 0, already there 5,"));
    let order = |n: u32| (1_000..1_005).position(|start| beep.get(&crew, start) == wav(n)).unwrap();
    assert!(order(1) < order(2) && order(2) < order(3));

    // One by one, backwards, and with a new file in between: each finds its own.
    for name in ["late", "d", "c", "b", "a"] {
        let one = args([&"ingest", &beep.file(&format!("in/{name}.wav")), &"-c", &crew]);
        assert!(summary(&beep.run(&one).ok()).starts_with("stored 0, already there 1,"), "{name}");
    }
    beep.write("in/aa.wav", &wav(7), 1_000);
    assert!(summary(&beep.run(&ingest).ok()).starts_with("stored 1, already there 5,"));
    assert_eq!(beep.scan(&crew).len(), 6);
}

#[test]
fn a_file_named_twice_is_one_recording() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let path = beep.write("in/a.wav", &wav(1), 1_000);
    symlink(&path, beep.file("in/link.wav")).unwrap();
    symlink(beep.file("in"), beep.file("in/circle")).unwrap();
    let ran = beep.run(args([&"ingest", &path, &path, &beep.file("in"), &"-c", &crew])).ok();
    assert_eq!(summary(&ran), "stored 1, already there 0, skipped 0, failed 0");
}

#[test]
fn junk_in_a_folder_is_skipped_and_counted() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    beep.write("in/a.wav", &wav(1), 1_000);
    beep.write("in/deep/er/b.wav", &wav(2), 2_000);
    beep.write("in/readme.txt", b"hello, this is no audio at all", 3_000);
    beep.write("in/empty.wav", b"", 4_000);
    let ran = beep.run(args([&"ingest", &beep.file("in"), &"-c", &crew])).ok();
    assert_eq!(summary(&ran), "stored 2, already there 0, skipped 2, failed 0");
    assert!(ran.err.contains("readme.txt") && ran.err.contains("empty.wav"), "{}", ran.err);
    assert_eq!(beep.scan(&crew), [1_000, 2_000]);
}

#[test]
fn what_was_named_must_be_audio_and_the_rest_is_stored() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let good = beep.write("a.wav", &wav(1), 1_000);
    let bad = beep.write("readme.txt", b"hello, this is no audio at all", 500);
    let none = beep.file("none.wav");
    let ran = beep.run(args([&"ingest", &bad, &none, &good, &"-c", &crew])).fails(1);
    assert_eq!(summary(&ran), "stored 1, already there 0, skipped 0, failed 2");
    assert!(
        ran.err.contains("error: ") && ran.err.contains("readme.txt") && ran.err.contains("none.wav"),
        "{}",
        ran.err
    );
    assert_eq!(beep.scan(&crew), [1_000]);
}

#[test]
fn json_lines_name_every_file() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    beep.write("in/a.wav", &wav(1), 1_000);
    beep.write("in/junk", b"no audio whatsoever", 2_000);
    let ran =
        beep.run(args([&"--json", &"ingest", &beep.file("in"), &beep.file("none"), &"-c", &crew])).fails(1);
    let lines = ran.json();
    let state = |state: &str| lines.iter().find(|l| l["state"] == state).unwrap();
    let stored = state("stored");
    assert_eq!((&stored["start"], &stored["conversation"]), (&1_000.into(), &crew.as_str().into()));
    assert_eq!((&stored["duration_ms"], &stored["bytes"]), (&100.into(), &wav(1).len().into()));
    assert_eq!(state("skipped")["code"], "unsupported_media");
    assert!(state("failed")["file"].as_str().unwrap().ends_with("none"));
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["type"], &summary["stored"], &summary["failed"]),
        (&"summary".into(), &1.into(), &1.into())
    );
    let again = beep.run(args([&"--json", &"ingest", &beep.file("in/a.wav"), &"-c", &crew])).ok().json();
    assert_eq!(again[0]["state"], "already_there");
}

#[test]
fn start_can_be_given() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let [a, b] =
        ["a", "b"].map(|name| beep.write(&format!("{name}.wav"), &wav(u32::from(name.as_bytes()[0])), 9_000));
    let at = |start: &str| args([&"ingest", &b, &a, &"-c", &crew, &"--start", &start]);
    beep.run(at("77")).ok();
    assert_eq!(beep.scan(&crew), [77, 78]);
    assert!(summary(&beep.run(at("77")).ok()).starts_with("stored 0, already there 2,"));
    beep.run(at("1970-01-01T00:00:02Z")).ok();
    assert_eq!(beep.scan(&crew), [77, 78, 2_000, 2_001]);
    beep.run(at("mtime")).ok();
    beep.run(at("now")).ok();
    let starts = beep.scan(&crew);
    assert!(starts.len() == 8 && starts[4] == 9_000 && starts[6] > 1_700_000_000_000, "{starts:?}");
    assert!(beep.run(at("soon")).fails(2).err.contains("RFC 3339"));
}

#[test]
fn standard_input() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let ran = beep.feed(["ingest", "-", "-c", &crew, "--json"], &wav(1)).ok().json();
    let start = ran[0]["start"].as_u64().unwrap();
    assert!(start > 1_700_000_000_000);
    assert_eq!(beep.get(&crew, start), wav(1));
    beep.feed(["ingest", "-", "-c", &crew, "--start", "5"], &wav(2)).ok();
    let again = beep.feed(["ingest", "-", "-c", &crew, "--start", "5"], &wav(2)).ok();
    assert!(summary(&again).starts_with("stored 0, already there 1,"));
    beep.feed(["ingest", "-", "-c", &crew], b"no audio whatsoever").fails(1);
    beep.feed(["ingest", "-", "-c", &crew], b"").fails(1);
    assert!(
        beep.feed(["ingest", "-", "-c", &crew, "--start", "mtime"], &wav(1))
            .fails(2)
            .err
            .contains("standard input")
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    for n in 0..3 {
        beep.write(&format!("in/{n}.wav"), &wav(n), 1_000);
    }
    beep.run(args([&"ingest", &beep.file("in/1.wav"), &"-c", &crew])).ok();
    let dry = beep.run(args([&"ingest", &beep.file("in"), &"-c", &crew, &"--dry-run"])).ok();
    assert_eq!(summary(&dry), "would store 2, already there 1, skipped 0, failed 0");
    assert_eq!(beep.scan(&crew), [1_000]);
}

#[test]
fn only_who_may_speak_speaks() {
    let beep = Installation::new();
    let (crew, alice) = beep.conversation();
    let eve = beep.user("+6500000002", "Eve");
    let path = beep.write("a.wav", &wav(1), 1_000);
    let speak = |user: &str| {
        beep.run(args([&"ingest", &path, &"-c", &crew, &"--user", &user, &"--client", &"pager"]))
    };
    let refused = speak(&eve).fails(1);
    let hint = format!("beep-cli conversation add {crew} {eve} --role member");
    assert!(refused.err.contains("may not speak") && refused.err.contains(&hint), "{}", refused.err);
    beep.run(["conversation", "add", &crew, &eve, "--role", "listener"]).ok();
    speak(&eve).fails(1);
    assert!(beep.scan(&crew).is_empty());
    speak(&alice).ok();
    beep.run(["conversation", "add", &crew, &eve, "--role", "member"]).ok();
    speak(&eve).ok();
    let authors: Vec<_> = beep.run(["scan", &crew, "--json"]).ok().json();
    assert_eq!((&authors[0]["user"], &authors[0]["client"]), (&alice.as_str().into(), &"pager".into()));
    assert_eq!(authors[1]["user"], eve.as_str(), "the same bytes by somebody else are another recording");
    assert!(speak("u-nobody").fails(1).err.contains("no user"));
    beep.run(args([&"ingest", &path, &"-c", &crew, &"--client", &"pager"])).fails(2);
}

#[test]
fn an_unknown_conversation_is_not_made() {
    let beep = Installation::new();
    beep.conversation();
    let path = beep.write("a.wav", &wav(1), 1_000);
    let refused = beep.run(args([&"ingest", &path, &"-c", &"c-none"])).fails(1);
    assert!(refused.err.contains("conversation create"), "{}", refused.err);
    assert_eq!(beep.run(["conversation", "list"]).ok().lines().len(), 1);
    beep.run(args([&"ingest", &path])).fails(2);
    beep.run(["ingest", "-c", "c-none"]).fails(2);
}

#[test]
fn the_committed_clips() {
    let beep = Installation::new();
    let (crew, _) = beep.conversation();
    let ran = beep.run(args([&"ingest", &clips(), &"-c", &crew])).ok();
    assert_eq!(summary(&ran), "stored 12, already there 0, skipped 1, failed 0");
    let hello = clips().join("hello.wav");
    let one = beep.run(args([&"--json", &"ingest", &hello, &"-c", &crew])).ok().json();
    assert_eq!(one[0]["state"], "already_there");
    let start = one[0]["start"].as_u64().unwrap();
    assert!(start >= mtime(&hello) && start < mtime(&hello) + 13);
    assert_eq!(beep.get(&crew, start), fs::read(hello).unwrap());
}
