//! Import of what the original kept: a small dump and backup, made here as Postgres and badger write them.

use beep_core::bite::{BiteKey, Label};
use beep_core::clock::System;
use beep_core::id::Identity;
use beep_core::store::{BiteStoreExt, Role, Stores};
use beep_core::{ErrorKind, Result};
use beep_pipeline::import::{Imported, import_bites, import_people, unknown_author};
use beep_storage::{StorageConfig, open};
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::Arc;

const ALICE: &str = "u-7f48e2f2b6f7e4d1f9c864e48bc2b0f2";
const BOB: &str = "u-dc9537ca645ff34b4f289b6bd7aa08b7";
const CREW: &str = "c-00112233445566778899aabbccddeeff";
const CLIP: &[u8] = include_bytes!("../../speech/clips/yes.wav");
const NOW: u64 = 1_600_000_000_000;

async fn memory() -> Stores {
    open(&StorageConfig::memory(), Arc::new(System)).await.unwrap()
}

/// A BYTEA as `COPY` writes it, its backslash escaped.
fn id(text: &str) -> String {
    text.bytes().fold("\\\\x".to_owned(), |hex, b| format!("{hex}{b:02x}"))
}

fn dump() -> String {
    let (alice, bob, crew) = (id(ALICE), id(BOB), id(CREW));
    let (nobody, empty, bad) = (id("u-nobody"), id("c-empty"), id("not an id!"));
    format!(
        "--\n-- PostgreSQL database dump\n--\nSET client_encoding = 'UTF8';\n\
         COPY public.contact (\"user\", contact) FROM stdin;\n{alice}\t{bob}\n{alice}\t{nobody}\n\\.\n\n\
         COPY public.conversation (id, title, picture) FROM stdin;\n{crew}\tNight\\tcrew \\\\o/\t\\N\n{empty}\tNobody\t\\N\n\\.\n\
         COPY public.goose_db_version (id) FROM stdin;\n1\n\\.\n\
         COPY public.member (\"user\", conversation, pinned) FROM stdin;\n{bob}\t{crew}\tf\n{alice}\t{crew}\tt\n{nobody}\t{crew}\tf\n\\.\n\
         COPY public.\"user\" (id, username, bio, profile_pic, first_name, last_name, phone_number) FROM stdin;\n\
         {alice}\tambc\tline one\\nline two\ta.png\tAmbrose\tChua\t+65 9766 3827\n\
         {bob}\torcas\t\t\tDaniel\tLim\t+65 8737 7117\n\
         {nobody}\t\\N\t\t\t\\N\t\\N\t12345\n\
         {bad}\tx\t\t\tx\tx\t+65 8181 6346\nfew\tfields\n\\.\n\
         -- done\n"
    )
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut length = bytes.len();
    while length > 127 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(bytes);
    out
}

fn pair(key: &[u8], value: &[u8], version: u8, meta: u8) -> Vec<u8> {
    let mut out = [field(1, key), field(2, value), field(3, &[0])].concat();
    out.extend([4 << 3, version]);
    out.extend(field(6, &[meta]));
    out
}

fn key(label: &str, conversation: &str, start: u64) -> Vec<u8> {
    [label.as_bytes(), b"+", conversation.as_bytes(), b"@", &start.to_be_bytes()].concat()
}

fn framed(message: Vec<u8>) -> Vec<u8> {
    [(message.len() as u64).to_le_bytes().to_vec(), message].concat()
}

/// Lists as badger writes them since 1.6, and pairs by themselves as before.
fn backup() -> Vec<u8> {
    let list = [
        field(1, &pair(&key("user", CREW, 7), b"{\"seen\":true}", 3, 0)),
        field(1, &pair(&key("bite", CREW, 7), CLIP, 9, 0)),
        field(1, &pair(&key("bite", CREW, 7), b"an older version", 2, 0)),
        // Starts that hold an `@` and a `+`, which the original got wrong.
        field(1, &pair(&key("bite", CREW, 0x40_2b_40), b"raw packets", 4, 0)),
        field(1, &pair(&key("bite", CREW, 11), b"deleted", 5, 0)),
        field(1, &pair(&key("bite", CREW, 11), b"", 6, 1)),
    ]
    .concat();
    let singles = [
        pair(&key("bite", CREW, 12), CLIP, 7, 0),
        pair(&key("bite", "c-gone", 13), CLIP, 8, 0),
        pair(&key("user", CREW, 99), b"of no bite", 10, 0),
        pair(b"something else", b"x", 11, 0),
        pair(&key("bite", CREW, 14), b"", 12, 0),
    ];
    [framed(list), singles.into_iter().flat_map(framed).collect()].concat()
}

async fn people(stores: &Stores, dump: &[u8]) -> Result<Imported> {
    import_people(&*stores.directory, &mut Cursor::new(dump.to_vec())).await
}

async fn bites(stores: &Stores, backup: &[u8]) -> Result<Imported> {
    import_bites(stores, &mut Cursor::new(backup.to_vec()), &unknown_author()?, NOW).await
}

fn what(done: &Imported) -> Vec<&str> {
    done.skipped.iter().map(|s| &*s.what).collect()
}

#[tokio::test]
async fn people_keep_their_ids() {
    let stores = memory().await;
    let done = people(&stores, dump().as_bytes()).await.unwrap();
    assert_eq!((done.users, done.conversations, done.members, done.contacts), (2, 1, 2, 1), "{done:?}");
    let nobody = "u-nobody";
    assert_eq!(done.skipped.len(), 6, "{:?}", done.skipped);
    assert!(
        what(&done).contains(&&*format!("user {nobody}")) && what(&done).contains(&"conversation c-empty")
    );
    let d = &stores.directory;
    let alice = d.user(&ALICE.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        (&*alice.phone_number, &*alice.bio, &*alice.profile_pic),
        ("+6597663827", "line one\nline two", "a.png")
    );
    assert_eq!(alice.username.as_deref(), Some("ambc"));
    let crew = CREW.parse().unwrap();
    assert_eq!(d.conversation(&crew).await.unwrap().unwrap().title, "Night\tcrew \\o/");
    assert_eq!(d.role(&crew, &BOB.parse().unwrap()).await.unwrap(), Some(Role::Owner), "the first one");
    let own = d.memberships(&alice.id).await.unwrap();
    assert_eq!((own[0].role, own[0].pinned), (Role::Member, true));
    assert_eq!(d.contacts(&alice.id).await.unwrap().len(), 1);

    let changes = d.last_change().await.unwrap();
    let again = people(&stores, dump().as_bytes()).await.unwrap();
    assert_eq!(
        (again.users, again.conversations, again.members, again.contacts, again.already),
        (0, 0, 0, 0, 4)
    );
    assert_eq!(again.skipped, done.skipped);
    assert_eq!(d.last_change().await.unwrap(), changes, "importing again changes nothing");
}

#[tokio::test]
async fn recordings_keep_their_bytes() {
    let stores = memory().await;
    people(&stores, dump().as_bytes()).await.unwrap();
    let done = bites(&stores, &backup()).await.unwrap();
    assert_eq!((done.bites, done.attachments), (3, 1), "{:?}", done.skipped);
    assert_eq!(done.bytes as usize, 2 * CLIP.len() + 11 + 13);
    let skipped = what(&done);
    assert_eq!(skipped.len(), 4, "{:?}", done.skipped);
    for expected in
        ["bite/c-gone/13", "\"something else\"", &format!("bite/{CREW}/14"), &format!("user/{CREW}/99")]
    {
        assert!(skipped.contains(&expected), "{expected}: {skipped:?}");
    }
    let crew = CREW.parse().unwrap();
    assert_eq!(stores.bites.starts(Label::Bite, &crew).await.unwrap(), [7, 12, 0x40_2b_40]);
    let get = async |label, start| {
        stores.bites.get(&BiteKey::new(label, CREW.parse().unwrap(), start)).await.unwrap().unwrap()
    };
    let bite = get(Label::Bite, 7).await;
    assert_eq!((&bite.body[..], &*bite.meta.media_type, bite.meta.received), (CLIP, "audio/wav", 7));
    assert!(bite.meta.duration_ms.is_some());
    assert_eq!(get(Label::Bite, 0x40_2b_40).await.meta.media_type, "application/octet-stream");
    assert_eq!(&get(Label::User, 7).await.body[..], b"{\"seen\":true}");

    let tail = stores.bites.tail().await.unwrap();
    let again = bites(&stores, &backup()).await.unwrap();
    assert_eq!((again.bites, again.attachments, again.already), (0, 0, 4));
    assert_eq!(stores.bites.tail().await.unwrap(), tail, "importing again changes nothing");
}

/// Cut anywhere, both are refused with a sentence, and nothing of them is taken.
#[tokio::test]
async fn a_truncated_file_changes_nothing() {
    let whole = memory().await;
    people(&whole, dump().as_bytes()).await.unwrap();
    let backup = backup();
    let mut refused = 0;
    for cut in (1..backup.len()).step_by(997).chain(backup.len() - 40..backup.len()) {
        match bites(&whole, &backup[..cut]).await {
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Malformed);
                assert!(e.message().contains("it ends in the middle"), "{e}");
                refused += 1;
            }
            // Between two messages: nobody can tell.
            Ok(_) => panic!("{cut} of {} bytes", backup.len()),
        }
        assert_eq!(whole.bites.tail().await.unwrap(), 0, "half of it was imported");
    }
    assert!(refused > 40);
    let dump = dump();
    let end = dump.rfind("\\.").unwrap();
    let stores = memory().await;
    for cut in [dump.find("Ambrose").unwrap(), end - 3, dump.find("f\n").unwrap()] {
        let e = people(&stores, &dump.as_bytes()[..cut]).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Malformed, "{e}");
        assert_eq!(stores.directory.last_change().await.unwrap(), 0);
    }
    for garbage in [&b""[..], b"PGDMP\x01\x0e\x00", b"INSERT INTO x;\n", &[0xff; 400]] {
        assert_eq!(people(&stores, garbage).await.unwrap_err().kind(), ErrorKind::Malformed);
    }
    // A length that no backup has must not cost memory.
    assert_eq!(bites(&stores, &[0xff; 16]).await.unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(bites(&stores, &[0, 0, 0, 5, 0, 0, 0, 0, 1]).await.unwrap_err().kind(), ErrorKind::Malformed);
}

/// Somebody else's number or name, and a recording where another stands, stay as they are.
#[tokio::test]
async fn nothing_is_overwritten() {
    let stores = memory().await;
    let someone = beep_core::store::NewUser {
        id: "u-here".parse().unwrap(),
        username: Some("AMBC".into()),
        first_name: "Here".into(),
        last_name: String::new(),
        phone_number: "+6587377117".into(),
    };
    stores.directory.create_user(someone).await.unwrap();
    let done = people(&stores, dump().as_bytes()).await.unwrap();
    let reasons: Vec<_> =
        done.skipped.iter().filter(|s| s.reason.contains("u-here")).map(|s| &*s.what).collect();
    assert_eq!(reasons, [format!("user name of {ALICE}"), format!("user {BOB}")]);
    assert_eq!(stores.directory.user(&ALICE.parse().unwrap()).await.unwrap().unwrap().username, None);
    bites(&stores, &backup()).await.unwrap();
    let author = Identity { user: ALICE.parse().unwrap(), device: "other".parse().unwrap() };
    let other = import_bites(&stores, &mut Cursor::new(backup()), &author, NOW).await.unwrap();
    assert_eq!(other.bites, 0);
    assert!(what(&other).contains(&&*format!("bite/{CREW}/7")), "{other:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes: an answer, never a panic.
    #[test]
    fn damage_is_answered(at in any::<prop::sample::Index>(), byte in any::<u8>(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stores = memory().await;
            let (mut dump, mut backup) = (dump().into_bytes(), backup());
            let (i, j) = (at.index(dump.len()), at.index(backup.len()));
            dump[i] = byte;
            backup[j] = byte;
            people(&stores, &dump).await.ok();
            bites(&stores, &backup).await.ok();
            people(&stores, &noise).await.ok();
            bites(&stores, &[&noise[..], &backup].concat()).await.ok();
            // A message of noise with a right length.
            bites(&stores, &framed(noise)).await.ok();
        });
    }
}
