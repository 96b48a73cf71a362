//! `/readyz` says whether bites can be taken, and a search is no longer than somebody types.

use crate::common::{Fate, Faulty, Moody, Server, Setup, memory};
use async_trait::async_trait;
use beep_core::store::Role;
use beep_core::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Away while it is on.
#[derive(Debug, Default)]
struct Away(AtomicBool);

#[async_trait]
impl Fate for Away {
    async fn before(&self, _: &'static str) -> Result<()> {
        if self.0.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the disk is away"));
        }
        Ok(())
    }
}

/// A store that is away is 503 with the reason; the process lives on, and is ready when the store is back.
#[tokio::test]
async fn readyz_is_503_while_a_store_is_away() {
    let mut stores = memory().await;
    let directory = Moody::new(stores.directory.clone());
    stores.directory = directory.clone();
    let bites = Arc::new(Away::default());
    stores.bites = Faulty::new(stores.bites.clone(), bites.clone());
    let server = Server::start(Setup { stores: Some(stores), ..Setup::default() }).await;
    let ready = async || server.call("GET", "/readyz").send().await;
    assert_eq!(ready().await.expect(200).json()["status"], "ready");
    for (switch, reason) in [(&bites.0, "the disk is away"), (&directory.away, "the directory is away")] {
        switch.store(true, Ordering::SeqCst);
        for _ in 0..3 {
            let away = ready().await;
            assert_eq!(away.problem(503), "not_ready");
            assert_eq!(away.json()["detail"], reason);
            server.assert_alive().await;
        }
        assert_eq!(server.call("HEAD", "/readyz").send().await.status, 503);
        switch.store(false, Ordering::SeqCst);
        assert_eq!(ready().await.expect(200).json()["status"], "ready");
    }
}

/// The longest search text, in bytes, and one byte more: each word of it costs a look-up.
#[tokio::test]
async fn a_search_text_has_a_limit() {
    let server = Server::echoing().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    server.put(&alice, "c-crew", 1, crate::common::wav("word")).await.expect(201);
    server.settle().await;
    let search =
        async |q: &str| server.get(&bob, &format!("/transcription/search?q={}", q.replace(' ', "+"))).await;
    // Many words, one long word, and letters of two bytes (percent-encoded: each six bytes of the path).
    for (longest, one_more) in [
        (format!("{}word", "a ".repeat(2_046)), format!("{}word ", "a ".repeat(2_046))),
        ("x".repeat(4_096), "x".repeat(4_097)),
        ("%C3%BC".repeat(2_048), format!("{}a", "%C3%BC".repeat(2_048))),
    ] {
        search(&longest).await.expect(200);
        let refused = search(&one_more).await;
        assert_eq!(refused.problem(400), "malformed");
        assert!(refused.text().contains("4096 bytes"), "{}", refused.text());
        let within = format!("/transcription/search?conversation=c-crew&q={}", one_more.replace(' ', "+"));
        assert_eq!(server.get(&bob, &within).await.problem(400), "malformed");
    }
    assert_eq!(search("word").await.expect(200).json()["hits"].as_array().unwrap().len(), 1);
}
