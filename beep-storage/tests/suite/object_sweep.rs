//! Files and rows that belong together: whose files they are, what is damaged, left behind, or without room, and what
//! is swept.
#![cfg(all(feature = "store-s3", feature = "store-postgres"))]

use crate::conformance_object::{bucket, folder};
use crate::object_s3::bytes;
use crate::services::postgres::Schema;
use crate::services::s3::Garage;
use crate::services::skip;
use beep_core::ErrorKind;
use beep_core::clock::{Clock, System};
use beep_core::store::{BlobStore, NewBlob};
use beep_storage::Bodies;
use beep_storage::object::{ObjectBlobs, Objects};
use beep_storage::postgres::{Postgres, PostgresBlobs, sweep};
use bytes::Bytes;
use sqlx::{Connection as _, PgConnection};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// A folder on a disk that is full says so, loses nothing, and goes on when there is room.
#[tokio::test]
async fn a_full_disk_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "beep"]).arg(dir.path()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return skip("tmpfs", "no file system can be mounted here");
    }
    struct Unmount(PathBuf);
    impl Drop for Unmount {
        fn drop(&mut self) {
            Command::new("umount").arg(&self.0).status().unwrap();
        }
    }
    let _unmount = Unmount(dir.path().to_owned());
    let objects = Objects::open(&format!("file:{}", dir.path().join("objects").display())).unwrap();
    objects.put("before", bytes(1, 1_000)).await.unwrap();
    for _ in 0..3 {
        let error = objects.put("much", bytes(2, 2 << 20)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    }
    assert!(objects.get("before").await.unwrap().unwrap() == bytes(1, 1_000));
    // What failed left no half behind that would fill the disk.
    assert_eq!(objects.names(None, 10).await.unwrap().len(), 1);
    objects.put("less", bytes(3, 500_000)).await.unwrap();
    objects.ready().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (objects, dir) = folder();
    objects.put("0123456789ab", Bytes::from_static(b"x")).await.unwrap();
    let blobs = ObjectBlobs::open(objects).await.unwrap();
    blobs.put(picture("a", 1, 10)).await.unwrap();
    let mut files = 0;
    for path in walk(&dir.path().join("objects")) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        files += u32::from(path.is_file());
    }
    assert_eq!(files, 3);
}

/// Bytes that rot are never given out, whichever store names them.
#[tokio::test]
async fn damage_is_told_and_never_returned() {
    let (objects, dir) = folder();
    let alone = ObjectBlobs::open(objects.clone()).await.unwrap();
    alone.put(picture("a", 1, 5_000)).await.unwrap();
    let mut stores: Vec<Arc<dyn BlobStore>> = vec![Arc::new(alone)];
    let schema = Schema::fresh().await;
    if let Some(schema) = &schema {
        let db = Postgres::open(&schema.url()).await.unwrap();
        let beside = PostgresBlobs::new(&db, Some(Arc::new(objects.clone())));
        beside.put(picture("a", 1, 100_000)).await.unwrap();
        stores.push(Arc::new(beside));
    }
    let large: Vec<_> = walk(&dir.path().join("objects"))
        .into_iter()
        .filter(|path| path.is_file() && fs::metadata(path).unwrap().len() > 1_000)
        .collect();
    assert_eq!(large.len(), stores.len());
    for file in &large {
        let whole = fs::read(file).unwrap();
        for at in [0, 100, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            fs::write(file, &damaged).unwrap();
            let mut told = 0;
            for store in &stores {
                match store.get("a").await {
                    Ok(blob) => assert!(blob.unwrap().body.len() >= 5_000),
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e:?}");
                        told += 1;
                    }
                }
            }
            assert_eq!(told, 1, "byte {at} of {}", file.display());
        }
        fs::write(file, &whole).unwrap();
    }
    // A hole where a row is.
    if let [_, beside] = &stores[..] {
        for (name, _) in objects.names(None, 10).await.unwrap() {
            objects.delete(&name).await.unwrap();
        }
        assert_eq!(beside.get("a").await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// What a crash leaves of a picture: an entry of its owner without a file.
#[tokio::test]
async fn an_owner_does_not_list_what_a_crash_left() {
    let (objects, dir) = folder();
    let blobs = ObjectBlobs::open(objects).await.unwrap();
    blobs.put(picture("kept", 1, 10)).await.unwrap();
    let owners = dir.path().join("objects/owners/u-1");
    let entry = fs::read_dir(&owners).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let id = entry.strip_prefix("n-kept-").unwrap();
    for left in [format!("n-gone-{id}"), entry.replace(id, &"0".repeat(32)), format!("{entry}~1")] {
        fs::write(owners.join(left), "").unwrap();
    }
    // A put of another owner that lost the name.
    let loser = dir.path().join("objects/owners/u-2");
    fs::create_dir(&loser).unwrap();
    fs::write(loser.join(entry.replace(id, &"0".repeat(32))), "").unwrap();
    assert_eq!(blobs.owned_by(&"u-1".parse().unwrap()).await.unwrap(), ["kept"]);
    assert_eq!(blobs.owned_by(&"u-2".parse().unwrap()).await.unwrap(), Vec::<String>::new());
}

/// Old bodies that no row names go; named ones, and those whose row is yet to come, stay — with writers at work and two
/// nodes that sweep at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_only_what_nothing_names() {
    let Some(schema) = Schema::fresh().await else { return };
    let db = Postgres::open(&schema.url()).await.unwrap();
    let (objects, dir) = folder();
    let blobs = PostgresBlobs::new(&db, Some(Arc::new(objects.clone())));
    let root = dir.path().join("objects/bodies");
    let age = |path: &Path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(System.now()) - 2 * DAY).unwrap();
    };
    for n in 0..20 {
        blobs.put(picture(&format!("old-{n}"), n, 70_000)).await.unwrap();
    }
    for n in 0..40 {
        objects.put(&format!("{n:012x}-orphan"), bytes(n, 100)).await.unwrap();
    }
    for n in 0..10 {
        let body = format!("{n:012x}-bite");
        objects.put(&body, bytes(n, 100)).await.unwrap();
        named_by_a_bite(&schema, n as i64, &body).await;
    }
    objects.put("000000000000-staged", Bytes::new()).await.unwrap();
    fs::copy(root.join("0000000/000000000000-staged"), root.join("0000000/000000000000-staged~1")).unwrap();
    walk(&root).iter().filter(|path| path.is_file()).for_each(|path| age(path));
    objects.put("0123456789ab-young", Bytes::new()).await.unwrap();

    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (blobs, stop, written) = (blobs.clone(), stop.clone(), written.clone());
        writers.spawn(async move {
            let mut kept = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let name = format!("new-{writer}-{}", kept.len());
                blobs.put(picture(&name, kept.len(), 70_000)).await.unwrap();
                kept.push(name);
                written.fetch_add(1, Ordering::Relaxed);
            }
            kept
        });
    }
    let now = System.now();
    let nodes = (sweep(&db, &objects, now, DAY), sweep(&db, &objects, now, DAY));
    let (one, other) = tokio::join!(nodes.0, nodes.1);
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.looked >= 30 && other.looked >= 30, "{one:?} {other:?}");
    assert!(one.deleted + other.deleted >= 42 && one.deleted.max(other.deleted) <= 42, "{one:?} {other:?}");
    // A clock that runs days ahead does not make the bodies of these writers old.
    let deadline = Instant::now() + Duration::from_secs(30);
    while written.load(Ordering::Relaxed) < 20 {
        let ahead = sweep(&db, &objects, now + 5 * DAY.as_millis() as u64, DAY).await.unwrap();
        assert_eq!(ahead.deleted, 0);
        assert!(Instant::now() < deadline, "the writers are stuck");
    }
    stop.store(true, Ordering::Relaxed);

    let mut kept = writers.join_all().await.concat();
    kept.extend((0..20).map(|n| format!("old-{n}")));
    for name in &kept {
        assert!(blobs.get(name).await.unwrap().is_some(), "{name} was swept");
    }
    let left: BTreeSet<_> =
        objects.names(None, 10_000).await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(left.len(), kept.len() + 11, "{left:?}");
    assert!(left.contains("0123456789ab-young") && (0..10).all(|n| left.contains(&format!("{n:012x}-bite"))));
    // A deleted picture takes its bytes with it.
    blobs.delete("old-0").await.unwrap();
    assert_eq!(objects.names(None, 10_000).await.unwrap().len(), kept.len() + 10);
}

/// The same against S3, where nothing can be made old: everything counts.
#[tokio::test]
async fn a_sweep_of_s3_takes_only_what_nothing_names() {
    let Some(schema) = Schema::fresh().await else { return };
    let Some(garage) = Garage::start() else { return };
    let db = Postgres::open(&schema.url()).await.unwrap();
    let objects = bucket(&garage);
    let blobs = PostgresBlobs::new(&db, Some(Arc::new(objects.clone())));
    for n in 0..3 {
        blobs.put(picture(&format!("{n}"), n, 70_000)).await.unwrap();
        objects.put(&format!("orphan-{n}"), bytes(n, 100)).await.unwrap();
    }
    let young = sweep(&db, &objects, System.now(), DAY).await.unwrap();
    assert_eq!((young.looked, young.deleted), (6, 0));
    tokio::time::sleep(Duration::from_millis(1_100)).await; // S3 tells whole seconds
    let swept = sweep(&db, &objects, System.now(), Duration::ZERO).await.unwrap();
    assert_eq!((swept.looked, swept.deleted), (6, 3));
    for n in 0..3 {
        assert!(blobs.get(&n.to_string()).await.unwrap().unwrap().body == bytes(n, 70_000));
    }
}

/// A bite whose bytes lie there.
async fn named_by_a_bite(schema: &Schema, start: i64, body: &str) {
    let mut connection = PgConnection::connect(&schema.url()).await.unwrap();
    sqlx::query(
        "INSERT INTO bites (label, conversation, start, author, device, media_type, bytes, sha256, sum, seal, received,
             object)
         VALUES (1, 'c-1', $1, 'u-1', 'phone', 'audio/ogg', 100, '\\x00', 0, 0, 0, $2)",
    )
    .bind(start)
    .bind(body)
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

fn picture(name: &str, seed: usize, length: usize) -> NewBlob {
    NewBlob {
        name: name.into(),
        owner: "u-1".parse().unwrap(),
        media_type: "image/png".into(),
        received: System.now(),
        body: bytes(seed, length),
    }
}

/// Everything below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(walk(&path));
        }
        all.push(path);
    }
    all
}
