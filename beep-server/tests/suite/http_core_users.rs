//! Accounts: made by operators, found, changed in part, erased; and the number that strangers never see (B7, B8, D12, D14).

use crate::common::{Echo, Person, Server, Setup, conversation, memory, wav};
use async_trait::async_trait;
use beep_core::Result;
use beep_core::auth::Scope;
use beep_core::bite::Label;
use beep_core::id::UserId;
use beep_core::store::{
    BiteStoreExt, Blob, BlobStore, Capability, NewBlob, NewUser, Role, SearchQuery, UserPatch,
};
use beep_core::{Error, ErrorKind};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The path of a look-up by number, escaped as a client would.
fn by_number(number: &str) -> String {
    format!("/core/user?phone_number={}", number.replace('+', "%2B").replace(' ', "%20"))
}

async fn admin(server: &Server) -> Person {
    let admin = server.person("admin").await;
    server.scoped(&admin, Scope::Admin)
}

/// The fields of a user object, all of them and no other.
#[track_caller]
fn assert_shape(user: &Value) {
    let fields: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["bio", "first_name", "id", "last_name", "phone_number", "profile_pic", "username"];
    assert_eq!(fields.len(), all.len(), "{fields:?}");
    assert!(all.iter().all(|field| fields.contains(field)), "{fields:?}");
}

#[tokio::test]
async fn create_user_is_for_operators_only() {
    let server = Server::plain().await;
    let (admin, bob) = (admin(&server).await, server.person("bob").await);
    let body = json!({"phone_number": "+65 8123 4567", "first_name": "Ann", "last_name": "Lee"});
    for denied in [&bob, &server.scoped(&bob, Scope::Service)] {
        let answer = server.ask(denied, "POST", "/core/user", body.clone()).await;
        assert_eq!(answer.problem(403), "denied");
    }
    assert_eq!(server.stores.directory.user_by_phone("+6581234567").await.unwrap(), None);

    let made = server.ask(&admin, "POST", "/core/user", body).await.expect(200).json();
    assert_shape(&made);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("u-") && id.len() == 34, "{id}");
    assert_eq!(made["phone_number"], "+65 8123 4567");
    assert_eq!((&made["username"], &made["bio"]), (&Value::Null, &json!("")));
    let full = json!({
        "phone_number": "+6581234568", "first_name": "Bo", "last_name": "Li",
        "username": "bo", "bio": "hi", "profile_pic": "p.png", "id": "u-mine",
    });
    let made = server.ask(&admin, "POST", "/core/user", full).await.expect(200).json();
    assert_ne!(made["id"], "u-mine", "the server gives the ids");
    assert_eq!(
        (&made["username"], &made["bio"], &made["profile_pic"]),
        (&json!("bo"), &json!("hi"), &json!("p.png"))
    );
}

#[tokio::test]
async fn create_user_wants_names_and_a_number() {
    let server = Server::plain().await;
    let admin = admin(&server).await;
    let number = "+6581234567";
    for (body, status) in [
        (json!({"first_name": "Ann", "last_name": "Lee"}), 400),
        (json!({"phone_number": number, "last_name": "Lee"}), 400),
        (json!({"phone_number": number, "first_name": "Ann"}), 400),
        (json!({"phone_number": number, "first_name": "", "last_name": "Lee"}), 400),
        (json!({"phone_number": number, "first_name": "Ann", "last_name": "  "}), 400),
        (json!({"phone_number": number, "first_name": null, "last_name": "Lee"}), 400),
        (json!({"phone_number": "81234567", "first_name": "Ann", "last_name": "Lee"}), 400),
        (json!({"phone_number": "+65", "first_name": "Ann", "last_name": "Lee"}), 400),
        (json!({"phone_number": "call me", "first_name": "Ann", "last_name": "Lee"}), 400),
        (json!({"phone_number": 6581234567u64, "first_name": "Ann", "last_name": "Lee"}), 400),
        (json!({"phone_number": number, "first_name": "A".repeat(101), "last_name": "Lee"}), 422),
        (json!({"phone_number": number, "first_name": "Ann", "last_name": "Lee", "username": " ann"}), 422),
    ] {
        let answer = server.ask(&admin, "POST", "/core/user", body.clone()).await;
        assert_eq!(answer.problem(status), if status == 400 { "malformed" } else { "invalid" }, "{body}");
    }
    assert_eq!(server.stores.directory.user_by_phone(number).await.unwrap(), None);
}

/// B7: a number or name that is taken is a conflict, and whoever has it keeps everything.
#[tokio::test]
async fn b7_create_user_cannot_overwrite() {
    let server = Server::plain().await;
    let (admin, bob) = (admin(&server).await, server.person("bob").await);
    server.ask(&bob, "PATCH", "/core/user", json!({"username": "bob"})).await.expect(200);
    let directory = &server.stores.directory;
    let before = directory.user(&bob.identity.user).await.unwrap();
    let last = directory.last_change().await.unwrap();
    let number = server.number(&bob).await;
    for body in [
        json!({"phone_number": number, "first_name": "Eve", "last_name": "Il"}),
        json!({"phone_number": number, "first_name": "Eve", "last_name": "Il", "username": "eve"}),
        json!({"phone_number": "+6581234567", "first_name": "Eve", "last_name": "Il", "username": "bob"}),
    ] {
        let answer = server.ask(&admin, "POST", "/core/user", body).await;
        assert_eq!(answer.problem(409), "conflict");
        assert!(!answer.text().contains("u-bob"), "{}", answer.text());
    }
    assert_eq!(directory.user(&bob.identity.user).await.unwrap(), before);
    assert_eq!(directory.last_change().await.unwrap(), last);
}

#[tokio::test]
async fn users_are_found_by_id_and_name() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.ask(&bob, "PATCH", "/core/user", json!({"username": "bob /é"})).await.expect(200);
    for path in ["/core/user/id/u-bob", "/core/user/username/bob%20%2F%C3%A9"] {
        let found = server.get(&alice, path).await.expect(200).json();
        assert_shape(&found);
        assert_eq!((&found["id"], &found["first_name"]), (&json!("u-bob"), &json!("bob")));
        server.call("GET", path).send().await.expect(401);
    }
    for path in ["/core/user/id/u-none", "/core/user/username/none", "/core/user/username/%20"] {
        assert_eq!(server.get(&alice, path).await.problem(404), "not_found");
    }
    assert_eq!(server.get(&alice, "/core/user/id/u_bob").await.problem(400), "malformed");
}

#[tokio::test]
async fn users_are_found_by_number() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let number = server.number(&bob).await;
    let spaced = format!("+65 {} {}", &number[3..7], &number[7..]);
    for path in [by_number(&number), by_number(&spaced), format!("/core/user?phone_number={number}")] {
        let found = server.get(&alice, &path).await.expect(200).json();
        assert_shape(&found);
        assert_eq!(found["id"], "u-bob");
    }
    assert_eq!(server.get(&alice, &by_number("+6581234567")).await.problem(404), "not_found");
    for path in
        ["/core/user", "/core/user?phone=1", "/core/user?phone_number=", &by_number("12"), &by_number("x")]
    {
        assert_eq!(server.get(&alice, path).await.problem(400), "malformed", "{path}");
    }
    server.call("GET", &by_number(&number)).send().await.expect(401);
}

/// B8: nobody walks through the numbers. Each caller has a measure of their own.
#[tokio::test]
async fn looking_up_numbers_is_rate_limited() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let number = by_number(&server.number(&bob).await);
    for _ in 0..15 {
        server.get(&alice, &number).await.expect(200);
        server.get(&alice, &by_number("+6581234567")).await.expect(404);
    }
    for path in [&number, &by_number("+6581234567")] {
        let refused = server.get(&alice, path).await;
        assert_eq!(refused.problem(429), "rate_limited");
        assert_eq!(refused.header("retry-after"), "60");
    }
    // Another device is the same person; another person is not.
    server.get(&server.on_device(&alice, "tablet"), &number).await.expect(429);
    server.get(&bob, &number).await.expect(200);
    server.get(&alice, "/core/user/id/u-bob").await.expect(200);
}

/// B8: the number is for its owner, for who has it as a contact, and for who shares a conversation.
#[tokio::test]
async fn b8_phone_never_leaks() {
    let server = Server::plain().await;
    let bob = server.person("bob").await;
    server.ask(&bob, "PATCH", "/core/user", json!({"username": "bob"})).await.expect(200);
    let number = server.number(&bob).await;
    let shown = format!("+65 {} {}", &number[3..7], &number[7..]);
    let (contact, mate) = (server.person("contact").await, server.person("mate").await);
    let (stranger, known) = (server.person("stranger").await, server.person("known").await);
    server.ask(&contact, "POST", "/core/user/contact", json!({"phone_number": number})).await.expect(200);
    // That bob has somebody's number does not show them his.
    let theirs = server.number(&known).await;
    server.ask(&bob, "POST", "/core/user/contact", json!({"phone_number": theirs})).await.expect(200);
    server.conversation("c-both", &mate, &[(&bob, Role::Listener)]).await;
    server.conversation("c-other", &mate, &[(&stranger, Role::Member)]).await;
    server.conversation("c-his", &bob, &[(&contact, Role::Member)]).await;
    let paths = ["/core/user/id/u-bob".to_owned(), "/core/user/username/bob".to_owned(), by_number(&number)];
    for path in &paths {
        for may in [&bob, &contact, &mate] {
            let user = server.get(may, path).await.expect(200).json();
            assert_eq!(user["phone_number"], shown, "{path} by {}", may.id());
        }
        for may_not in [&stranger, &known, &server.scoped(&stranger, Scope::Service)] {
            let answer = server.get(may_not, path).await.expect(200);
            assert_eq!(answer.json()["phone_number"], "", "{path} by {}", may_not.id());
            assert!(!answer.text().contains(&number[7..]), "{path}: {}", answer.text());
        }
    }
    // It ends with what it came from.
    let leave = "/core/user/conversation/c-both/member/u-mate";
    server
        .ask(&mate, "POST", "/core/user/conversation/c-both/member", json!({"id": "u-bob", "role": "owner"}))
        .await
        .expect(200);
    server.call("DELETE", leave).by(&mate).send().await.expect(204);
    assert_eq!(server.get(&mate, &paths[0]).await.json()["phone_number"], "");
    server.call("DELETE", "/core/user/contact/u-bob").by(&contact).send().await.expect(204);
    server.call("DELETE", "/core/user/conversation/c-his").by(&contact).send().await.expect(204);
    assert_eq!(server.get(&contact, &paths[0]).await.json()["phone_number"], "");
}

/// D12: a patch changes what it names and nothing else, and only in the caller's own account.
#[tokio::test]
async fn d12_patch_partial() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let start = json!({
        "username": "alice", "bio": "hello", "profile_pic": "a.png", "first_name": "Alice", "last_name": "A",
    });
    let mut expected = server.ask(&alice, "PATCH", "/core/user", start).await.expect(200).json();
    assert_shape(&expected);
    let bobs = server.get(&bob, "/core/user/id/u-bob").await.json();
    for (field, value) in [
        ("username", json!("al")),
        ("bio", json!("x".repeat(1_000))),
        ("profile_pic", json!("b.png")),
        ("first_name", json!("Al")),
        ("last_name", json!("Ü".repeat(100))),
        ("username", Value::Null),
    ] {
        let answer =
            server.ask(&alice, "PATCH", "/core/user", json!({field: value})).await.expect(200).json();
        expected[field] = value;
        assert_eq!(answer, expected, "{field}");
    }
    for ignored in [
        json!({}),
        json!({"id": "u-bob", "phone_number": "+6581234567", "scope": "admin", "user": {"id": "u-bob"}}),
    ] {
        let answer = server.ask(&alice, "PATCH", "/core/user", ignored).await.expect(200).json();
        assert_eq!(answer, expected);
    }
    // Null empties what cannot be absent.
    expected["bio"] = json!("");
    let answer = server.ask(&alice, "PATCH", "/core/user", json!({"bio": null})).await.expect(200).json();
    assert_eq!(answer, expected);
    assert_eq!(server.get(&alice, "/core/user/id/u-alice").await.json(), expected);
    assert_eq!(server.get(&bob, "/core/user/id/u-bob").await.json(), bobs);
    server.call("PATCH", "/core/user").body("{}").send().await.expect(401);
}

/// D14: each mistake has its status, none is a 500, and none changes anything.
#[tokio::test]
async fn d14_status_map() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.ask(&bob, "PATCH", "/core/user", json!({"username": "bob"})).await.expect(200);
    let before = server.get(&alice, "/core/user/id/u-alice").await.json();
    for (patch, status, code) in [
        (json!({"username": "bob"}), 409, "conflict"),
        (json!({"username": "bob", "bio": "not kept"}), 409, "conflict"),
        (json!({"username": ""}), 422, "invalid"),
        (json!({"username": " a"}), 422, "invalid"),
        (json!({"username": "a\n"}), 422, "invalid"),
        (json!({"username": "a\u{0}b"}), 422, "invalid"),
        (json!({"username": "x".repeat(101)}), 422, "invalid"),
        (json!({"first_name": ""}), 422, "invalid"),
        (json!({"first_name": null}), 422, "invalid"),
        (json!({"last_name": " "}), 422, "invalid"),
        (json!({"last_name": "x".repeat(101)}), 422, "invalid"),
        (json!({"bio": "x".repeat(1_001)}), 422, "invalid"),
        (json!({"profile_pic": "x".repeat(129)}), 422, "invalid"),
        (json!({"username": 7}), 400, "malformed"),
        (json!({"bio": ["x"]}), 400, "malformed"),
        (json!({"first_name": {"x": 1}}), 400, "malformed"),
    ] {
        let answer = server.ask(&alice, "PATCH", "/core/user", patch.clone()).await;
        assert_eq!(answer.problem(status), code, "{patch}");
    }
    assert_eq!(server.get(&alice, "/core/user/id/u-alice").await.json(), before);
    // Somebody whose token is good but who is nobody here.
    let ghost = Person {
        token: server.token(&crate::common::identity("u-ghost")),
        identity: crate::common::identity("u-ghost"),
    };
    for (method, path, body) in [
        ("PATCH", "/core/user", json!({"bio": "x"})),
        ("DELETE", "/core/user", json!({})),
        ("POST", "/core/user/conversation", json!({})),
        ("POST", "/core/user/contact", json!({"phone_number": "+6581234567"})),
    ] {
        let status = server.ask(&ghost, method, path, body).await.status;
        assert!(matches!(status, 401 | 404), "{method} {path}: {status}");
    }
    assert_eq!(server.stores.directory.user_by_phone("+6581234567").await.unwrap(), None);
}

/// What is no JSON object is refused, whatever it is called; and a name for it is not asked.
#[tokio::test]
async fn json_bodies_are_objects_of_64_kib() {
    let server = Server::plain().await;
    let alice = server.person("alice").await;
    let patch = |body: Vec<u8>| server.call("PATCH", "/core/user").by(&alice).body(body);
    let nested = format!("{{\"x\":{}", "[".repeat(10_000));
    for bad in [
        "",
        " ",
        "null",
        "true",
        "7",
        "\"bio\"",
        "[]",
        "[\"a\",\"b\",\"c\",\"d\",\"e\"]",
        "{",
        "{}x",
        "{'bio':1}",
        "{\"bio\":\"x\"",
        "{\"bio\":\"x\",}",
        "{\"bio\":\"\\ud800\"}",
        "{\"bio\":\"a\",\"bio\":\"b\"}",
        "bio=x",
        &nested,
    ] {
        let answer = patch(bad.into()).send().await;
        assert_eq!(answer.problem(400), "malformed", "{bad:.60}");
    }
    assert_eq!(patch(b"{\"bio\":\"\xff\"}".to_vec()).send().await.problem(400), "malformed");
    for media_type in ["application/json", "text/plain", "application/x-www-form-urlencoded", "nonsense"] {
        patch(b" \r\n\t{\"bio\":\"kept\"} ".to_vec())
            .header("content-type", media_type)
            .send()
            .await
            .expect(200);
    }
    let padded = |length: usize| {
        let mut body = b"{\"bio\":\"kept\"}".to_vec();
        body.resize(length, b' ');
        body
    };
    patch(padded(64 * 1024)).send().await.expect(200);
    patch(padded(64 * 1024)).chunked().send().await.expect(200);
    assert_eq!(patch(padded(64 * 1024 + 1)).send().await.problem(413), "too_large");
    assert_eq!(patch(padded(64 * 1024 + 1)).chunked().send().await.problem(413), "too_large");
    assert_eq!(server.get(&alice, "/core/user/id/u-alice").await.json()["bio"], "kept");
}

/// Nothing of an erased account is left, and nothing of anybody else's is gone.
#[tokio::test]
async fn delete_user_erases_what_they_recorded() {
    let server = Server::echoing().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let carol = server.person("carol").await;
    server.conversation("c-alone", &alice, &[]).await;
    server.conversation("c-hers", &alice, &[(&bob, Role::Listener), (&carol, Role::Member)]).await;
    server.conversation("c-his", &bob, &[(&alice, Role::Member)]).await;
    server.conversation("c-left", &bob, &[(&alice, Role::Member)]).await;
    for key in ["c-alone", "c-hers", "c-his", "c-left"] {
        server.put(&alice, key, 5, wav("alice spoke")).await.expect(201);
        let attach = format!("/publish/conversation/{key}/start/5/user");
        server.call("PUT", &attach).by(&alice).body("note").send().await.expect(201);
    }
    for key in ["c-his", "c-left"] {
        server.put(&bob, key, 6, wav("bob spoke")).await.expect(201);
    }
    server.call("DELETE", "/core/user/conversation/c-left").by(&alice).send().await.expect(204);
    server.settle().await;
    let blobs = &server.stores.blobs;
    for (name, owner) in [("a.png", &alice), ("b.png", &bob)] {
        let owner = owner.identity.user.clone();
        let body = Bytes::from_static(b"png");
        blobs
            .put(NewBlob { name: name.into(), owner, media_type: "image/png".into(), received: 1, body })
            .await
            .unwrap();
    }
    let number = server.number(&alice).await;

    server.call("DELETE", "/core/user").send().await.expect(401);
    server.call("DELETE", "/core/user").by(&alice).send().await.expect(204);
    server.settle().await;

    let bites = &server.stores.bites;
    for key in ["c-alone", "c-hers", "c-his", "c-left"] {
        for label in Label::ALL {
            let starts = bites.starts(label, &conversation(key)).await.unwrap();
            let kept = matches!(key, "c-his" | "c-left") && label != Label::User;
            assert_eq!(starts, if kept { vec![6] } else { vec![] }, "{label} in {key}");
        }
    }
    let everywhere =
        |words: &str| SearchQuery { words: words.into(), conversations: None, before: None, limit: 10 };
    assert_eq!(server.stores.search.search(everywhere("alice")).await.unwrap().hits.len(), 0);
    assert_eq!(server.stores.search.search(everywhere("bob")).await.unwrap().hits.len(), 2);
    assert_eq!(blobs.owned_by(&alice.identity.user).await.unwrap(), [""; 0]);
    assert_eq!(blobs.owned_by(&bob.identity.user).await.unwrap(), ["b.png"]);

    let directory = &server.stores.directory;
    assert_eq!(directory.user(&alice.identity.user).await.unwrap(), None);
    assert_eq!(directory.conversation(&conversation("c-alone")).await.unwrap(), None);
    // Carol speaks there and bob only listens: she is the heir, though he comes first.
    for (key, owner) in [("c-hers", &carol), ("c-his", &bob)] {
        let role = directory.role(&conversation(key), &owner.identity.user).await.unwrap();
        assert_eq!(role, Some(Role::Owner), "{key}");
    }
    server.get(&bob, "/core/user/id/u-alice").await.expect(404);
    server.get(&bob, "/store/bite/c-his/start/6").await.expect(200);
    // What her token opened is shut, and her number is free.
    let status = server.get(&alice, "/store/bite/c-hers/scan").await.status;
    assert!(matches!(status, 401 | 403), "{status}");
    let new = NewUser {
        id: "u-new".parse().unwrap(),
        username: None,
        first_name: "New".into(),
        last_name: "One".into(),
        phone_number: number,
    };
    directory.create_user(new).await.unwrap();
}

/// Files that cannot be deleted once.
#[derive(Debug)]
struct FailsOnce(Arc<dyn BlobStore>, AtomicBool);

#[async_trait]
impl BlobStore for FailsOnce {
    fn capability(&self) -> Capability {
        self.0.capability()
    }
    async fn put(&self, blob: NewBlob) -> Result<bool> {
        self.0.put(blob).await
    }
    async fn get(&self, name: &str) -> Result<Option<Blob>> {
        self.0.get(name).await
    }
    async fn delete(&self, name: &str) -> Result<bool> {
        if self.1.swap(false, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "not now"));
        }
        self.0.delete(name).await
    }
    async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
        self.0.owned_by(owner).await
    }
}

/// The account goes last, so that what failed on the way is done by asking again.
#[tokio::test]
async fn delete_user_goes_on_where_it_failed() {
    let mut stores = memory().await;
    stores.blobs = Arc::new(FailsOnce(stores.blobs.clone(), AtomicBool::new(true)));
    let stores = Some(stores);
    let server = Server::start(Setup { stores, transcriber: Some(Arc::new(Echo)), ..Setup::default() }).await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-hers", &alice, &[(&bob, Role::Member)]).await;
    server.put(&alice, "c-hers", 5, wav("alice spoke")).await.expect(201);
    let owner = alice.identity.user.clone();
    let picture = NewBlob {
        name: "a.png".into(),
        owner: owner.clone(),
        media_type: "image/png".into(),
        received: 1,
        body: Bytes::from_static(b"png"),
    };
    server.stores.blobs.put(picture).await.unwrap();

    let failed = server.call("DELETE", "/core/user").by(&alice).send().await;
    assert_eq!(failed.problem(503), "unavailable");
    assert!(server.stores.directory.user(&owner).await.unwrap().is_some());
    server.call("DELETE", "/core/user").by(&alice).send().await.expect(204);
    assert_eq!(server.stores.blobs.owned_by(&owner).await.unwrap(), [""; 0]);
    assert_eq!(server.stores.directory.user(&owner).await.unwrap(), None);
    let members = server.stores.directory.members(&conversation("c-hers")).await.unwrap();
    assert_eq!(
        members.iter().map(|m| (m.user.as_str(), m.role)).collect::<Vec<_>>(),
        [("u-bob", Role::Owner)]
    );
    let again = server.call("DELETE", "/core/user").by(&alice).send().await.status;
    assert!(matches!(again, 401 | 404), "{again}");
}

/// More than one page of bites goes, and those of others stay in their places.
#[tokio::test]
async fn delete_user_erases_thousands_of_bites() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &bob, &[(&alice, Role::Member)]).await;
    for start in 0..2_400u64 {
        let who = if start % 100 == 0 { &bob } else { &alice };
        let body = Bytes::from(start.to_string());
        let bite = crate::common::bite("c-crew", start, &who.identity, body);
        server.stores.bites.put(bite).await.unwrap();
    }
    let patch = UserPatch { bio: Some("gone soon".into()), ..UserPatch::default() };
    server.stores.directory.patch_user(&alice.identity.user, patch).await.unwrap();
    server.call("DELETE", "/core/user").by(&alice).send().await.expect(204);
    let left = server.stores.bites.starts(Label::Bite, &conversation("c-crew")).await.unwrap();
    assert_eq!(left, (0..24).map(|n| n * 100).collect::<Vec<u64>>());
}
