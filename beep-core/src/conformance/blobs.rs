//! The guarantees of a [`BlobStore`].

use super::run::together;
use crate::ErrorKind;
use crate::id::UserId;
use crate::store::{Blob, BlobStore, NewBlob};
use bytes::Bytes;
use std::sync::Arc;

/// The store under test.
pub type Store = Arc<dyn BlobStore>;

/// Expands to one `#[tokio::test]` per guarantee of a [`BlobStore`], on a fresh store each.
///
/// Takes the path of an `async fn() -> (Arc<dyn BlobStore>, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! blob_store_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => blobs:
            a_file_comes_back_bit_exact
            a_file_is_never_overwritten
            of_many_at_once_one_gets_the_name
            a_deleted_file_is_gone
            files_are_listed_by_owner
            a_name_that_is_none_is_refused
        }
    };
}

fn owner(id: &str) -> UserId {
    id.parse().expect("a user")
}

fn file(name: &str, body: &[u8]) -> NewBlob {
    NewBlob {
        name: name.into(),
        owner: owner("u-1"),
        media_type: "image/png".into(),
        received: 7,
        body: Bytes::copy_from_slice(body),
    }
}

async fn get(store: &Store, name: &str) -> Option<Blob> {
    store.get(name).await.expect("a read succeeds")
}

/// Whatever its size.
pub async fn a_file_comes_back_bit_exact(store: Store) {
    for size in [0usize, 1, 4_096, 262_145, 2 << 20] {
        let name = format!("{size}.png");
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        assert!(store.put(file(&name, &body)).await.expect("storing succeeds"));
        let blob = get(&store, &name).await.expect("it was stored");
        assert_eq!((blob.owner, blob.media_type.as_str(), blob.received), (owner("u-1"), "image/png", 7));
        assert!(blob.body == body, "a file of {size} bytes came back changed");
    }
    assert_eq!(get(&store, "other").await, None);
}

/// The same again is no news, other bytes are a conflict, and the first stays.
pub async fn a_file_is_never_overwritten(store: Store) {
    assert!(store.put(file("a", b"first")).await.expect("storing succeeds"));
    assert!(!store.put(file("a", b"first")).await.expect("repeating succeeds"));
    let error = store.put(file("a", b"other")).await.expect_err("a taken name was overwritten");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(get(&store, "a").await.expect("it is still there").body, "first");
}

/// Exactly one of several writers with different bytes succeeds.
pub async fn of_many_at_once_one_gets_the_name(store: Store) {
    let bodies: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let done = together(bodies.iter().map(|body| store.put(file("a", body.as_bytes())))).await;
    let winners: Vec<_> = done.iter().zip(&bodies).filter(|(done, _)| done.is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(get(&store, "a").await.expect("it was stored").body, winners[0].1);
}

/// From the list of its owner too, and its name is free.
pub async fn a_deleted_file_is_gone(store: Store) {
    store.put(file("a", b"x")).await.expect("storing succeeds");
    assert!(store.delete("a").await.expect("deleting succeeds"));
    assert!(!store.delete("a").await.expect("deleting nothing succeeds"));
    assert_eq!(get(&store, "a").await, None);
    assert_eq!(store.owned_by(&owner("u-1")).await.expect("a list succeeds"), Vec::<String>::new());
    assert!(store.put(file("a", b"y")).await.expect("storing succeeds"));
}

/// In order, and nobody else's.
pub async fn files_are_listed_by_owner(store: Store) {
    for name in ["c.png", "a.png", "b_b", "b-b"] {
        store.put(file(name, b"x")).await.expect("storing succeeds");
        let other = NewBlob { owner: owner("u-10"), ..file(&format!("of-10-{name}"), b"x") };
        store.put(other).await.expect("storing succeeds");
    }
    let names = store.owned_by(&owner("u-1")).await.expect("a list succeeds");
    assert_eq!(names, ["a.png", "b-b", "b_b", "c.png"]);
    assert_eq!(store.owned_by(&owner("u-")).await.expect("a list succeeds"), Vec::<String>::new());
}

/// By every method, before anything happens.
pub async fn a_name_that_is_none_is_refused(store: Store) {
    for bad in ["", "a/b", "../a", "a b", "ä", "a\0", &"a".repeat(129)] {
        let errors = [
            store.put(file(bad, b"x")).await.expect_err("put"),
            store.get(bad).await.expect_err("get"),
            store.delete(bad).await.expect_err("delete"),
        ];
        assert!(errors.iter().all(|e| e.kind() == ErrorKind::Malformed), "{bad:?}: {errors:?}");
    }
    for good in ["a", "-", "..", &"a".repeat(128)] {
        store.put(file(good, b"x")).await.expect("a name of 1 to 128 such characters is fine");
    }
}
