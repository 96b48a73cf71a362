//! Conversations: made, listed, named, pinned, listened to, left and ended by who may, and by nobody else (B5, B6, D11, D15).

use crate::common::{Crew, Echo, Person, Server, Setup, bite, conversation, embedded, wav};
use beep_core::bite::Label;
use beep_core::store::{BiteStoreExt, Role, SearchQuery};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test]
async fn the_creator_owns_a_conversation() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let path = "/core/user/conversation";
    let body = json!({"title": "Crew", "picture": "p.png"});
    let made = server.ask(&alice, "POST", path, body).await.expect(200).json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("c-") && id.len() == 34, "{id}");
    assert_eq!(made, json!({"id": id, "title": "Crew", "picture": "p.png", "pinned": false}));
    let seen = server.get(&alice, &format!("{path}/{id}")).await.expect(200).json();
    assert_eq!(seen["role"], "owner");
    server.put(&alice, &id, 5, wav("here")).await.expect(201);
    server.get(&bob, &format!("{path}/{id}")).await.expect(404);
    for empty in [json!({}), json!({"title": null})] {
        let made = server.ask(&alice, "POST", path, empty).await.expect(200).json();
        assert_eq!((&made["title"], &made["picture"]), (&json!(""), &json!("")));
    }
    for (body, status) in [
        (json!({"title": "x".repeat(101)}), 422),
        (json!({"picture": "x".repeat(129)}), 422),
        (json!({"title": 7}), 400),
        (json!([]), 400),
    ] {
        server.ask(&alice, "POST", path, body).await.problem(status);
    }
    server.call("POST", path).body("{}").send().await.expect(401);
    assert_eq!(server.get(&alice, path).await.json().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn everybody_lists_their_own() {
    let crew = Crew::new().await;
    let server = &crew.server;
    server.conversation("c-hers", &crew.stranger, &[]).await;
    for (role, who) in crew.everybody() {
        let own = if role == "stranger" { "c-hers" } else { "c-crew" };
        let role = if role == "stranger" { "owner" } else { role };
        let expected = json!({
            "id": own, "title": "", "picture": "", "pinned": false,
            "role": role, "last_heard": 0, "last_bite": null, "unheard": 0,
        });
        let list = server.get(who, "/core/user/conversation").await.expect(200).json();
        assert_eq!(list, json!([expected]));
        let one = server.get(who, &format!("/core/user/conversation/{own}")).await.expect(200).json();
        assert_eq!(one, expected);
    }
    let nobody = server.person("nobody").await;
    assert_eq!(server.get(&nobody, "/core/user/conversation").await.expect(200).json(), json!([]));
    server.call("GET", "/core/user/conversation").send().await.expect(401);
}

/// D15: to a stranger a conversation that is there and one that is not are the same, whatever they ask.
#[tokio::test]
async fn strangers_are_not_told_what_exists() {
    let crew = Crew::new().await;
    for (method, below, body) in [
        ("GET", "", json!({})),
        ("PATCH", "", json!({"title": "x"})),
        ("DELETE", "", json!({})),
        ("POST", "/pin", json!({})),
        ("DELETE", "/pin", json!({})),
        ("GET", "/member", json!({})),
        ("POST", "/member", json!({"id": "u-stranger"})),
        ("POST", "/member", json!({"id": "u-nobody"})),
        ("DELETE", "/member/u-owner", json!({})),
        ("DELETE", "/member/u-stranger", json!({})),
        ("PUT", "/lastheard", json!({"start": 1})),
        ("GET", "/lastheard", json!({})),
    ] {
        let mut answers = Vec::new();
        for key in ["c-crew", "c-none"] {
            let path = format!("/core/user/conversation/{key}{below}");
            let answer = crew.server.ask(&crew.stranger, method, &path, body.clone()).await;
            assert_eq!(answer.problem(404), "not_found", "{method} {path}");
            answers.push(answer.body);
            crew.server.call(method, &path).body(body.to_string()).send().await.expect(401);
        }
        assert_eq!(answers[0], answers[1], "{method} {below}");
    }
    let path = "/core/user/conversation/c_crew";
    assert_eq!(crew.server.get(&crew.stranger, path).await.problem(400), "malformed");
}

#[tokio::test]
async fn what_is_unheard_is_told() {
    let crew = Crew::new().await;
    let server = &crew.server;
    let told = async |who: &Person| {
        let one = server.get(who, Crew::PATH).await.expect(200).json();
        assert_eq!(server.get(who, "/core/user/conversation").await.json(), json!([one]));
        (one["last_heard"].clone(), one["last_bite"].clone(), one["unheard"].clone())
    };
    for start in [10, 20, 30] {
        server.put(&crew.owner, "c-crew", start, wav("hello")).await.expect(201);
    }
    assert_eq!(told(&crew.listener).await, (json!(0), json!(30), json!(3)));
    crew.ask(&crew.listener, "PUT", "/lastheard", json!({"start": 20})).await.expect(200);
    assert_eq!(told(&crew.listener).await, (json!(20), json!(30), json!(1)));
    crew.ask(&crew.listener, "PUT", "/lastheard", json!({"start": 31})).await.expect(200);
    assert_eq!(told(&crew.listener).await, (json!(31), json!(30), json!(0)));
    // How far one has listened is nobody else's.
    assert_eq!(told(&crew.member).await, (json!(0), json!(30), json!(3)));
    server.call("DELETE", "/bite/conversation/c-crew/start/30").by(&crew.owner).send().await.expect(204);
    assert_eq!(told(&crew.member).await, (json!(0), json!(20), json!(2)));
    // The last start that there is.
    server.stores.bites.put(bite("c-crew", u64::MAX, &crew.owner.identity, Bytes::from("x"))).await.unwrap();
    assert_eq!(told(&crew.member).await, (json!(0), json!(u64::MAX), json!(3)));
    crew.ask(&crew.member, "PUT", "/lastheard", json!({"start": u64::MAX})).await.expect(200);
    assert_eq!(told(&crew.member).await, (json!(u64::MAX), json!(u64::MAX), json!(0)));
}

#[tokio::test]
async fn unheard_is_counted_up_to_a_thousand() {
    let crew = Crew::new().await;
    for start in 1..=1_200u64 {
        let new = bite("c-crew", start, &crew.owner.identity, Bytes::from(start.to_string()));
        crew.server.stores.bites.put(new).await.unwrap();
    }
    for (heard, unheard) in [(0, 1_000), (199, 1_000), (200, 1_000), (201, 999), (1_199, 1), (1_200, 0)] {
        crew.ask(&crew.member, "PUT", "/lastheard", json!({"start": heard})).await.expect(200);
        let one = crew.server.get(&crew.member, Crew::PATH).await.json();
        assert_eq!((&one["unheard"], &one["last_bite"]), (&json!(unheard), &json!(1_200)), "{heard}");
    }
}

/// B6: title and picture change only where they are named.
#[tokio::test]
async fn b6_patch_partial() {
    let crew = Crew::new().await;
    let mut expected = json!({"id": "c-crew", "title": "", "picture": "", "pinned": false});
    for (field, value) in
        [("title", json!("Crew")), ("picture", json!("p.png")), ("title", json!("ü".repeat(100)))]
    {
        let answer = crew.ask(&crew.owner, "PATCH", "", json!({field: value})).await.expect(200).json();
        expected[field] = value;
        assert_eq!(answer, expected);
    }
    for ignored in [json!({}), json!({"id": "c-other", "pinned": true, "role": "listener", "owner": "u-x"})] {
        assert_eq!(crew.ask(&crew.owner, "PATCH", "", ignored).await.expect(200).json(), expected);
    }
    expected["title"] = json!("");
    assert_eq!(crew.ask(&crew.owner, "PATCH", "", json!({"title": null})).await.expect(200).json(), expected);
    for (body, status) in [
        (json!({"title": "x".repeat(101), "picture": "no.png"}), 422),
        (json!({"picture": "x".repeat(129)}), 422),
        (json!({"title": 7}), 400),
    ] {
        crew.ask(&crew.owner, "PATCH", "", body).await.problem(status);
    }
    let seen = crew.server.get(&crew.listener, Crew::PATH).await.expect(200).json();
    assert_eq!((&seen["title"], &seen["picture"]), (&json!(""), &json!("p.png")));
}

#[tokio::test]
async fn owner_and_admins_rename() {
    let crew = Crew::new().await;
    for (name, who) in crew.everybody() {
        let answer = crew.ask(who, "PATCH", "", json!({"title": name})).await;
        match name {
            "owner" | "admin" => assert_eq!(answer.expect(200).json()["title"], name),
            "stranger" => assert_eq!(answer.problem(404), "not_found"),
            _ => assert_eq!(answer.problem(403), "denied"),
        }
    }
    assert_eq!(crew.server.get(&crew.owner, Crew::PATH).await.json()["title"], "admin");
}

/// B5: whoever does not own a conversation leaves it by deleting it; it stays for the others.
#[tokio::test]
async fn b5_delete_requires_owner() {
    let crew = Crew::new().await;
    let server = &crew.server;
    server.put(&crew.member, "c-crew", 5, wav("mine")).await.expect(201);
    crew.ask(&crew.stranger, "DELETE", "", Value::Null).await.expect(404);
    server.call("DELETE", Crew::PATH).send().await.expect(401);
    for who in [&crew.admin, &crew.member, &crew.listener] {
        crew.ask(who, "DELETE", "", Value::Null).await.expect(204);
        assert_eq!(crew.role(who).await, None);
        server.get(who, Crew::PATH).await.expect(404);
        server.get(who, "/store/bite/c-crew/start/5").await.expect(403);
    }
    server.get(&crew.owner, "/store/bite/c-crew/start/5").await.expect(200);
    crew.ask(&crew.owner, "DELETE", "", Value::Null).await.expect(204);
    server.get(&crew.owner, Crew::PATH).await.expect(404);
    assert_eq!(server.stores.directory.conversation(&conversation("c-crew")).await.unwrap(), None);
}

/// B5: nothing said in a deleted conversation is left, more than a page of it; and nothing else is gone.
#[tokio::test]
async fn b5_delete_cascades() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Some(embedded(dir.path()).await);
    let setup = Setup { stores, transcriber: Some(Arc::new(Echo)), ..Setup::default() };
    let crew = Crew::on(setup).await;
    let server = &crew.server;
    crew.conversation("c-kept").await;
    for key in ["c-crew", "c-kept"] {
        server.put(&crew.member, key, 5, wav("secret words")).await.expect(201);
        let attach = format!("/publish/conversation/{key}/start/5/user");
        server.call("PUT", &attach).by(&crew.member).body("note").send().await.expect(201);
    }
    let puts = (10..1_210u64).map(|start| {
        let new = bite("c-crew", start, &crew.admin.identity, Bytes::from(start.to_string()));
        server.stores.bites.put(new)
    });
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    server.settle().await;
    let hits = async || {
        let query = SearchQuery { words: "secret".into(), conversations: None, before: None, limit: 10 };
        let hits = server.stores.search.search(query).await.unwrap().hits;
        hits.iter().map(|h| h.conversation.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(hits().await.len(), 2);

    // Others go on meanwhile.
    let (deleted, spoken) = tokio::join!(crew.ask(&crew.owner, "DELETE", "", Value::Null), async {
        let mut starts = Vec::new();
        for start in 100..120 {
            starts.push(server.put(&crew.member, "c-kept", start, wav("going on")).await.status);
        }
        starts
    });
    deleted.expect(204);
    assert_eq!(spoken, [201; 20]);
    server.settle().await;
    for label in Label::ALL {
        let (gone, kept) = (conversation("c-crew"), conversation("c-kept"));
        assert_eq!(server.stores.bites.starts(label, &gone).await.unwrap(), [0; 0], "{label}");
        assert!(!server.stores.bites.starts(label, &kept).await.unwrap().is_empty(), "{label}");
    }
    assert_eq!(hits().await, ["c-kept"]);
    for (_, who) in crew.everybody() {
        server.get(who, Crew::PATH).await.expect(404);
        server.get(who, "/store/bite/c-crew/start/5").await.expect(403);
    }
    assert_eq!(crew.role(&crew.member).await, None);
}

/// A pin is the member's own.
#[tokio::test]
async fn every_member_pins_for_themselves() {
    let crew = Crew::new().await;
    let pinned = async |who: &Person| crew.server.get(who, Crew::PATH).await.json()["pinned"].clone();
    for (name, who) in crew.everybody() {
        if name == "stranger" {
            crew.ask(who, "POST", "/pin", Value::Null).await.expect(404);
            crew.ask(who, "DELETE", "/pin", Value::Null).await.expect(404);
            continue;
        }
        for _ in 0..2 {
            assert_eq!(crew.ask(who, "POST", "/pin", Value::Null).await.expect(200).text(), "c-crew");
            assert_eq!(pinned(who).await, true);
        }
    }
    for _ in 0..2 {
        assert_eq!(crew.ask(&crew.member, "DELETE", "/pin", Value::Null).await.expect(200).text(), "c-crew");
        assert_eq!((pinned(&crew.member).await, pinned(&crew.admin).await), (json!(false), json!(true)));
    }
    let renamed = crew.ask(&crew.admin, "PATCH", "", json!({"title": "x"})).await.expect(200).json();
    assert_eq!(renamed["pinned"], true);
}

#[tokio::test]
async fn how_far_one_listened_never_moves_back() {
    let crew = Crew::new().await;
    for (name, who) in crew.everybody() {
        if name == "stranger" {
            crew.ask(who, "PUT", "/lastheard", json!({"start": 1})).await.expect(404);
            crew.ask(who, "GET", "/lastheard", Value::Null).await.expect(404);
            continue;
        }
        let heard =
            async || crew.server.get(who, &format!("{}/lastheard", Crew::PATH)).await.expect(200).json();
        assert_eq!(heard().await, json!({"start": 0}));
        for (told, stands) in [(7u64, 7u64), (5, 7), (0, 7), (7, 7), (1_800_000_000_000, 1_800_000_000_000)] {
            let answer = crew.ask(who, "PUT", "/lastheard", json!({"start": told})).await.expect(200);
            assert_eq!(answer.json(), json!({"start": stands}));
            assert_eq!(heard().await, json!({"start": stands}));
        }
        for bad in [json!({}), json!({"start": -1}), json!({"start": "7"}), json!({"start": 1.5}), json!(7)] {
            assert_eq!(crew.ask(who, "PUT", "/lastheard", bad).await.problem(400), "malformed");
        }
    }
}

/// D11: requests that fail leave nothing behind, so a thousand of them do not end the server.
#[tokio::test]
async fn d11_no_conn_leak() {
    let dir = tempfile::tempdir().unwrap();
    let stores = Some(embedded(dir.path()).await);
    let crew = Crew::on(Setup { stores, ..Setup::default() }).await;
    let server = &crew.server;
    server.ask(&crew.admin, "PATCH", "/core/user", json!({"username": "taken"})).await.expect(200);
    let failing = [
        (&crew.stranger, "DELETE", Crew::PATH.to_owned(), json!({}), 404),
        (&crew.stranger, "POST", format!("{}/member", Crew::PATH), json!({"id": "u-stranger"}), 404),
        (&crew.owner, "POST", format!("{}/member", Crew::PATH), json!({"id": "u-nobody"}), 404),
        (&crew.owner, "DELETE", format!("{}/member/u-owner", Crew::PATH), json!({}), 409),
        (&crew.owner, "PATCH", "/core/user".to_owned(), json!({"username": "taken"}), 409),
        (&crew.owner, "DELETE", "/core/user/contact/u-nobody".to_owned(), json!({}), 404),
        (&crew.listener, "PATCH", Crew::PATH.to_owned(), json!({"title": "x"}), 403),
        (&crew.owner, "GET", "/core/user/id/u-nobody".to_owned(), json!({}), 404),
    ];
    for round in 0..125 {
        let calls = failing.iter().map(|(who, method, path, body, status)| async move {
            let answer = server.ask(who, method, path, body.clone()).await;
            assert_eq!(answer.status, *status, "{round}: {method} {path}");
        });
        futures_util::future::join_all(calls).await;
    }
    assert_eq!(
        crew.ask(&crew.owner, "POST", "/member", json!({"id": "u-stranger"})).await.expect(200).text(),
        "c-crew"
    );
    assert_eq!(crew.role(&crew.stranger).await, Some(Role::Member));
    crew.ask(&crew.owner, "DELETE", "", Value::Null).await.expect(204);
}
