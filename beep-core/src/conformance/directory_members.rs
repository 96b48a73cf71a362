//! The guarantees of a [`crate::store::Directory`] about members, contacts, pins and how far each has listened.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::directory::{Store, add, cid, converse, kind, uid};
use crate::ErrorKind;
use crate::store::{ConversationPatch, Member, Membership, NewConversation, Role, UserPatch};

/// Creating a conversation makes its first member in the same step.
pub async fn the_creator_is_owner_and_first_member(store: Store) {
    add(&store, &["a"]).await;
    converse(&store, "c", "a").await;
    assert_eq!(store.members(&cid("c")).await.unwrap(), [Member { user: uid("a"), role: Role::Owner }]);
    assert_eq!(store.role(&cid("c"), &uid("a")).await.unwrap(), Some(Role::Owner));
    let own = store.memberships(&uid("a")).await.unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].role, own[0].pinned, own[0].last_heard), (Role::Owner, false, 0));
    assert_eq!(own[0].conversation, store.conversation(&cid("c")).await.unwrap().unwrap());
}

/// Members come in user order, memberships in conversation order, whatever order they were made in.
pub async fn members_and_memberships_come_in_id_order(store: Store) {
    add(&store, &["o", "c", "a", "b"]).await;
    for id in ["z", "x", "y"] {
        converse(&store, id, "o").await;
        for user in ["c", "a"] {
            store.put_member(&cid(id), &uid(user), Role::Listener).await.unwrap();
        }
    }
    let members: Vec<_> = store.members(&cid("x")).await.unwrap().into_iter().map(|m| m.user).collect();
    assert_eq!(members, ["a", "c", "o"].map(uid));
    let own: Vec<_> =
        store.memberships(&uid("a")).await.unwrap().into_iter().map(|m| m.conversation.id).collect();
    assert_eq!(own, ["x", "y", "z"].map(cid));
    assert!(store.members(&cid("none")).await.unwrap().is_empty());
    assert!(store.memberships(&uid("b")).await.unwrap().is_empty());
    assert!(store.memberships(&uid("none")).await.unwrap().is_empty());
    assert_eq!(store.role(&cid("x"), &uid("b")).await.unwrap(), None);
    assert_eq!(store.role(&cid("none"), &uid("a")).await.unwrap(), None);
    assert_eq!(store.role(&cid("x"), &uid("none")).await.unwrap(), None);
}

/// Putting a member again with another role changes the role and nothing else.
pub async fn a_role_can_be_changed(store: Store) {
    add(&store, &["o", "a"]).await;
    converse(&store, "c", "o").await;
    store.put_member(&cid("c"), &uid("a"), Role::Member).await.unwrap();
    store.set_pinned(&cid("c"), &uid("a"), true).await.unwrap();
    store.set_last_heard(&cid("c"), &uid("a"), 7).await.unwrap();
    for role in [Role::Admin, Role::Owner, Role::Listener] {
        store.put_member(&cid("c"), &uid("a"), role).await.unwrap();
        assert_eq!(store.role(&cid("c"), &uid("a")).await.unwrap(), Some(role));
        let own = &store.memberships(&uid("a")).await.unwrap()[0];
        assert_eq!((own.role, own.pinned, own.last_heard), (role, true, 7));
    }
    assert_eq!(store.members(&cid("c")).await.unwrap().len(), 2);
}

/// Adding a member or contact again, pinning again, patching to what is there: no error, no change.
pub async fn doing_a_thing_twice_changes_nothing(store: Store) {
    add(&store, &["o", "a"]).await;
    converse(&store, "c", "o").await;
    let mut after_first = 0;
    for round in 0..2 {
        store.put_member(&cid("c"), &uid("a"), Role::Member).await.unwrap();
        store.put_contact(&uid("o"), &uid("a")).await.unwrap();
        store.set_pinned(&cid("c"), &uid("a"), true).await.unwrap();
        store.set_last_heard(&cid("c"), &uid("a"), 5).await.unwrap();
        let patch = UserPatch { bio: Some("b".into()), ..UserPatch::default() };
        store.patch_user(&uid("a"), patch).await.unwrap();
        let patch = ConversationPatch { title: Some("n".into()), ..ConversationPatch::default() };
        store.patch_conversation(&cid("c"), patch).await.unwrap();
        if round == 0 {
            after_first = store.last_change().await.unwrap();
        }
    }
    assert_eq!(store.last_change().await.unwrap(), after_first, "the second time is no change");
    assert_eq!(store.members(&cid("c")).await.unwrap().len(), 2);
    assert_eq!(store.contacts(&uid("o")).await.unwrap().len(), 1);
}

/// Whatever names an unknown user or conversation is not found, and leaves nothing behind.
pub async fn what_refers_to_the_unknown_is_not_found(store: Store) {
    add(&store, &["a", "b"]).await;
    converse(&store, "c", "a").await;
    let before = store.last_change().await.unwrap();
    let (a, b, nobody, c, nowhere) = (uid("a"), uid("b"), uid("x"), cid("c"), cid("x"));
    let orphan =
        NewConversation { id: cid("d"), title: "t".into(), picture: String::new(), owner: nobody.clone() };
    let not_found = [
        store.create_conversation(orphan).await.map(|_| ()),
        store
            .patch_user(&nobody, UserPatch { bio: Some("b".into()), ..UserPatch::default() })
            .await
            .map(|_| ()),
        store.patch_conversation(&nowhere, ConversationPatch::default()).await.map(|_| ()),
        store.put_member(&nowhere, &a, Role::Member).await,
        store.put_member(&c, &nobody, Role::Member).await,
        store.set_pinned(&c, &b, true).await,
        store.set_pinned(&nowhere, &a, true).await,
        store.set_pinned(&c, &nobody, false).await,
        store.set_last_heard(&c, &b, 1).await,
        store.set_last_heard(&c, &nobody, 1).await,
        store.put_contact(&a, &nobody).await,
        store.put_contact(&nobody, &a).await,
    ];
    for (i, result) in not_found.into_iter().enumerate() {
        assert_eq!(kind(result), ErrorKind::NotFound, "call {i}");
    }
    assert_eq!(
        store.conversation(&cid("d")).await.unwrap(),
        None,
        "a conversation without owner is not made"
    );
    assert_eq!(store.last_change().await.unwrap(), before);
}

/// Deleting or ending what is not there answers `false`, changes nothing and leaves others alone.
pub async fn taking_away_what_is_not_there_changes_nothing(store: Store) {
    add(&store, &["a", "b"]).await;
    converse(&store, "c", "a").await;
    store.put_contact(&uid("a"), &uid("b")).await.unwrap();
    let before = store.last_change().await.unwrap();
    assert!(!store.delete_user(&uid("x")).await.unwrap());
    assert!(!store.delete_conversation(&cid("x")).await.unwrap());
    assert!(!store.remove_member(&cid("c"), &uid("b")).await.unwrap());
    assert!(!store.remove_member(&cid("x"), &uid("a")).await.unwrap());
    assert!(!store.remove_contact(&uid("b"), &uid("a")).await.unwrap());
    assert!(!store.remove_contact(&uid("x"), &uid("a")).await.unwrap());
    assert_eq!(store.last_change().await.unwrap(), before);
    assert!(store.remove_member(&cid("c"), &uid("a")).await.unwrap());
    assert!(!store.remove_member(&cid("c"), &uid("a")).await.unwrap());
    assert!(store.remove_contact(&uid("a"), &uid("b")).await.unwrap());
    assert!(!store.remove_contact(&uid("a"), &uid("b")).await.unwrap());
    assert!(store.members(&cid("c")).await.unwrap().is_empty());
    assert!(store.conversation(&cid("c")).await.unwrap().is_some(), "an empty conversation stays");
}

/// One member's pin is nobody else's.
pub async fn a_pin_belongs_to_one_member(store: Store) {
    add(&store, &["a", "b"]).await;
    converse(&store, "c", "a").await;
    converse(&store, "d", "a").await;
    store.put_member(&cid("c"), &uid("b"), Role::Member).await.unwrap();
    store.set_pinned(&cid("c"), &uid("a"), true).await.unwrap();
    let pins = |own: Vec<Membership>| own.into_iter().map(|m| m.pinned).collect::<Vec<_>>();
    assert_eq!(pins(store.memberships(&uid("a")).await.unwrap()), [true, false]);
    assert_eq!(pins(store.memberships(&uid("b")).await.unwrap()), [false]);
    store.set_pinned(&cid("c"), &uid("a"), false).await.unwrap();
    assert_eq!(pins(store.memberships(&uid("a")).await.unwrap()), [false, false]);
}

/// Over the whole range of a `u64`: only forward, and only for this member.
pub async fn last_heard_never_moves_back(store: Store) {
    add(&store, &["a", "b"]).await;
    converse(&store, "c", "a").await;
    store.put_member(&cid("c"), &uid("b"), Role::Member).await.unwrap();
    for (set, stands) in
        [(5, 5), (4, 5), (1 << 62, 1 << 62), (1 << 63, 1 << 63), (6, 1 << 63), (u64::MAX, u64::MAX)]
    {
        store.set_last_heard(&cid("c"), &uid("a"), set).await.unwrap();
        assert_eq!(store.memberships(&uid("a")).await.unwrap()[0].last_heard, stands, "after setting {set}");
    }
    assert_eq!(store.memberships(&uid("b")).await.unwrap()[0].last_heard, 0);
}

/// Who is my contact need not have me as theirs.
pub async fn contacts_are_one_sided_and_in_id_order(store: Store) {
    add(&store, &["a", "d", "b", "c"]).await;
    for contact in ["d", "b", "c"] {
        store.put_contact(&uid("a"), &uid(contact)).await.unwrap();
    }
    let ids: Vec<_> = store.contacts(&uid("a")).await.unwrap().into_iter().map(|u| u.id).collect();
    assert_eq!(ids, ["b", "c", "d"].map(uid));
    assert!(store.contacts(&uid("b")).await.unwrap().is_empty());
    assert!(store.contacts(&uid("x")).await.unwrap().is_empty());
    let first = store.contacts(&uid("a")).await.unwrap().remove(0);
    assert_eq!(Some(first), store.user(&uid("b")).await.unwrap(), "a contact is the whole user");
}
