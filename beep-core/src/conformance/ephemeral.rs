//! The guarantees of an [`Ephemeral`] store.

use super::run::{text, together};
use crate::ErrorKind;
use crate::clock::ManualClock;
use crate::store::Ephemeral;
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A store under test, and what makes time pass for it.
pub struct UnderTest {
    /// The store.
    pub store: Arc<dyn Ephemeral>,
    /// Lets this much time pass: moves a [`ManualClock`], or sleeps where the store has a clock of its own.
    pub pass: Pass,
}

/// Lets time pass.
pub type Pass = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl UnderTest {
    /// A store that asks this clock.
    pub fn with_clock(store: Arc<dyn Ephemeral>, clock: Arc<ManualClock>) -> Self {
        let pass: Pass = Box::new(move |by| {
            clock.advance(by.as_millis() as u64);
            Box::pin(async {})
        });
        Self { store, pass }
    }
}

/// Expands to one `#[tokio::test]` per guarantee of an [`Ephemeral`] store, on a fresh store each.
///
/// Takes the path of an `async fn() -> (UnderTest, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! ephemeral_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => ephemeral:
            a_value_is_there_until_its_end
            a_later_put_replaces_value_and_end
            put_new_succeeds_once
            of_many_takers_one_gets_it
            a_removed_value_is_gone
            a_counter_counts_every_call
            the_first_count_sets_the_end
            a_counter_reads_as_digits
            keys_are_listed_by_prefix
            a_key_that_is_none_is_refused
            many_ended_values_leave_nothing
        }
    };
}

const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3_600);

async fn get(test: &UnderTest, key: &str) -> Option<String> {
    test.store.get(key).await.expect("a read succeeds").map(|value| text(&value))
}

async fn put(test: &UnderTest, key: &str, value: &str, ttl: Duration) {
    test.store.put(key, Bytes::copy_from_slice(value.as_bytes()), ttl).await.expect("a put succeeds");
}

/// Not longer, for no reader.
pub async fn a_value_is_there_until_its_end(test: UnderTest) {
    put(&test, "a", "one", MINUTE).await;
    put(&test, "empty", "", MINUTE).await;
    (test.pass)(MINUTE - Duration::from_secs(1)).await;
    assert_eq!(
        (get(&test, "a").await.as_deref(), get(&test, "empty").await.as_deref()),
        (Some("one"), Some(""))
    );
    (test.pass)(Duration::from_secs(1)).await;
    assert_eq!(get(&test, "a").await, None);
    assert_eq!(test.store.take("a").await.expect("a take succeeds"), None);
    assert!(!test.store.remove("empty").await.expect("a removal succeeds"));
    assert_eq!(test.store.keys("", 10).await.expect("a list succeeds"), Vec::<String>::new());
}

/// Also when the earlier end comes first.
pub async fn a_later_put_replaces_value_and_end(test: UnderTest) {
    put(&test, "a", "one", MINUTE).await;
    put(&test, "a", "two", LONG).await;
    put(&test, "b", "one", LONG).await;
    put(&test, "b", "two", MINUTE).await;
    (test.pass)(MINUTE).await;
    put(&test, "c", "a write may sweep", LONG).await;
    assert_eq!((get(&test, "a").await.as_deref(), get(&test, "b").await), (Some("two"), None));
}

/// Until the value ended or was taken.
pub async fn put_new_succeeds_once(test: UnderTest) {
    let put_new = async |value: &'static str| {
        test.store.put_new("a", Bytes::from(value), MINUTE).await.expect("a put succeeds")
    };
    assert!(put_new("one").await);
    assert!(!put_new("two").await);
    assert_eq!(get(&test, "a").await.as_deref(), Some("one"));
    (test.pass)(MINUTE).await;
    assert!(put_new("three").await);
    test.store.take("a").await.expect("a take succeeds").expect("it is there");
    assert!(put_new("four").await);
    test.store.remove("a").await.expect("a removal succeeds");
    let racers = together((0..20).map(|_| test.store.put_new("a", Bytes::from("x"), MINUTE))).await;
    assert_eq!(racers.into_iter().filter(|won| matches!(won, Ok(true))).count(), 1);
}

/// A code can be spent once, however many try at the same time.
pub async fn of_many_takers_one_gets_it(test: UnderTest) {
    for round in 0..10 {
        put(&test, "code", &round.to_string(), MINUTE).await;
        let takers = together((0..20).map(|_| test.store.take("code"))).await;
        let got: Vec<_> = takers.into_iter().filter_map(|t| t.expect("a take succeeds")).collect();
        assert_eq!(got, [round.to_string()]);
    }
}

/// Whether it was there is told.
pub async fn a_removed_value_is_gone(test: UnderTest) {
    put(&test, "a", "one", MINUTE).await;
    assert!(test.store.remove("a").await.expect("a removal succeeds"));
    assert!(!test.store.remove("a").await.expect("a removal succeeds"));
    assert_eq!(get(&test, "a").await, None);
    test.store.count("n", MINUTE).await.expect("counting succeeds");
    assert!(test.store.remove("n").await.expect("a removal succeeds"));
    assert_eq!(test.store.count("n", MINUTE).await.expect("counting succeeds"), 1);
}

/// Each number is given once.
pub async fn a_counter_counts_every_call(test: UnderTest) {
    let counts = together((0..100).map(|_| test.store.count("n", MINUTE))).await;
    let mut counts: Vec<_> = counts.into_iter().map(|c| c.expect("counting succeeds")).collect();
    counts.sort_unstable();
    assert!(counts.iter().copied().eq(1..=100));
    assert_eq!(test.store.count("m", MINUTE).await.expect("counting succeeds"), 1);
}

/// Later counts do not prolong it: a limit of so many per hour really ends.
pub async fn the_first_count_sets_the_end(test: UnderTest) {
    let count = async |ttl| test.store.count("n", ttl).await.expect("counting succeeds");
    assert_eq!(count(MINUTE).await, 1);
    (test.pass)(MINUTE / 2).await;
    assert_eq!(count(LONG).await, 2);
    (test.pass)(MINUTE / 2).await;
    assert_eq!(count(MINUTE).await, 1);
}

/// As in Redis; and a value that is no number is not counted up.
pub async fn a_counter_reads_as_digits(test: UnderTest) {
    for _ in 0..12 {
        test.store.count("n", MINUTE).await.expect("counting succeeds");
    }
    assert_eq!(get(&test, "n").await.as_deref(), Some("12"));
    put(&test, "word", "twelve", MINUTE).await;
    assert_eq!(test.store.count("word", MINUTE).await.expect_err("no number").kind(), ErrorKind::Conflict);
    assert_eq!(get(&test, "word").await.as_deref(), Some("twelve"));
}

/// In order, at most so many, without those that ended.
pub async fn keys_are_listed_by_prefix(test: UnderTest) {
    for (key, ttl) in
        [("p:b", LONG), ("p:a", LONG), ("p:c", MINUTE), ("p", LONG), ("p;", LONG), ("q:a", LONG)]
    {
        put(&test, key, "x", ttl).await;
    }
    (test.pass)(MINUTE).await;
    let keys = async |prefix, limit| test.store.keys(prefix, limit).await.expect("a list succeeds");
    assert_eq!(keys("p:", 10).await, ["p:a", "p:b"]);
    assert_eq!(keys("p:", 1).await, ["p:a"]);
    assert_eq!(keys("", 10).await, ["p", "p:a", "p:b", "p;", "q:a"]);
    assert_eq!(keys("r", 10).await, Vec::<String>::new());
}

/// 1 to 256 bytes.
pub async fn a_key_that_is_none_is_refused(test: UnderTest) {
    for bad in ["", &"k".repeat(257)] {
        let errors = [
            test.store.put(bad, Bytes::new(), MINUTE).await.expect_err("put"),
            test.store.put_new(bad, Bytes::new(), MINUTE).await.expect_err("put_new"),
            test.store.get(bad).await.expect_err("get"),
            test.store.take(bad).await.expect_err("take"),
            test.store.remove(bad).await.expect_err("remove"),
            test.store.count(bad, MINUTE).await.expect_err("count"),
        ];
        assert!(errors.iter().all(|e| e.kind() == ErrorKind::Malformed), "{errors:?}");
    }
    put(&test, &"k".repeat(256), "fine", MINUTE).await;
    put(&test, "ключ", "fine", MINUTE).await;
    assert_eq!(get(&test, "ключ").await.as_deref(), Some("fine"));
}

/// Sweeping takes what ended and nothing else.
pub async fn many_ended_values_leave_nothing(test: UnderTest) {
    let keys: Vec<_> = (0..200).map(|n| format!("k{n:03}")).collect();
    together(keys.iter().map(|key| put(&test, key, "x", MINUTE))).await;
    together(keys[..50].iter().map(|key| put(&test, key, "y", LONG))).await;
    (test.pass)(MINUTE).await;
    for n in 0..50 {
        put(&test, &format!("new{n}"), "z", LONG).await;
    }
    assert_eq!(test.store.keys("k", 1_000).await.expect("a list succeeds"), keys[..50]);
    assert_eq!(test.store.keys("new", 1_000).await.expect("a list succeeds").len(), 50);
}
