//! The streams of changes when the directory no longer keeps what a server has not read: all readers are sent back to
//! their lists, and what changes from then on is told.

use crate::common::{Moody, Server, Setup, conversation, eventually, memory};
use crate::http_changes::Stream;
use beep_core::store::{ConversationPatch, Role};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn readers_are_sent_back_when_changes_are_no_longer_kept() {
    let mut stores = memory().await;
    let directory = Moody::new(stores.directory.clone());
    stores.directory = directory.clone();
    let server = Server::start(Setup { stores: Some(stores), ..Setup::default() }).await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    let belows = ["", "/contact", "/conversation", "/conversation/c-crew/member"];
    for round in 0..5 {
        let mut streams = Vec::new();
        for below in belows {
            streams.push(Stream::open(&server, &alice, below).await);
        }
        // What comes next is forgotten before anybody could read it.
        let last = server.stores.directory.last_change().await.unwrap();
        directory.kept_from.store(last + 2, Ordering::SeqCst);
        let title = format!("unseen {round}");
        let patch = ConversationPatch { title: Some(title.clone()), ..ConversationPatch::default() };
        server.stores.directory.patch_conversation(&conversation("c-crew"), patch).await.unwrap();
        for (stream, below) in streams.iter_mut().zip(belows) {
            assert_eq!(stream.rest().await, [], "{below} is told nothing, and ends");
        }
        // Whoever comes back finds it in the list, and hears of what changes then, each once.
        let mut conversations = Stream::open(&server, &alice, "/conversation").await;
        let mut users = Stream::open(&server, &alice, "").await;
        let mut members = Stream::open(&server, &alice, "/conversation/c-crew/member").await;
        let listed = server.get(&alice, "/core/user/conversation/c-crew").await.expect(200).json();
        assert_eq!(listed["title"], title);
        let path = "/core/user/conversation/c-crew";
        server.ask(&alice, "PATCH", path, json!({"title": "seen"})).await.expect(200);
        assert_eq!(conversations.expect("update", "c-crew").await["title"], "seen");
        server.ask(&bob, "PATCH", "/core/user", json!({"bio": title})).await.expect(200);
        for stream in [&mut users, &mut members] {
            assert_eq!(stream.expect("update", "u-bob").await["bio"], title);
        }
    }
}

/// Nor does the gate go by what it remembers from before the gap: whoever was removed in it is out.
#[tokio::test]
async fn a_removal_among_changes_that_are_no_longer_kept_counts() {
    let mut stores = memory().await;
    let directory = Moody::new(stores.directory.clone());
    stores.directory = directory.clone();
    let server = Server::start(Setup { stores: Some(stores), ..Setup::default() }).await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    server.get(&bob, "/bite/conversation/c-crew/scan").await.expect(200);
    let last = server.stores.directory.last_change().await.unwrap();
    directory.kept_from.store(last + 2, Ordering::SeqCst);
    let crew = conversation("c-crew");
    assert!(server.stores.directory.remove_member(&crew, &bob.identity.user).await.unwrap());
    eventually("bob is out", Duration::from_millis(1_000), async || {
        server.get(&bob, "/bite/conversation/c-crew/scan").await.status == 403
    })
    .await;
    server.get(&alice, "/bite/conversation/c-crew/scan").await.expect(200);
}
