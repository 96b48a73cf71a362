//! Contacts: whom somebody knows by number, on Beep or not yet (D13).

use crate::common::{Person, Server};
use beep_pipeline::services::people::MAX_ADDED;
use serde_json::{Value, json};

async fn add(server: &Server, who: &Person, number: &str) -> crate::common::Answer {
    server.ask(who, "POST", "/core/user/contact", json!({"phone_number": number})).await
}

async fn listed(server: &Server, who: &Person) -> Vec<Value> {
    server.get(who, "/core/user/contact").await.expect(200).json().as_array().unwrap().clone()
}

#[tokio::test]
async fn a_contact_is_added_by_number() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let number = server.number(&bob).await;
    let shown = format!("+65 {} {}", &number[3..7], &number[7..]);
    let expected = json!({
        "id": "u-bob", "username": null, "bio": "", "profile_pic": "",
        "first_name": "bob", "last_name": "Test", "phone_number": shown,
    });
    // Twice is as once, in whatever way the number is written.
    for written in [&number, &shown] {
        assert_eq!(add(&server, &alice, written).await.expect(200).json(), expected);
        assert_eq!(json!(listed(&server, &alice).await), json!([expected]));
    }
    // It is not mutual, and nobody else's.
    assert_eq!(listed(&server, &bob).await, [Value::Null; 0]);
    server.call("POST", "/core/user/contact").body("{}").send().await.expect(401);
    server.call("GET", "/core/user/contact").send().await.expect(401);
}

/// D13: any number of unknown numbers become blank users without a name, and the same number stays the same user.
#[tokio::test]
async fn d13_invite_two_unknown_contacts() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let mut ids = Vec::new();
    for number in ["+6581234567", "+6581234568", "+441212345678"] {
        let blank = add(&server, &alice, number).await.expect(200).json();
        for field in ["first_name", "last_name", "bio", "profile_pic"] {
            assert_eq!(blank[field], "", "{field}");
        }
        assert_eq!(blank["username"], Value::Null);
        ids.push(blank["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(listed(&server, &alice).await.len(), 3);
    assert_eq!(add(&server, &bob, "+65 8123 4567").await.expect(200).json()["id"], ids[0]);
    assert_eq!(listed(&server, &bob).await.len(), 1);
}

#[tokio::test]
async fn the_same_unknown_number_at_once_is_one_user() {
    let server = Server::plain().await;
    let mut people = Vec::new();
    for n in 0..20 {
        people.push(server.person(&format!("p{n}")).await);
    }
    let adds = people.iter().map(|who| add(&server, who, "+6581234567"));
    let mut ids: Vec<_> = futures_util::future::join_all(adds)
        .await
        .into_iter()
        .map(|answer| answer.expect(200).json()["id"].as_str().unwrap().to_owned())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn own_and_bad_numbers_are_refused() {
    let server = Server::plain().await;
    let alice = server.person("alice").await;
    let own = server.number(&alice).await;
    assert_eq!(add(&server, &alice, &own).await.problem(422), "invalid");
    for bad in ["", "91234567", "+", "+65", "call me", "+6581234567890123456"] {
        assert_eq!(add(&server, &alice, bad).await.problem(400), "malformed", "{bad}");
    }
    for bad in [json!({}), json!({"phone_number": null}), json!({"phone_number": 6581234567u64}), json!([])] {
        let answer = server.ask(&alice, "POST", "/core/user/contact", bad).await;
        assert_eq!(answer.problem(400), "malformed");
    }
    assert_eq!(listed(&server, &alice).await, [Value::Null; 0]);
}

#[tokio::test]
async fn contacts_are_removed_by_their_owner() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    let carol = server.person("carol").await;
    for (who, contact) in [(&alice, &bob), (&carol, &bob)] {
        add(&server, who, &server.number(contact).await).await.expect(200);
    }
    let remove = |who: &Person, id: &str| server.call("DELETE", &format!("/core/user/contact/{id}")).by(who);
    // Neither somebody else's nor backwards.
    assert_eq!(remove(&bob, "u-alice").send().await.problem(404), "not_found");
    assert_eq!(remove(&alice, "u-carol").send().await.problem(404), "not_found");
    assert_eq!(remove(&alice, "u-nobody").send().await.problem(404), "not_found");
    assert_eq!(remove(&alice, "u_bob").send().await.problem(400), "malformed");
    server.call("DELETE", "/core/user/contact/u-bob").send().await.expect(401);
    remove(&alice, "u-bob").send().await.expect(204);
    assert_eq!(remove(&alice, "u-bob").send().await.problem(404), "not_found");
    assert_eq!((listed(&server, &alice).await.len(), listed(&server, &carol).await.len()), (0, 1));
}

/// B8: whoever adds numbers as contacts to learn who has them comes to an end; others do not.
#[tokio::test]
async fn b8_contacts_are_added_at_a_persons_pace() {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    for n in 0..MAX_ADDED {
        add(&server, &alice, &format!("+65810{n:05}")).await.expect(200);
    }
    assert_eq!(add(&server, &alice, "+6582000000").await.problem(429), "rate_limited");
    assert!(server.stores.directory.user_by_phone("+6582000000").await.unwrap().is_none());
    add(&server, &bob, "+6582000000").await.expect(200);
}
