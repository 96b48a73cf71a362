//! `import` from the command line: what it prints, its exit codes, and that a bad file makes nothing.

use crate::support::{Installation, args, wav};

const DUMP: &str = "\
COPY public.conversation (id, title, picture) FROM stdin;
\\\\x632d31\tCrew\t\\N
\\.
COPY public.member (\"user\", conversation) FROM stdin;
\\\\x752d31\t\\\\x632d31
\\.
COPY public.\"user\" (id, username, bio, first_name, last_name, phone_number) FROM stdin;
\\\\x752d31\tann\t\tAnn\tLee\t+65 9766 3827
\\\\x752d32\t\\N\t\tBo\t\t12
\\.
";

/// One message with one pair of key and value, as badger 1.5 writes it.
fn backup(start: u64, value: &[u8]) -> Vec<u8> {
    let key = [&b"bite+c-1@"[..], &start.to_be_bytes()].concat();
    let mut pair = vec![0x0a, key.len() as u8];
    pair.extend(key);
    pair.push(0x12);
    let mut length = value.len();
    while length > 127 {
        pair.push(length as u8 | 0x80);
        length >>= 7;
    }
    pair.push(length as u8);
    pair.extend(value);
    pair.extend([0x20, 1]);
    [(pair.len() as u64).to_le_bytes().to_vec(), pair].concat()
}

#[test]
fn people_and_recordings() {
    let beep = Installation::new();
    let dump = beep.write("core.sql", DUMP.as_bytes(), 0);
    let store = beep.write("store.bak", &backup(1_234, &wav(1)), 0);
    let import = args([&"--json", &"import", &"--people", &dump, &"--recordings", &store]);
    let first = beep.run(&import).fails(1).json();
    assert_eq!(first[0]["what"], "user u-2");
    let summary = first.last().unwrap();
    assert_eq!(
        (&summary["users"], &summary["recordings"], &summary["skipped"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(beep.get("c-1", 1_234), wav(1));
    let again = beep.run(&import).fails(1).json();
    let summary = again.last().unwrap();
    assert_eq!((&summary["users"], &summary["recordings"]), (&0.into(), &0.into()));
    assert_eq!(summary["already_there"], 3);
    assert_eq!(beep.scan("c-1"), [1_234]);
    // A recording may be given to somebody who is there.
    let more = beep.write("more.bak", &backup(5_678, &wav(2)), 0);
    beep.run(args([&"import", &"--recordings", &more, &"--author", &"u-1"])).ok();
    beep.run(args([&"import", &"--recordings", &more, &"--author", &"u-9"])).fails(1);
    let listed = beep.run(["scan", "c-1", "--json"]).ok();
    assert!(listed.lines()[1].contains("u-1"), "{}", listed.text());
}

#[test]
fn what_is_no_dump_is_refused() {
    let beep = Installation::new();
    let bad = beep.write("bad", &DUMP.as_bytes()[..DUMP.len() - 4], 0);
    let ran = beep.run(args([&"import", &"--people", &bad])).fails(1);
    assert!(ran.err.contains("it ends inside the rows of `user`"), "{}", ran.err);
    let ran = beep.run(args([&"import", &"--recordings", &bad])).fails(1);
    assert!(ran.err.contains("this is no whole backup of badger"), "{}", ran.err);
    beep.run(["import"]).fails(2);
    beep.run(args([&"import", &"--people", &beep.file("none")])).fails(1);
    assert_eq!(beep.inside(async |stores| stores.directory.last_change().await.unwrap()), 0);
}
