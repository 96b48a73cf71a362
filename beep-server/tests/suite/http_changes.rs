//! The streams of changes: added, changed and deleted, told to those who may see it and to nobody else (B9, B10, D12).

use crate::common::{PATIENCE, Person, Server, Setup, conversation, embedded, identity};
use beep_core::auth::{Scope, Verified};
use beep_core::bite::Digest;
use beep_core::clock::{Clock, System};
use beep_core::id::SessionId;
use beep_core::store::{ConversationPatch, NewConversation, NewUser, Role, Session, UserPatch};
use beep_pipeline::services::changes::Watch;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An open stream.
pub struct Stream {
    body: Incoming,
    buffer: String,
}

/// Type and object of an event.
pub type Event = (String, Value);

impl Stream {
    /// Opens `/core/user/subscribe…` and reads its first block: from here on every change is told.
    pub async fn open(server: &Server, who: &Person, below: &str) -> Self {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            connection.await.ok();
        });
        let request = http::Request::builder()
            .uri(format!("/core/user/subscribe{below}"))
            .header("host", "x")
            .header("authorization", format!("Bearer {}", who.token))
            .body(Empty::<Bytes>::new())
            .unwrap();
        let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { body: response.into_body(), buffer: String::new() };
        assert_eq!(stream.block().await.unwrap(), "retry: 2000");
        stream
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(block);
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("an event or the end");
            let data = frame?.ok()?.into_data().ok()?;
            self.buffer.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// The next event, its shape checked; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if block.starts_with(':') {
                continue;
            }
            let data = block.strip_prefix("data: ").expect("an unnamed event without an id");
            let event: Value = serde_json::from_str(data).unwrap();
            assert_eq!(event.as_object().unwrap().len(), 2, "{event}");
            let object = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
            return Some((event["type"].as_str().unwrap().to_owned(), object));
        }
    }

    /// The next event must be of this type and about this id; answers its object.
    pub async fn expect(&mut self, kind: &str, id: &str) -> Value {
        let (was, object) = self.next().await.expect("the stream goes on");
        assert_eq!((was.as_str(), object["id"].as_str().unwrap()), (kind, id), "{object}");
        if kind == "delete" {
            assert_eq!(object, json!({"id": id}));
        }
        object
    }

    /// Everything until the stream ends.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        rest
    }
}

/// Changes the bio of this person over HTTP.
async fn rename(server: &Server, who: &Person, bio: &str) {
    server.ask(who, "PATCH", "/core/user", json!({"bio": bio})).await.expect(200);
}

/// A new conversation of this person, made over HTTP; its id.
async fn make(server: &Server, owner: &Person) -> String {
    let made = server.ask(owner, "POST", "/core/user/conversation", json!({"title": "t"})).await.expect(200);
    made.json()["id"].as_str().unwrap().to_owned()
}

async fn add(server: &Server, by: &Person, key: &str, who: &Person) {
    let path = format!("/core/user/conversation/{key}/member");
    server.ask(by, "POST", &path, json!({"id": who.id()})).await.expect(200);
}

async fn remove(server: &Server, by: &Person, key: &str, who: &Person) {
    let path = format!("/core/user/conversation/{key}/member/{}", who.id());
    server.call("DELETE", &path).by(by).send().await.expect(204);
}

/// Users come into sight by a conversation or as a contact, are seen to change, and go out of sight.
#[tokio::test]
async fn user_stream_follows_who_is_in_sight() {
    let server = Server::plain().await;
    let (alice, bob, carol) =
        (server.person("alice").await, server.person("bob").await, server.person("carol").await);
    let mut streams = [Stream::open(&server, &alice, "").await, Stream::open(&server, &alice, "/user").await];
    rename(&server, &bob, "unseen").await;
    rename(&server, &carol, "unseen").await;
    let key = make(&server, &alice).await;
    add(&server, &alice, &key, &bob).await;
    for stream in &mut streams {
        let added = stream.expect("add", "u-bob").await;
        assert_eq!((&added["bio"], &added["first_name"]), (&json!("unseen"), &json!("bob")));
        assert_eq!(added, server.get(&alice, "/core/user/id/u-bob").await.json());
        assert!(added["phone_number"].as_str().unwrap().starts_with("+65 "), "{added}");
    }
    // A second conversation changes nothing, nor does its end.
    let second = make(&server, &alice).await;
    add(&server, &alice, &second, &bob).await;
    remove(&server, &alice, &second, &bob).await;
    rename(&server, &bob, "seen").await;
    rename(&server, &carol, "still unseen").await;
    remove(&server, &alice, &key, &bob).await;
    rename(&server, &bob, "unseen again").await;
    let number = server.number(&bob).await;
    server.ask(&alice, "POST", "/core/user/contact", json!({"phone_number": number})).await.expect(200);
    // As a contact they stay in sight, conversation or not.
    add(&server, &alice, &key, &bob).await;
    remove(&server, &alice, &key, &bob).await;
    rename(&server, &alice, "me").await;
    server.call("DELETE", "/core/user/contact/u-bob").by(&alice).send().await.expect(204);
    rename(&server, &bob, "gone").await;
    rename(&server, &alice, "me again").await;
    for stream in &mut streams {
        assert_eq!(stream.expect("update", "u-bob").await["bio"], "seen");
        stream.expect("delete", "u-bob").await;
        assert_eq!(stream.expect("add", "u-bob").await["bio"], "unseen again");
        let own = stream.expect("update", "u-alice").await;
        assert_eq!(
            own["phone_number"],
            server.get(&alice, "/core/user/id/u-alice").await.json()["phone_number"]
        );
        stream.expect("delete", "u-bob").await;
        assert_eq!(stream.expect("update", "u-alice").await["bio"], "me again");
    }
}

/// Whoever is taken into a conversation sees all who are there, and none of them when they are out again.
#[tokio::test]
async fn joining_brings_everybody_into_sight() {
    let server = Server::plain().await;
    let (alice, bob, carol) =
        (server.person("alice").await, server.person("bob").await, server.person("carol").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    let mut hers = Stream::open(&server, &carol, "").await;
    add(&server, &alice, "c-crew", &carol).await;
    let mut heard = [hers.next().await.unwrap(), hers.next().await.unwrap()];
    heard.sort_by_key(|(_, user)| user["id"].to_string());
    assert_eq!(
        heard.iter().map(|(kind, u)| (kind.as_str(), &u["id"])).collect::<Vec<_>>(),
        [("add", &json!("u-alice")), ("add", &json!("u-bob")),]
    );
    remove(&server, &alice, "c-crew", &carol).await;
    let mut gone = vec![hers.next().await.unwrap(), hers.next().await.unwrap()];
    gone.sort_by_key(|(_, user)| user["id"].to_string());
    let expected = ["u-alice", "u-bob"].map(|id| ("delete".to_owned(), json!({"id": id})));
    assert_eq!(gone, expected);
    rename(&server, &alice, "unseen").await;
    rename(&server, &carol, "me").await;
    hers.expect("update", "u-carol").await;
}

#[tokio::test]
async fn contact_stream_has_the_callers_contacts() {
    let server = Server::plain().await;
    let (alice, bob, carol) =
        (server.person("alice").await, server.person("bob").await, server.person("carol").await);
    let mut hers = Stream::open(&server, &alice, "/contact").await;
    let mut his = Stream::open(&server, &bob, "/contact").await;
    // Companions are no contacts.
    let key = make(&server, &alice).await;
    add(&server, &alice, &key, &carol).await;
    rename(&server, &carol, "no contact").await;
    let number = server.number(&bob).await;
    for _ in 0..2 {
        server.ask(&alice, "POST", "/core/user/contact", json!({"phone_number": number})).await.expect(200);
    }
    rename(&server, &bob, "hello").await;
    server.call("DELETE", "/core/user/contact/u-bob").by(&alice).send().await.expect(204);
    rename(&server, &bob, "unseen").await;
    server
        .ask(&alice, "POST", "/core/user/contact", json!({"phone_number": "+6591119111"}))
        .await
        .expect(200);
    let added = hers.expect("add", "u-bob").await;
    assert!(added["phone_number"].as_str().unwrap().starts_with("+65 "), "{added}");
    assert_eq!(hers.expect("update", "u-bob").await["bio"], "hello");
    hers.expect("delete", "u-bob").await;
    assert_eq!(hers.next().await.unwrap().1["phone_number"], "+65 9111 9111");
    // He is told of his own contacts only: not that he was hers.
    let number = server.number(&carol).await;
    server.ask(&bob, "POST", "/core/user/contact", json!({"phone_number": number})).await.expect(200);
    his.expect("add", "u-carol").await;
    // An account that is erased is no contact any more.
    server.call("DELETE", "/core/user").by(&carol).send().await.expect(204);
    his.expect("delete", "u-carol").await;
}

#[tokio::test]
async fn conversation_stream_has_the_callers_conversations() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let mut hers = Stream::open(&server, &alice, "/conversation").await;
    let mut his = Stream::open(&server, &bob, "/conversation").await;
    let key = make(&server, &alice).await;
    let path = format!("/core/user/conversation/{key}");
    let shown =
        |title: &str, pinned: bool| json!({"id": key, "title": title, "picture": "", "pinned": pinned});
    assert_eq!(hers.expect("add", &key).await, shown("t", false));
    server.ask(&alice, "PATCH", &path, json!({"title": "before bob"})).await.expect(200);
    assert_eq!(hers.expect("update", &key).await, shown("before bob", false));
    add(&server, &alice, &key, &bob).await;
    assert_eq!(his.expect("add", &key).await, shown("before bob", false));
    // A pin is one's own, and what changes nothing to look at is not told.
    for _ in 0..2 {
        server.call("POST", &format!("{path}/pin")).by(&bob).send().await.expect(200);
    }
    assert_eq!(his.expect("update", &key).await, shown("before bob", true));
    server.ask(&bob, "PUT", &format!("{path}/lastheard"), json!({"start": 7})).await.expect(200);
    server
        .ask(&alice, "POST", &format!("{path}/member"), json!({"id": "u-bob", "role": "admin"}))
        .await
        .expect(200);
    server.ask(&bob, "PATCH", &path, json!({"title": "with bob"})).await.expect(200);
    assert_eq!(his.expect("update", &key).await, shown("with bob", true));
    assert_eq!(hers.expect("update", &key).await, shown("with bob", false));
    server.call("DELETE", &format!("{path}/pin")).by(&bob).send().await.expect(200);
    assert_eq!(his.expect("update", &key).await, shown("with bob", false));
    // Removed, taken in again, left, taken in again, deleted.
    remove(&server, &alice, &key, &bob).await;
    his.expect("delete", &key).await;
    server.ask(&alice, "PATCH", &path, json!({"title": "without bob"})).await.expect(200);
    hers.expect("update", &key).await;
    add(&server, &alice, &key, &bob).await;
    assert_eq!(his.expect("add", &key).await, shown("without bob", false));
    server.call("DELETE", &path).by(&bob).send().await.expect(204);
    his.expect("delete", &key).await;
    add(&server, &alice, &key, &bob).await;
    his.expect("add", &key).await;
    server.call("DELETE", &path).by(&alice).send().await.expect(204);
    his.expect("delete", &key).await;
    hers.expect("delete", &key).await;
}

/// Members are told of each other; whoever is removed hears nothing from then on, and their stream ends.
#[tokio::test]
async fn removed_members_stream_ends() {
    let server = Server::plain().await;
    let (alice, bob, carol) =
        (server.person("alice").await, server.person("bob").await, server.person("carol").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Listener)]).await;
    server.conversation("c-other", &alice, &[(&carol, Role::Member)]).await;
    let below = "/conversation/c-crew/member";
    let mut hers = Stream::open(&server, &alice, below).await;
    let mut his = Stream::open(&server, &bob, below).await;
    let path = "/core/user/conversation/c-crew";
    add(&server, &alice, "c-crew", &carol).await;
    server
        .ask(&alice, "POST", &format!("{path}/member"), json!({"id": "u-carol", "role": "admin"}))
        .await
        .expect(200);
    rename(&server, &carol, "hello").await;
    // Neither a pin nor what happens elsewhere is anything to the others.
    server.call("POST", &format!("{path}/pin")).by(&carol).send().await.expect(200);
    remove(&server, &alice, "c-other", &carol).await;
    remove(&server, &carol, "c-crew", &carol).await;
    rename(&server, &carol, "unseen").await;
    for stream in [&mut hers, &mut his] {
        let added = stream.expect("add", "u-carol").await;
        // What is told is what the directory has when it is told.
        assert!(["member", "admin"].contains(&added["role"].as_str().unwrap()), "{added}");
        let mut last = added;
        loop {
            let (kind, object) = stream.next().await.unwrap();
            assert_eq!(object["id"], "u-carol");
            if kind == "delete" {
                break;
            }
            assert_eq!(kind, "update");
            last = object;
        }
        assert!(["", "hello"].contains(&last["bio"].as_str().unwrap()), "{last}");
    }
    remove(&server, &alice, "c-crew", &bob).await;
    add(&server, &alice, "c-crew", &carol).await;
    rename(&server, &alice, "behind his back").await;
    assert_eq!(his.rest().await, []);
    hers.expect("delete", "u-bob").await;
    hers.expect("add", "u-carol").await;
    assert_eq!(hers.expect("update", "u-alice").await["bio"], "behind his back");
    // The end of the conversation is the end of its streams.
    server.call("DELETE", path).by(&alice).send().await.expect(204);
    hers.rest().await;
}

/// Each step told before the next one: a role and a profile as they were given.
#[tokio::test]
async fn member_stream_tells_roles_and_profiles() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[]).await;
    let mut hers = Stream::open(&server, &alice, "/conversation/c-crew/member").await;
    add(&server, &alice, "c-crew", &bob).await;
    assert_eq!(hers.expect("add", "u-bob").await["role"], "member");
    let path = "/core/user/conversation/c-crew/member";
    server.ask(&alice, "POST", path, json!({"id": "u-bob", "role": "admin"})).await.expect(200);
    assert_eq!(hers.expect("update", "u-bob").await["role"], "admin");
    rename(&server, &bob, "hello").await;
    let told = hers.expect("update", "u-bob").await;
    assert_eq!((&told["role"], &told["bio"]), (&json!("admin"), &json!("hello")));
    assert!(server.get(&alice, path).await.json().as_array().unwrap().contains(&told));
}

/// B9: of ten thousand changes among others, two strangers hear nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b9_events_scoped() {
    let server = Server::plain().await;
    let (ann, bea) = (server.person("ann").await, server.person("bea").await);
    let people = [server.person("x").await, server.person("y").await, server.person("z").await];
    let [x, y, z] = &people;
    let mut streams = Vec::new();
    for (stranger, other) in [(&ann, "c-ann"), (&bea, "c-bea")] {
        server.conversation(other, stranger, &[]).await;
        for below in ["", "/contact", "/conversation", &format!("/conversation/{other}/member")] {
            streams.push((stranger, below == "/contact", Stream::open(&server, stranger, below).await));
        }
    }
    let mut witness = Stream::open(&server, x, "/conversation").await;
    let directory = &server.stores.directory;
    let before = directory.last_change().await.unwrap();
    server.conversation("c-them", x, &[(y, Role::Member)]).await;
    let (them, [xi, yi, zi]) = (conversation("c-them"), [x, y, z].map(|p| &p.identity.user));
    let mut round = 0;
    while directory.last_change().await.unwrap() < before + 10_000 {
        round += 1;
        let text = Some(format!("round {round}"));
        directory.patch_user(yi, UserPatch { bio: text.clone(), ..UserPatch::default() }).await.unwrap();
        directory.patch_conversation(&them, ConversationPatch { title: text, picture: None }).await.unwrap();
        directory.put_member(&them, zi, Role::Member).await.unwrap();
        directory.set_pinned(&them, zi, true).await.unwrap();
        directory.put_contact(xi, zi).await.unwrap();
        // They also know the strangers by number, which tells the strangers nothing.
        directory.put_contact(xi, &ann.identity.user).await.unwrap();
        directory.remove_contact(xi, &ann.identity.user).await.unwrap();
        directory.remove_contact(xi, zi).await.unwrap();
        directory.remove_member(&them, zi).await.unwrap();
    }
    directory.delete_conversation(&them).await.unwrap();
    // The witness is told of what came last: all the rest has been told by then, as it is told in order.
    server.conversation("c-last", x, &[]).await;
    while witness.next().await.unwrap().1["id"] != "c-last" {}
    // The first that each stranger hears is of their own doing.
    for (stranger, key) in [(&ann, "c-ann"), (&bea, "c-bea")] {
        rename(&server, stranger, "me").await;
        let path = format!("/core/user/conversation/{key}");
        server.ask(stranger, "PATCH", &path, json!({"title": "mine"})).await.expect(200);
        let number = json!({"phone_number": "+6591119111"});
        server.ask(stranger, "POST", "/core/user/contact", number).await.expect(200);
    }
    for (stranger, contacts, stream) in &mut streams {
        let (kind, object) = stream.next().await.unwrap();
        if *contacts {
            assert_eq!((kind.as_str(), &object["phone_number"]), ("add", &json!("+65 9111 9111")));
        } else {
            let own =
                [stranger.id(), &stranger.id().replace("u-", "c-")].contains(&object["id"].as_str().unwrap());
            assert!(own && kind == "update", "{kind} {object}");
        }
    }
}

/// B10: the members of a conversation that one is not in are 404, whether or not there is one.
#[tokio::test]
async fn b10_sub_unknown_404() {
    let server = Server::plain().await;
    let (alice, stranger) = (server.person("alice").await, server.person("stranger").await);
    server.conversation("c-crew", &alice, &[]).await;
    let ask = async |key: &str| {
        let path = format!("/core/user/subscribe/conversation/{key}/member");
        let answer = server.call("GET", &path).by(&stranger).send().await;
        assert_eq!(answer.problem(404), "not_found");
        answer.body
    };
    let there = ask("c-crew").await;
    for n in 0..100 {
        assert_eq!(ask(&format!("c-none-{n}")).await, there);
    }
    let bad = server.get(&stranger, "/core/user/subscribe/conversation/a%20b/member").await;
    assert_eq!(bad.problem(400), "malformed");
    server.call("GET", "/core/user/subscribe").send().await.expect(401);
}

/// D12: an event is about whom the server changed, whatever the body says.
#[tokio::test]
async fn d12_event_ids_from_server() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-crew", &alice, &[(&bob, Role::Member)]).await;
    let mut users = Stream::open(&server, &alice, "").await;
    let mut conversations = Stream::open(&server, &alice, "/conversation").await;
    let forged = json!({"id": "u-alice", "phone_number": "+6591119111", "bio": "\n\nevent: reset\ndata: {}"});
    server.ask(&bob, "PATCH", "/core/user", forged.clone()).await.expect(200);
    let told = users.expect("update", "u-bob").await;
    assert_eq!(told, server.get(&alice, "/core/user/id/u-bob").await.json());
    assert_eq!(told["bio"], forged["bio"]);
    let forged = json!({"id": "c-other", "title": "x", "pinned": true});
    server.ask(&alice, "PATCH", "/core/user/conversation/c-crew", forged).await.expect(200);
    let told = conversations.expect("update", "c-crew").await;
    assert_eq!((&told["title"], &told["pinned"]), (&json!("x"), &json!(false)));
}

/// What another process changes in the same folder is told as well.
#[tokio::test]
async fn other_processes_changes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Some(embedded(dir.path()).await);
    let server = Server::start(Setup { stores, ..Setup::default() }).await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let mut users = Stream::open(&server, &alice, "").await;
    let mut contacts = Stream::open(&server, &alice, "/contact").await;
    let mut conversations = Stream::open(&server, &alice, "/conversation").await;
    let other = embedded(dir.path()).await.directory;
    let (key, a, b) = (conversation("c-crew"), &alice.identity.user, &bob.identity.user);
    let new =
        NewConversation { id: key.clone(), title: "t".into(), picture: String::new(), owner: b.clone() };
    other.create_conversation(new).await.unwrap();
    other.put_member(&key, a, Role::Member).await.unwrap();
    assert_eq!(conversations.expect("add", "c-crew").await["title"], "t");
    users.expect("add", "u-bob").await;
    let mut members = Stream::open(&server, &alice, "/conversation/c-crew/member").await;
    other.set_pinned(&key, a, true).await.unwrap();
    assert_eq!(conversations.expect("update", "c-crew").await["pinned"], true);
    other.set_pinned(&key, a, true).await.unwrap();
    other.put_contact(a, b).await.unwrap();
    contacts.expect("add", "u-bob").await;
    other.patch_user(b, UserPatch { bio: Some("x".into()), ..UserPatch::default() }).await.unwrap();
    for stream in [&mut users, &mut contacts, &mut members] {
        assert_eq!(stream.expect("update", "u-bob").await["bio"], "x");
    }
    let new = NewUser {
        id: "u-new".parse().unwrap(),
        username: None,
        first_name: "New".into(),
        last_name: "Test".into(),
        phone_number: "+6591119111".into(),
    };
    other.create_user(new).await.unwrap();
    other.put_member(&key, &"u-new".parse().unwrap(), Role::Member).await.unwrap();
    users.expect("add", "u-new").await;
    members.expect("add", "u-new").await;
    other.delete_conversation(&key).await.unwrap();
    conversations.expect("delete", "c-crew").await;
    users.expect("delete", "u-new").await;
    assert_eq!(members.rest().await.iter().filter(|(kind, _)| kind != "delete").count(), 0);
    other.delete_user(b).await.unwrap();
    contacts.expect("delete", "u-bob").await;
    users.expect("delete", "u-bob").await;
}

/// The streams of a device that signs out end, long before the next sign of life; those of other devices go on.
#[tokio::test]
async fn signed_out_devices_streams_end() {
    let server = Server::plain().await;
    let alice = server.person("alice").await;
    let tablet = server.on_device(&alice, "tablet");
    let phone = identity("u-alice");
    let now = System.now();
    let session = Session {
        identity: phone.clone(),
        id: SessionId::random(&System).unwrap(),
        refresh: Digest::of(b"x"),
        created: now,
        refreshed: now,
        expires: now + 3_600_000,
    };
    server.stores.directory.put_session(session.clone()).await.unwrap();
    let token = server.app.issuer().issue_in(&phone, Scope::User, Some(&session.id)).unwrap();
    let phone = Person { identity: phone, token };
    let mut streams = Vec::new();
    for below in ["", "/contact", "/conversation"] {
        streams.push(Stream::open(&server, &phone, below).await);
    }
    let mut other = Stream::open(&server, &tablet, "").await;
    let begun = Instant::now();
    server.call("POST", "/login/logout").by(&phone).send().await.expect(204);
    for stream in &mut streams {
        assert_eq!(stream.rest().await, []);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    rename(&server, &alice, "still here").await;
    other.expect("update", "u-alice").await;
    // An account that is erased has no streams.
    server.call("DELETE", "/core/user").by(&tablet).send().await.expect(204);
    other.rest().await;
}

/// The end of a token is the end of its streams.
#[tokio::test]
async fn stream_ends_with_its_token() {
    let server = Server::start(Setup { lifetime: Duration::from_secs(2), ..Setup::default() }).await;
    let alice = server.person("alice").await;
    let opened = Instant::now();
    let mut stream = Stream::open(&server, &alice, "").await;
    assert_eq!(stream.rest().await, []);
    assert!(opened.elapsed() < Duration::from_secs(4), "{:?}", opened.elapsed());
}

/// A reader that does not read is cut off; the others hear everything.
#[tokio::test]
async fn slow_reader_is_cut_off() {
    let server = Server::plain().await;
    let alice = server.person("alice").await;
    let (scope, session, token_id) = (Scope::User, None, String::new());
    let expires = System.now() + 3_600_000;
    let token = Arc::new(Verified { identity: alice.identity.clone(), scope, session, token_id, expires });
    let mut slow = server.app.beep().watch(token.clone(), Watch::Users).await.unwrap();
    let mut quick = server.app.beep().watch(token, Watch::Users).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut heard = 0;
        while heard < 500 {
            heard += quick.next().await.expect("a quick reader stays").len();
        }
    });
    for n in 0..500 {
        let bio = Some(format!("{n} {}", "x".repeat(900)));
        let patch = UserPatch { bio, ..UserPatch::default() };
        server.stores.directory.patch_user(&alice.identity.user, patch).await.unwrap();
    }
    timeout(PATIENCE, heard).await.expect("everything is heard").unwrap();
    assert!(slow.next().await.is_none());
}
