//! The guarantees of a [`Directory`] about users, conversations and changes; members and sessions stand beside.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::run::together;
use crate::ErrorKind;
use crate::id::{ConversationId, UserId};
use crate::store::{
    Change, ConversationPatch, Directory, Member, NewConversation, NewUser, Role, User, UserPatch,
};
use std::sync::Arc;

/// The store under test.
pub type Store = Arc<dyn Directory>;

/// Expands to one `#[tokio::test]` per guarantee of a [`Directory`], on a fresh store each.
///
/// Takes the path of an `async fn() -> (Arc<dyn Directory>, Guard)`; the guard is kept until the check is over.
#[macro_export]
macro_rules! directory_suite {
    ($fresh:path) => {
        $crate::conformance_tests! { $fresh => directory:
            a_new_user_is_found_by_id_number_and_name
            user_names_are_compared_without_case
            what_is_taken_is_a_conflict_and_changes_nothing
            any_number_of_users_may_have_no_name
            a_patch_changes_only_what_it_names
            a_patch_to_a_taken_name_changes_nothing
            users_are_paged_in_id_order
            conversations_are_paged_in_id_order
            deleting_a_user_ends_memberships_and_contacts
            deleting_a_conversation_ends_its_memberships
            what_was_deleted_leaves_nothing_to_who_comes_next
            the_id_of_a_deleted_user_stays_deleted
            every_effective_change_is_in_changes
            changes_are_paged_in_commit_order
            of_many_claims_exactly_one_wins
            any_text_is_kept_exactly
        }
        $crate::conformance_tests! { $fresh => directory_members:
            the_creator_is_owner_and_first_member
            members_and_memberships_come_in_id_order
            a_role_can_be_changed
            doing_a_thing_twice_changes_nothing
            what_refers_to_the_unknown_is_not_found
            taking_away_what_is_not_there_changes_nothing
            a_pin_belongs_to_one_member
            last_heard_never_moves_back
            contacts_are_one_sided_and_in_id_order
        }
        $crate::conformance_tests! { $fresh => directory_sessions:
            sessions_come_in_device_order
            a_new_session_replaces_the_one_of_the_device
            a_taken_session_id_is_a_conflict_and_changes_nothing
            a_session_of_an_unknown_user_is_not_found
            the_good_token_renews
            of_many_renewals_exactly_one_wins
            a_used_token_ends_the_session
            what_is_over_is_unknown
            a_session_ends_once
            deleting_a_user_ends_their_sessions
            a_deleted_user_stands_as_deleted
            an_unknown_standing_is_the_default
            every_begun_or_ended_session_is_in_changes
        }
    };
}

pub(super) fn uid(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(super) fn cid(name: &str) -> ConversationId {
    ConversationId::parse(name).unwrap()
}

pub(super) fn new_user(id: &str) -> NewUser {
    NewUser {
        id: uid(id),
        username: None,
        first_name: "Ada".into(),
        last_name: "L".into(),
        phone_number: format!("+{id}"),
    }
}

fn named(id: &str, name: &str) -> NewUser {
    NewUser { username: Some(name.into()), ..new_user(id) }
}

pub(super) async fn add(store: &Store, ids: &[&str]) {
    for id in ids {
        store.create_user(new_user(id)).await.unwrap();
    }
}

pub(super) async fn converse(store: &Store, id: &str, owner: &str) {
    let new = NewConversation { id: cid(id), title: "t".into(), picture: String::new(), owner: uid(owner) };
    store.create_conversation(new).await.unwrap();
}

pub(super) fn kind<T: std::fmt::Debug>(result: crate::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// What changed behind `after`, in an order of its own: within one call the order is free.
pub(super) async fn changed(store: &Store, after: u64) -> Vec<String> {
    let mut all: Vec<String> =
        store.changes(after, 10_000).await.unwrap().into_iter().map(|e| format!("{:?}", e.change)).collect();
    all.sort();
    all
}

pub(super) fn debug(changes: &[Change]) -> Vec<String> {
    let mut all: Vec<String> = changes.iter().map(|c| format!("{c:?}")).collect();
    all.sort();
    all
}

/// A created user is there under each of its names, and nobody else is.
pub async fn a_new_user_is_found_by_id_number_and_name(store: Store) {
    let made = store.create_user(named("a", "Ada")).await.unwrap();
    let expected = User {
        id: uid("a"),
        username: Some("Ada".into()),
        bio: String::new(),
        profile_pic: String::new(),
        first_name: "Ada".into(),
        last_name: "L".into(),
        phone_number: "+a".into(),
    };
    assert_eq!(made, expected, "create_user answers what is stored");
    assert_eq!(store.user(&uid("a")).await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.user_by_phone("+a").await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.user_by_username("Ada").await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.user(&uid("A")).await.unwrap(), None, "ids are compared exactly");
    assert_eq!(store.user_by_phone("+A").await.unwrap(), None);
    assert_eq!(store.user_by_username("Ad").await.unwrap(), None);
    assert_eq!(store.user_by_username("").await.unwrap(), None);
    store.ready().await.unwrap();
}

/// `Zoë` and `zOË` are one name, for finding and for taking; what was written is what is shown.
pub async fn user_names_are_compared_without_case(store: Store) {
    store.create_user(named("a", "Zoë")).await.unwrap();
    assert_eq!(kind(store.create_user(named("b", "zOË")).await), ErrorKind::Conflict);
    let found = store.user_by_username("ZOË").await.unwrap().expect("found in another case");
    assert_eq!(found.username.as_deref(), Some("Zoë"));
    let patch = UserPatch { username: Some(Some("ZOË".into())), ..UserPatch::default() };
    let patched = store.patch_user(&uid("a"), patch).await.expect("one's own name in another case is free");
    assert_eq!(patched.username.as_deref(), Some("ZOË"));
}

/// A taken id, number or name is a conflict; afterwards everything is as before.
pub async fn what_is_taken_is_a_conflict_and_changes_nothing(store: Store) {
    store.create_user(named("a", "ada")).await.unwrap();
    converse(&store, "c", "a").await;
    let before = store.last_change().await.unwrap();
    let same_id = NewUser { phone_number: "+1".into(), ..new_user("a") };
    let same_number = NewUser { phone_number: "+a".into(), ..new_user("b") };
    assert_eq!(kind(store.create_user(same_id).await), ErrorKind::Conflict);
    assert_eq!(kind(store.create_user(same_number).await), ErrorKind::Conflict);
    assert_eq!(kind(store.create_user(named("b", "ada")).await), ErrorKind::Conflict);
    let again =
        NewConversation { id: cid("c"), title: "other".into(), picture: String::new(), owner: uid("a") };
    assert_eq!(kind(store.create_conversation(again).await), ErrorKind::Conflict);
    assert_eq!(store.user(&uid("b")).await.unwrap(), None);
    assert_eq!(store.user_by_phone("+1").await.unwrap(), None);
    assert_eq!(store.users(None, 10).await.unwrap().len(), 1);
    assert_eq!(store.conversation(&cid("c")).await.unwrap().unwrap().title, "t");
    assert_eq!(store.last_change().await.unwrap(), before, "what failed is no change");
}

/// People known only by number have no name, and no name is nobody's: neither `None` nor an empty one is unique.
pub async fn any_number_of_users_may_have_no_name(store: Store) {
    for i in 0..20 {
        let username = [None, Some(String::new()), Some(" ".into())][i % 3].clone();
        let made = store.create_user(NewUser { username, ..new_user(&format!("u{i}")) }).await.unwrap();
        assert_eq!(made.username, None, "an empty name is none");
    }
    let patch = UserPatch { username: Some(Some(String::new())), ..UserPatch::default() };
    assert_eq!(store.patch_user(&uid("u0"), patch).await.unwrap().username, None);
    assert_eq!(store.user_by_username("").await.unwrap(), None);
}

/// A patch leaves alone what it does not name, for users and conversations.
pub async fn a_patch_changes_only_what_it_names(store: Store) {
    let mut user = store.create_user(named("a", "ada")).await.unwrap();
    let patch = UserPatch { bio: Some("b".into()), profile_pic: Some("p".into()), ..UserPatch::default() };
    user = User { bio: "b".into(), profile_pic: "p".into(), ..user };
    assert_eq!(store.patch_user(&uid("a"), patch).await.unwrap(), user);
    let patch =
        UserPatch { first_name: Some("F".into()), last_name: Some(String::new()), ..UserPatch::default() };
    user = User { first_name: "F".into(), last_name: String::new(), ..user };
    assert_eq!(store.patch_user(&uid("a"), patch).await.unwrap(), user);
    let patch = UserPatch { username: Some(None), ..UserPatch::default() };
    user = User { username: None, ..user };
    assert_eq!(store.patch_user(&uid("a"), patch).await.unwrap(), user);
    assert_eq!(store.user(&uid("a")).await.unwrap(), Some(user));
    assert_eq!(store.user_by_username("ada").await.unwrap(), None, "a name that was given up finds nobody");

    converse(&store, "c", "a").await;
    let patch = ConversationPatch { picture: Some("p".into()), ..ConversationPatch::default() };
    store.patch_conversation(&cid("c"), patch).await.unwrap();
    let patch = ConversationPatch { title: Some("new".into()), ..ConversationPatch::default() };
    let patched = store.patch_conversation(&cid("c"), patch).await.unwrap();
    assert_eq!((patched.title.as_str(), patched.picture.as_str()), ("new", "p"));
    assert_eq!(store.conversation(&cid("c")).await.unwrap(), Some(patched));
}

/// A patch is all or nothing.
pub async fn a_patch_to_a_taken_name_changes_nothing(store: Store) {
    store.create_user(named("a", "ada")).await.unwrap();
    let before = store.create_user(named("b", "bob")).await.unwrap();
    let patch =
        UserPatch { username: Some(Some("ADA".into())), bio: Some("lost".into()), ..UserPatch::default() };
    assert_eq!(kind(store.patch_user(&uid("b"), patch).await), ErrorKind::Conflict);
    assert_eq!(store.user(&uid("b")).await.unwrap(), Some(before));
}

/// Pages of users follow each other in id order without gap or overlap.
pub async fn users_are_paged_in_id_order(store: Store) {
    add(&store, &["d", "b", "a", "e", "c", "B", "10", "9"]).await;
    let mut seen: Vec<UserId> = Vec::new();
    loop {
        let page = store.users(seen.last(), 3).await.unwrap();
        assert!(page.len() <= 3, "a page keeps to its limit");
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|u| u.id));
    }
    assert_eq!(seen, ["10", "9", "B", "a", "b", "c", "d", "e"].map(uid));
    assert_eq!(store.users(Some(&uid("bb")), 1).await.unwrap()[0].id, uid("c"), "`after` need not be there");
}

/// Pages of conversations follow each other in id order without gap or overlap.
pub async fn conversations_are_paged_in_id_order(store: Store) {
    add(&store, &["a"]).await;
    for id in ["z", "x", "y", "X"] {
        converse(&store, id, "a").await;
    }
    let first = store.conversations(None, 3).await.unwrap();
    assert_eq!(first.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["X", "x", "y"]);
    let rest = store.conversations(Some(&first[2].id), 3).await.unwrap();
    assert_eq!(rest.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["z"]);
}

/// A deleted user is in no conversation, nobody's contact, and has none.
pub async fn deleting_a_user_ends_memberships_and_contacts(store: Store) {
    add(&store, &["a", "b", "o"]).await;
    for id in ["c", "d"] {
        converse(&store, id, "o").await;
        store.put_member(&cid(id), &uid("a"), Role::Member).await.unwrap();
    }
    for (owner, contact) in [("a", "b"), ("b", "a"), ("o", "a"), ("o", "b"), ("a", "a")] {
        store.put_contact(&uid(owner), &uid(contact)).await.unwrap();
    }
    let before = store.last_change().await.unwrap();
    assert!(store.delete_user(&uid("a")).await.unwrap());
    let expected = debug(&[
        Change::User(uid("a")),
        Change::Member(cid("c"), uid("a")),
        Change::Member(cid("d"), uid("a")),
        Change::Contact(uid("a"), uid("b")),
        Change::Contact(uid("b"), uid("a")),
        Change::Contact(uid("o"), uid("a")),
        Change::Contact(uid("a"), uid("a")),
    ]);
    assert_eq!(changed(&store, before).await, expected, "each ended membership and contact is told once");
    assert_eq!(store.role(&cid("c"), &uid("a")).await.unwrap(), None);
    assert!(store.memberships(&uid("a")).await.unwrap().is_empty());
    assert_eq!(store.members(&cid("c")).await.unwrap().len(), 1);
    assert!(store.contacts(&uid("b")).await.unwrap().is_empty());
    assert_eq!(store.contacts(&uid("o")).await.unwrap().len(), 1);
    assert!(store.contacts(&uid("a")).await.unwrap().is_empty());
}

/// A deleted conversation has no members, and those members lose only this one.
pub async fn deleting_a_conversation_ends_its_memberships(store: Store) {
    add(&store, &["a", "b"]).await;
    converse(&store, "c", "a").await;
    converse(&store, "d", "a").await;
    store.put_member(&cid("c"), &uid("b"), Role::Member).await.unwrap();
    let before = store.last_change().await.unwrap();
    assert!(store.delete_conversation(&cid("c")).await.unwrap());
    let expected = debug(&[
        Change::Conversation(cid("c")),
        Change::Member(cid("c"), uid("a")),
        Change::Member(cid("c"), uid("b")),
    ]);
    assert_eq!(changed(&store, before).await, expected);
    assert_eq!(store.role(&cid("c"), &uid("a")).await.unwrap(), None);
    assert!(store.members(&cid("c")).await.unwrap().is_empty());
    assert_eq!(store.memberships(&uid("a")).await.unwrap().len(), 1);
    assert!(store.memberships(&uid("b")).await.unwrap().is_empty());
}

/// Number and name of somebody who went are free, and so is the id of a conversation; nothing of the old one comes back
/// with them.
pub async fn what_was_deleted_leaves_nothing_to_who_comes_next(store: Store) {
    add(&store, &["o"]).await;
    store.create_user(named("a", "ada")).await.unwrap();
    converse(&store, "c", "o").await;
    store.put_member(&cid("c"), &uid("a"), Role::Member).await.unwrap();
    store.put_contact(&uid("o"), &uid("a")).await.unwrap();
    store.delete_user(&uid("a")).await.unwrap();
    let heir = NewUser { phone_number: "+a".into(), ..named("b", "ada") };
    store.create_user(heir).await.unwrap();
    assert_eq!(store.user_by_phone("+a").await.unwrap().map(|u| u.id), Some(uid("b")));
    assert_eq!(store.user_by_username("ada").await.unwrap().map(|u| u.id), Some(uid("b")));
    assert_eq!(store.role(&cid("c"), &uid("b")).await.unwrap(), None);
    assert!(store.contacts(&uid("o")).await.unwrap().is_empty());
    store.delete_conversation(&cid("c")).await.unwrap();
    converse(&store, "c", "b").await;
    assert_eq!(store.members(&cid("c")).await.unwrap(), [Member { user: uid("b"), role: Role::Owner }]);
}

/// Nobody becomes a deleted user by their id, whatever number and name they bring.
pub async fn the_id_of_a_deleted_user_stays_deleted(store: Store) {
    add(&store, &["a", "b"]).await;
    store.delete_user(&uid("a")).await.unwrap();
    let before = store.last_change().await.unwrap();
    for new in [new_user("a"), NewUser { phone_number: "+1".into(), ..named("a", "new") }] {
        assert_eq!(kind(store.create_user(new).await), ErrorKind::Conflict);
    }
    assert_eq!(store.user(&uid("a")).await.unwrap(), None);
    assert_eq!(store.user_by_phone("+1").await.unwrap(), None);
    assert_eq!(store.last_change().await.unwrap(), before);
}

/// Each call that changes something leaves exactly its changes, at once.
pub async fn every_effective_change_is_in_changes(store: Store) {
    let mut seen = store.last_change().await.unwrap();
    assert_eq!(seen, 0, "a new store has no changes");
    macro_rules! tells {
        ($call:expr, $($change:expr),+) => {
            $call.await.unwrap();
            assert_eq!(changed(&store, seen).await, debug(&[$($change),+]), "after {}", stringify!($call));
            seen = store.last_change().await.unwrap();
        };
    }
    let (a, b, c) = (uid("a"), uid("b"), cid("c"));
    tells!(store.create_user(new_user("a")), Change::User(a.clone()));
    tells!(store.create_user(new_user("b")), Change::User(b.clone()));
    let new = NewConversation { id: c.clone(), title: "t".into(), picture: String::new(), owner: a.clone() };
    let made = [Change::Conversation(c.clone()), Change::Member(c.clone(), a.clone())];
    tells!(store.create_conversation(new), made[0].clone(), made[1].clone());
    tells!(store.put_member(&c, &b, Role::Listener), Change::Member(c.clone(), b.clone()));
    tells!(store.put_member(&c, &b, Role::Admin), Change::Member(c.clone(), b.clone()));
    tells!(store.set_pinned(&c, &b, true), Change::Member(c.clone(), b.clone()));
    tells!(store.remove_member(&c, &b), Change::Member(c.clone(), b.clone()));
    tells!(store.put_contact(&a, &b), Change::Contact(a.clone(), b.clone()));
    tells!(store.remove_contact(&a, &b), Change::Contact(a.clone(), b.clone()));
    let patch = UserPatch { bio: Some("b".into()), ..UserPatch::default() };
    tells!(store.patch_user(&a, patch), Change::User(a.clone()));
    let patch = ConversationPatch { title: Some("n".into()), ..ConversationPatch::default() };
    tells!(store.patch_conversation(&c, patch), Change::Conversation(c.clone()));
    tells!(store.delete_conversation(&c), made[0].clone(), made[1].clone());
    tells!(store.delete_user(&a), Change::User(a.clone()));
    assert!(store.changes(seen, 10).await.unwrap().is_empty());
}

/// Reading page by page gives every change once, in ascending order, whatever the page size.
pub async fn changes_are_paged_in_commit_order(store: Store) {
    let ids: Vec<String> = (0..25).map(|i| format!("u{i}")).collect();
    for id in &ids {
        store.create_user(new_user(id)).await.unwrap();
    }
    for size in [1, 7, 100] {
        let mut seen = Vec::new();
        let mut after = 0;
        loop {
            let page = store.changes(after, size).await.unwrap();
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            assert!(page[0].seq > after && page.windows(2).all(|w| w[0].seq < w[1].seq), "positions ascend");
            after = last.seq;
            seen.extend(page.into_iter().map(|e| e.change));
        }
        assert_eq!(seen, ids.iter().map(|id| Change::User(uid(id))).collect::<Vec<_>>());
        assert_eq!(after, store.last_change().await.unwrap());
    }
}

/// Of many calls at once that claim the same number, one succeeds and the others are conflicts.
pub async fn of_many_claims_exactly_one_wins(store: Store) {
    let claims =
        (0..30).map(|i| {
            let store = store.clone();
            async move {
                store.create_user(NewUser { phone_number: "+1".into(), ..new_user(&format!("u{i}")) }).await
            }
        });
    let results = together(claims).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert!(results.iter().all(|r| r.as_ref().map_or_else(|e| e.kind() == ErrorKind::Conflict, |_| true)));
    assert_eq!(store.users(None, 100).await.unwrap().len(), 1);
    assert_eq!(store.last_change().await.unwrap(), 1);
}

/// Text comes back exactly, whatever is in it.
pub async fn any_text_is_kept_exactly(store: Store) {
    let texts = ["'; DROP TABLE users; --", "\"%_\\", "", " ", "a\0b", "\u{1F600}\u{202E}é\u{301}", "\r\n\t"];
    for (i, text) in
        texts.iter().map(|t| (*t).to_owned()).chain([String::from("long ").repeat(20_000)]).enumerate()
    {
        let id = format!("u{i}");
        let new = NewUser {
            first_name: text.clone(),
            last_name: text.clone(),
            phone_number: format!("{i}{text}"),
            ..new_user(&id)
        };
        store.create_user(new).await.unwrap();
        let patch =
            UserPatch { bio: Some(text.clone()), profile_pic: Some(text.clone()), ..UserPatch::default() };
        store.patch_user(&uid(&id), patch).await.unwrap();
        let user = store.user_by_phone(&format!("{i}{text}")).await.unwrap().expect("found by its number");
        for kept in [&user.first_name, &user.last_name, &user.bio, &user.profile_pic] {
            assert!(*kept == text, "{kept:?} is not {text:?}");
        }
    }
}
