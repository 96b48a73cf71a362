//! Object stores as the place of a database's large bytes: what S3 and a folder keep, refuse, lose and give away.
#![cfg(all(feature = "store-s3", feature = "store-postgres"))]

use crate::conformance_object::{bucket, folder};
use crate::services::s3::Garage;
use beep_core::ErrorKind;
use beep_core::clock::{Clock, System};
use beep_storage::Bodies;
use beep_storage::object::{Credentials, ObjectBlobs, Objects};
use bytes::Bytes;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes that differ from place to place.
pub(crate) fn bytes(seed: usize, length: usize) -> Bytes {
    (0..length).map(|i| (i * 31 + i / 251 + seed) as u8).collect::<Vec<_>>().into()
}

/// Every guarantee of [`Bodies`].
async fn keeps_bodies(store: Arc<dyn Bodies>) {
    store.ready().await.unwrap();
    assert_eq!(store.get("unknown").await.unwrap(), None);
    store.delete("unknown").await.unwrap();
    assert_eq!(store.names(None, 10).await.unwrap(), []);

    for (n, length) in [0, 1, 65_536, 10 << 20].into_iter().enumerate() {
        let name = format!("0000000000{n}0-aZ_.{n}");
        store.put(&name, bytes(n, length)).await.unwrap();
        // The same put again, as after an answer that was lost.
        store.put(&name, bytes(n, length)).await.unwrap();
        assert!(store.get(&name).await.unwrap().unwrap() == bytes(n, length), "{length} bytes changed");
        store.delete(&name).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap(), None);
        store.delete(&name).await.unwrap();
    }
    for bad in ["", "a/b", "..", ".a", "ä", "a b", "a~1", "a\0", &"a".repeat(201)] {
        assert_eq!(store.put(bad, Bytes::new()).await.unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
    }

    // A hundred at once, in several folders, some with names that begin like others' folders.
    let now = System.now();
    let mut names: Vec<String> = (0..97).map(|n| format!("{:07x}-{n}", n * 7919 % 97 / 10)).collect();
    names.extend(["a", "0000", "000000a0"].map(str::to_owned));
    let mut puts = tokio::task::JoinSet::new();
    for (n, name) in names.iter().cloned().enumerate() {
        let store = store.clone();
        puts.spawn(async move { store.put(&name, bytes(n, 4_096)).await.unwrap() });
    }
    puts.join_all().await;
    for (n, name) in names.iter().enumerate() {
        assert!(store.get(name).await.unwrap().unwrap() == bytes(n, 4_096), "{name} changed");
    }
    names.sort_unstable();
    for limit in [1, 7, 1_000] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = store.names(after.as_deref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (name, written) in page {
                assert!(written.abs_diff(now) < 120_000, "{name} was written at {written}, not {now}");
                listed.push(name);
            }
        }
        assert_eq!(listed, names, "in pages of {limit}");
    }
    assert_eq!(store.names(Some("000003"), 0).await.unwrap(), []);
}

#[tokio::test]
async fn a_folder_keeps_bodies() {
    let (objects, _dir) = folder();
    keeps_bodies(Arc::new(objects)).await;
}

#[tokio::test]
async fn s3_keeps_bodies() {
    let Some(garage) = Garage::start() else { return };
    let (key_id, secret) = garage.key();
    let under = |prefix: &str| {
        let url = garage.url().replacen('?', &format!("/{prefix}?"), 1);
        let credentials = Credentials { key_id: key_id.clone(), secret: secret.clone(), token: None };
        Objects::open_with(&url, credentials).unwrap()
    };
    // Beside others that begin alike.
    for other in ["a", "a/bc"] {
        under(other).put("other", Bytes::new()).await.unwrap();
    }
    keeps_bodies(Arc::new(under("a/b"))).await;
    assert_eq!(under("a").names(None, 10).await.unwrap().len(), 1);
}

/// More than S3 answers at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_may_be_longer_than_one_answer_of_s3() {
    let Some(garage) = Garage::start() else { return };
    let store = Arc::new(bucket(&garage));
    let mut puts = tokio::task::JoinSet::new();
    for part in 0..30 {
        let store = store.clone();
        puts.spawn(async move {
            for n in part * 40..(part + 1) * 40 {
                store.put(&format!("{n:05}"), Bytes::new()).await.unwrap();
            }
        });
    }
    puts.join_all().await;
    let all = store.names(None, 5_000).await.unwrap();
    assert_eq!(all.len(), 1_200);
    assert!(all.is_sorted_by(|a, b| a.0 < b.0));
    let some = store.names(Some("00099"), 1_050).await.unwrap();
    assert_eq!((some.len(), some[0].0.as_str(), some[1_049].0.as_str()), (1_050, "00100", "01149"));
}

#[tokio::test]
async fn a_store_that_overwrites_is_refused_for_pictures() {
    let Some(garage) = Garage::start() else { return };
    let error = ObjectBlobs::open(bucket(&garage)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("If-None-Match") && error.message().contains("`postgres:`"), "{error}");
}

/// kill -9 in the middle of puts: what was acknowledged is there, the rest fails soon, and all goes on afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_s3_server_loses_nothing_that_was_acknowledged() {
    let Some(mut garage) = Garage::start() else { return };
    let store = bucket(&garage);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, stop) = (store.clone(), stop.clone());
        writers.spawn(async move {
            let (mut kept, mut refused) = (Vec::new(), 0);
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("{n:05}-{writer}");
                let began = Instant::now();
                match store.put(&name, bytes(n, 3_000 + n)).await {
                    Ok(()) => kept.push((name, n)),
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
                        refused += 1;
                    }
                }
                assert!(began.elapsed() < Duration::from_secs(10), "a call took {:?}", began.elapsed());
            }
            (kept, refused)
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await; // something to lose
        garage.kill();
        let error = store.put("away", Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(store.get("away").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.names(None, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.ready().await.unwrap_err().kind(), ErrorKind::Unavailable);
        let server = tokio::task::spawn_blocking(move || {
            garage.restart();
            garage
        });
        garage = server.await.unwrap();
        let back = Instant::now();
        while store.put("back", Bytes::new()).await.is_err() {
            assert!(back.elapsed() < Duration::from_secs(5), "not back after five seconds");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (mut kept, mut refused) = (0, 0);
    for (acknowledged, failed) in writers.join_all().await {
        refused += failed;
        for (name, n) in acknowledged {
            assert!(
                store.get(&name).await.unwrap() == Some(bytes(n, 3_000 + n)),
                "{name} was acknowledged and lost"
            );
            kept += 1;
        }
    }
    assert!(kept > 20 && refused > 0, "{kept} kept, {refused} refused: the kills hit nothing");
}

/// Whoever presents a wrong key is told so, and no part of it is ever shown.
#[tokio::test]
async fn credentials_are_never_shown() {
    let Some(garage) = Garage::start() else { return };
    let marker = "marker".repeat(8);
    let (key_id, _) = garage.key();
    let credentials = Credentials { key_id, secret: marker.clone(), token: Some(format!("token-{marker}")) };
    let shown = format!("{credentials:?}");
    let objects = Objects::open_with(&garage.url(), credentials.clone()).unwrap();
    let mut errors = vec![
        objects.put("a", Bytes::from_static(b"x")).await.unwrap_err(),
        objects.get("a").await.unwrap_err(),
        objects.delete("a").await.unwrap_err(),
        objects.names(None, 1).await.unwrap_err(),
        objects.ready().await.unwrap_err(),
    ];
    assert!(errors.iter().all(|e| e.kind() == ErrorKind::Unavailable), "{errors:?}");
    let nowhere = garage.url().replace("s3://beep", "s3://nowhere");
    let (key_id, secret) = garage.key();
    let right = Credentials { key_id, secret: secret.clone(), token: None };
    let nowhere = Objects::open_with(&nowhere, right).unwrap();
    for error in [nowhere.get("a").await.unwrap_err(), nowhere.put("a", Bytes::new()).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(!error.is_temporary() && error.message().contains("bucket"), "{error:?}");
        errors.push(error);
    }
    drop(garage);
    errors.push(objects.put("a", Bytes::new()).await.unwrap_err());
    for url in [
        format!("s3://{marker}:{marker}@beep"),
        format!("s3://beep?secret={marker}"),
        format!("s3://beep?{marker}"),
        format!("s3://beep?endpoint=http://{marker}@host"),
        format!("s3://beep?path_style={marker}"),
        format!("{marker}:x"),
    ] {
        let error = Objects::open_with(&url, credentials.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
        errors.push(error);
    }
    for text in errors.iter().map(|e| format!("{e:?} {e}")).chain([shown, format!("{objects:?}")]) {
        assert!(!text.contains("marker") && !text.contains(&secret), "{text}");
    }
}

/// As a server does it: from the variables that every S3 tool knows.
#[tokio::test]
async fn credentials_come_from_the_environment() {
    if let Ok(url) = std::env::var("BEEP_CHILD_S3") {
        let objects = Objects::open(&url).unwrap();
        objects.put("from-the-child", Bytes::from_static(b"hello")).await.unwrap();
        return;
    }
    let Some(garage) = Garage::start() else { return };
    let (key_id, secret) = garage.key();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "object_s3::credentials_come_from_the_environment", "--nocapture"])
        .env("BEEP_CHILD_S3", garage.url())
        .env("AWS_ACCESS_KEY_ID", key_id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env_remove("AWS_SESSION_TOKEN")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(bucket(&garage).get("from-the-child").await.unwrap().unwrap(), "hello");
}

#[tokio::test]
async fn a_bucket_without_room_is_full() {
    let Some(garage) = Garage::start() else { return };
    let store = bucket(&garage);
    store.put("before", bytes(1, 1_000)).await.unwrap();
    garage.tell(&["bucket", "set-quotas", "beep", "--max-size", "1MiB"]);
    let error = store.put("much", bytes(2, 2 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error:?}");
    assert!(store.get("before").await.unwrap().unwrap() == bytes(1, 1_000));
    garage.tell(&["bucket", "set-quotas", "beep", "--max-size", "none"]);
    store.put("much", bytes(2, 2 << 20)).await.unwrap();
}

/// A server that takes connections and never answers.
#[tokio::test]
async fn a_silent_server_is_given_up_in_ten_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("s3://beep?endpoint=http://127.0.0.1:{port}");
    let credentials = Credentials { key_id: "k".into(), secret: "s".into(), token: None };
    let objects = Objects::open_with(&url, credentials).unwrap();
    let began = Instant::now();
    let put = objects.put("a", Bytes::new());
    let (put, get, names) = tokio::join!(put, objects.get("a"), objects.names(None, 1));
    for error in [put.unwrap_err(), get.unwrap_err(), names.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

#[test]
fn plain_http_is_spoken_only_where_the_url_says_so() {
    let open = |url: &str| {
        Objects::open_with(url, Credentials { key_id: "k".into(), secret: "s".into(), token: None })
    };
    for bad in [
        "s3://",
        "s3:bucket",
        "s3://b",
        "s3://Bucket",
        "s3://buck_et",
        "s3://bucket//x",
        "s3://bucket/../x",
        "s3://bucket/a%20b",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://",
        "file:",
        "heed:/x",
        "s3://bucket?endpoint=http://h%2",
        "s3://bucket?region=%ff",
    ] {
        assert_eq!(open(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad}");
    }
    let debug =
        format!("{:?}", open("s3://bucket/a/b/?endpoint=https%3A%2F%2Fhost&path_style=false").unwrap());
    assert_eq!(debug, "Objects(s3://bucket/a/b/)");
}
