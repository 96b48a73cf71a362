//! Members: who adds, raises and removes whom, and that it counts at once (B4, B14).

use crate::common::{Crew, Person, conversation, wav};
use beep_core::store::Role;
use serde_json::{Value, json};

fn role(name: &str) -> Option<Role> {
    Role::parse(name).ok()
}

/// B4: whoever is not in a conversation adds nobody to it, themselves included.
#[tokio::test]
async fn b4_only_members_add() {
    let crew = Crew::new().await;
    let ann = crew.server.person("ann").await;
    for id in ["u-stranger", "u-ann", "u-owner"] {
        for body in [json!({"id": id}), json!({"id": id, "role": "owner"})] {
            let answer = crew.ask(&crew.stranger, "POST", "/member", body).await;
            assert_eq!(answer.problem(404), "not_found");
        }
    }
    let listener = crew.ask(&crew.listener, "POST", "/member", json!({"id": "u-ann"})).await;
    assert_eq!(listener.problem(403), "denied");
    crew.server.call("POST", "/core/user/conversation/c-crew/member").body("{}").send().await.expect(401);
    assert_eq!((crew.role(&ann).await, crew.role(&crew.stranger).await), (None, None));
    assert_eq!(crew.role(&crew.owner).await, Some(Role::Owner));

    let added = crew.ask(&crew.member, "POST", "/member", json!({"id": "u-ann"})).await.expect(200);
    assert_eq!(added.text(), "c-crew");
    assert_eq!(crew.role(&ann).await, Some(Role::Member));
    crew.server.put(&ann, "c-crew", 5, wav("let in")).await.expect(201);
}

/// Each role gives what it may and nothing above.
#[tokio::test]
async fn nobody_gives_more_than_they_may() {
    let crew = Crew::new().await;
    let mut people = 0;
    for (name, who) in crew.everybody() {
        for given in ["listener", "member", "admin", "owner"] {
            people += 1;
            let new = crew.server.person(&format!("new-{people}")).await;
            let answer = crew.ask(who, "POST", "/member", json!({"id": new.id(), "role": given})).await;
            let expected = match (name, given) {
                ("owner", _)
                | ("admin", "listener" | "member" | "admin")
                | ("member", "listener" | "member") => 200,
                ("stranger", _) => 404,
                _ => 403,
            };
            assert_eq!(answer.status, expected, "{name} gives {given}: {}", answer.text());
            let stands = if expected == 200 { role(given) } else { None };
            assert_eq!(crew.role(&new).await, stands, "{name} gives {given}");
        }
    }
}

/// Adding somebody who is there is 200 and leaves them what they are, unless a role is given by who may.
#[tokio::test]
async fn adding_twice_changes_nothing() {
    let crew = Crew::new().await;
    for who in [&crew.owner, &crew.admin, &crew.member] {
        for (name, there) in crew.everybody().into_iter().take(4) {
            let answer = crew.ask(who, "POST", "/member", json!({"id": there.id()})).await.expect(200);
            assert_eq!(answer.text(), "c-crew");
            assert_eq!(crew.role(there).await, role(name));
            // The role that they have already.
            crew.ask(who, "POST", "/member", json!({"id": there.id(), "role": name})).await.expect(200);
            assert_eq!(crew.role(there).await, role(name));
        }
    }
    let members = crew.server.stores.directory.members(&conversation("c-crew")).await.unwrap();
    assert_eq!(members.len(), 4);
}

#[tokio::test]
async fn nobody_raises_themselves() {
    let crew = Crew::new().await;
    for (name, who) in crew.everybody() {
        for wanted in ["listener", "member", "admin", "owner"] {
            let answer = crew.ask(who, "POST", "/member", json!({"id": who.id(), "role": wanted})).await;
            let expected = match (name, wanted) {
                ("stranger", _) => 404,
                // A listener gives nobody anything.
                ("listener", _) => 403,
                (name, wanted) if name == wanted => 200,
                // The last owner stays one.
                ("owner", _) => 409,
                // An admin may step down.
                ("admin", "listener" | "member") => 200,
                _ => 403,
            };
            assert_eq!(answer.status, expected, "{name} to {wanted}: {}", answer.text());
            let stands = if expected == 200 { role(wanted) } else { role(name) };
            assert_eq!(crew.role(who).await, stands, "{name} to {wanted}");
            crew.reset(who, role(name)).await;
        }
    }
}

/// Admins and owners change the roles of those who are not above them.
#[tokio::test]
async fn roles_are_changed_from_above() {
    let crew = Crew::new().await;
    let give = async |who: &Person, to: &Person, role: &str| {
        crew.ask(who, "POST", "/member", json!({"id": to.id(), "role": role})).await.status
    };
    // Denied.
    assert_eq!(give(&crew.member, &crew.listener, "member").await, 403);
    assert_eq!(give(&crew.listener, &crew.member, "listener").await, 403);
    assert_eq!(give(&crew.member, &crew.admin, "member").await, 403);
    assert_eq!(give(&crew.admin, &crew.owner, "member").await, 403);
    assert_eq!(give(&crew.admin, &crew.member, "owner").await, 403);
    assert_eq!(crew.role(&crew.listener).await, Some(Role::Listener));
    assert_eq!(crew.role(&crew.member).await, Some(Role::Member));
    assert_eq!(crew.role(&crew.admin).await, Some(Role::Admin));
    assert_eq!(crew.role(&crew.owner).await, Some(Role::Owner));
    // Allowed, and it counts in the next request.
    crew.server.put(&crew.listener, "c-crew", 5, wav("x")).await.expect(403);
    assert_eq!(give(&crew.admin, &crew.listener, "member").await, 200);
    crew.server.put(&crew.listener, "c-crew", 5, wav("x")).await.expect(201);
    assert_eq!(give(&crew.admin, &crew.listener, "listener").await, 200);
    crew.server.put(&crew.listener, "c-crew", 6, wav("x")).await.expect(403);
    assert_eq!(give(&crew.admin, &crew.member, "admin").await, 200);
    assert_eq!(give(&crew.member, &crew.admin, "member").await, 200);
    assert_eq!(give(&crew.owner, &crew.admin, "owner").await, 200);
    // Of two owners each may step down, and then the other stays.
    assert_eq!(give(&crew.owner, &crew.owner, "listener").await, 200);
    assert_eq!(give(&crew.admin, &crew.admin, "member").await, 409);
    assert_eq!(crew.role(&crew.owner).await, Some(Role::Listener));
    assert_eq!(crew.role(&crew.admin).await, Some(Role::Owner));
}

#[tokio::test]
async fn unknown_people_and_roles_are_refused() {
    let crew = Crew::new().await;
    for (body, status, code) in [
        (json!({"id": "u-nobody"}), 404, "not_found"),
        (json!({"id": "u-nobody", "role": "listener"}), 404, "not_found"),
        (json!({"id": "u_x"}), 400, "malformed"),
        (json!({"id": ""}), 400, "malformed"),
        (json!({"id": 7}), 400, "malformed"),
        (json!({}), 400, "malformed"),
        (json!({"id": "u-stranger", "role": "king"}), 400, "malformed"),
        (json!({"id": "u-stranger", "role": "Owner"}), 400, "malformed"),
        (json!({"id": "u-stranger", "role": 3}), 400, "malformed"),
    ] {
        let answer = crew.ask(&crew.owner, "POST", "/member", body.clone()).await;
        assert_eq!(answer.problem(status), code, "{body}");
    }
    assert_eq!(
        crew.ask(&crew.owner, "DELETE", "/member/u-nobody", Value::Null).await.problem(404),
        "not_found"
    );
    assert_eq!(crew.ask(&crew.owner, "DELETE", "/member/u_x", Value::Null).await.problem(400), "malformed");
    assert_eq!(crew.role(&crew.stranger).await, None);
}

#[tokio::test]
async fn members_see_who_is_there() {
    let crew = Crew::new().await;
    for (name, who) in crew.everybody() {
        let answer = crew.server.get(who, "/core/user/conversation/c-crew/member").await;
        if name == "stranger" {
            assert_eq!(answer.problem(404), "not_found");
            continue;
        }
        let members = answer.expect(200).json();
        let members = members.as_array().unwrap();
        let roles: Vec<_> =
            members.iter().map(|m| (m["id"].as_str().unwrap(), m["role"].as_str().unwrap())).collect();
        assert_eq!(
            roles,
            [("u-admin", "admin"), ("u-listener", "listener"), ("u-member", "member"), ("u-owner", "owner")]
        );
        for member in members {
            assert_eq!(member.as_object().unwrap().len(), 8);
            // Whoever shares a conversation sees the number.
            assert!(member["phone_number"].as_str().unwrap().starts_with("+65 9"), "{member}");
        }
    }
    crew.server.call("GET", "/core/user/conversation/c-crew/member").send().await.expect(401);
}

#[tokio::test]
async fn admins_and_owners_remove_others_and_everybody_themselves() {
    for (actor, target, status) in [
        ("owner", "owner", 409),
        ("owner", "admin", 204),
        ("owner", "member", 204),
        ("owner", "listener", 204),
        ("owner", "stranger", 404),
        ("admin", "owner", 403),
        ("admin", "admin", 204),
        ("admin", "member", 204),
        ("admin", "listener", 204),
        ("admin", "stranger", 404),
        ("member", "owner", 403),
        ("member", "admin", 403),
        ("member", "member", 204),
        ("member", "listener", 403),
        ("member", "stranger", 403),
        ("listener", "member", 403),
        ("listener", "listener", 204),
        ("stranger", "owner", 404),
        ("stranger", "listener", 404),
        ("stranger", "stranger", 404),
    ] {
        let crew = Crew::new().await;
        let of = |name: &str| crew.everybody().into_iter().find(|(n, _)| *n == name).unwrap().1;
        let answer = crew.ask(of(actor), "DELETE", &format!("/member/u-{target}"), Value::Null).await;
        assert_eq!(answer.status, status, "{actor} removes {target}: {}", answer.text());
        let stands = if status == 204 { None } else { role(target) };
        assert_eq!(crew.role(of(target)).await, stands, "{actor} removes {target}");
        if status == 204 {
            crew.server.get(of(target), Crew::PATH).await.expect(404);
        }
    }
}

/// A conversation always has an owner: the last one cannot leave, of two each can.
#[tokio::test]
async fn the_last_owner_cannot_leave() {
    let crew = Crew::new().await;
    let leave = |who: &Person| format!("/member/{}", who.id());
    let answer = crew.ask(&crew.owner, "DELETE", &leave(&crew.owner), Value::Null).await;
    assert_eq!(answer.problem(409), "conflict");
    crew.ask(&crew.owner, "POST", "/member", json!({"id": "u-admin", "role": "owner"})).await.expect(200);
    crew.ask(&crew.owner, "DELETE", &leave(&crew.owner), Value::Null).await.expect(204);
    assert_eq!(
        crew.ask(&crew.admin, "DELETE", &leave(&crew.admin), Value::Null).await.problem(409),
        "conflict"
    );
    // Both at once: whatever comes first, somebody owns it afterwards.
    for round in 0..50 {
        crew.reset(&crew.owner, Some(Role::Owner)).await;
        crew.reset(&crew.admin, Some(Role::Owner)).await;
        let (owners, admins) = (leave(&crew.owner), leave(&crew.admin));
        let (one, other) = tokio::join!(
            crew.ask(&crew.owner, "DELETE", &owners, Value::Null),
            crew.ask(&crew.admin, "DELETE", &admins, Value::Null),
        );
        assert!([204, 409].contains(&one.status) && [204, 409].contains(&other.status));
        let members = crew.server.stores.directory.members(&conversation("c-crew")).await.unwrap();
        assert!(members.iter().any(|m| m.role == Role::Owner), "round {round}: {members:?}");
    }
}

/// B14: from the moment that a removal is answered, nothing that the removed one asks succeeds.
#[tokio::test]
async fn b14_revoke_effective_now() {
    let crew = Crew::new().await;
    let server = &crew.server;
    server.put(&crew.owner, "c-crew", 1, wav("secret")).await.expect(201);
    let path = format!("/member/{}", crew.member.id());
    for round in 0..100u64 {
        // Asked before, so that the answer is known by heart.
        server.get(&crew.member, "/store/bite/c-crew/start/1").await.expect(200);
        server.put(&crew.member, "c-crew", 10 + round, wav("mine")).await.expect(201);
        let (who, below) = match round % 3 {
            0 => (&crew.owner, path.as_str()),
            1 => (&crew.member, path.as_str()),
            _ => (&crew.member, ""),
        };
        crew.ask(who, "DELETE", below, Value::Null).await.expect(204);
        let denied = [
            server.get(&crew.member, "/store/bite/c-crew/start/1").await,
            server.put(&crew.member, "c-crew", 1_000 + round, wav("let me in")).await,
            server.get(&crew.member, "/transcription/search?q=x&conversation=c-crew").await,
            server.get(&crew.member, "/permissions/user/u-member/conversation/c-crew").await,
        ];
        for answer in denied {
            assert_eq!(answer.problem(403), "denied", "round {round}");
        }
        server.get(&crew.member, Crew::PATH).await.expect(404);
        crew.ask(&crew.member, "POST", "/member", json!({"id": "u-member"})).await.expect(404);
        // And let in again at once.
        crew.ask(&crew.admin, "POST", "/member", json!({"id": "u-member"})).await.expect(200);
    }
}
