//! `/permissions`: who is in which conversation, told to the user themselves, to services and to operators.

use crate::common::Crew;
use beep_core::auth::Scope;
use serde_json::Value;

fn path(user: &str, conversation: &str) -> String {
    format!("/permissions/user/{user}/conversation/{conversation}")
}

#[tokio::test]
async fn members_are_told_apart_from_others() {
    let crew = Crew::new().await;
    let service = crew.server.person("service").await;
    let operator = crew.server.scoped(&service, Scope::Admin);
    let service = crew.server.scoped(&service, Scope::Service);
    for (name, who) in crew.everybody() {
        let expected = if name == "stranger" { 403 } else { 200 };
        for asker in [who, &service, &operator] {
            let answer = crew.server.get(asker, &path(who.id(), "c-crew")).await;
            assert_eq!(answer.status, expected, "{name}: {}", answer.text());
            let none = crew.server.get(asker, &path(who.id(), "c-none")).await;
            assert_eq!(none.problem(403), "denied");
        }
    }
    crew.server.get(&service, &path("u-nobody", "c-crew")).await.expect(403);
    crew.server.get(&service, &path("u_x", "c-crew")).await.expect(400);
    crew.server.get(&service, &path("u-owner", "c_x")).await.expect(400);
}

/// Who is where is nobody else's business: a member and somebody who is none get the same answer.
#[tokio::test]
async fn nobody_asks_about_others() {
    let crew = Crew::new().await;
    for (name, who) in crew.everybody() {
        let mut answers = Vec::new();
        for (_, other) in crew.everybody().into_iter().filter(|(n, _)| *n != name) {
            let answer = crew.server.get(who, &path(other.id(), "c-crew")).await;
            assert_eq!(answer.problem(403), "denied");
            answers.push(answer.body);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
    }
    crew.server.call("GET", &path("u-owner", "c-crew")).send().await.expect(401);
    crew.server.call("GET", &path("u-owner", "c-crew")).bearer("garbage").send().await.expect(401);
}

#[tokio::test]
async fn a_removed_member_is_none_at_once() {
    let crew = Crew::new().await;
    let own = path("u-member", "c-crew");
    for _ in 0..20 {
        crew.server.get(&crew.member, &own).await.expect(200);
        crew.ask(&crew.owner, "DELETE", "/member/u-member", Value::Null).await.expect(204);
        crew.server.get(&crew.member, &own).await.expect(403);
        let body = serde_json::json!({"id": "u-member"});
        crew.ask(&crew.owner, "POST", "/member", body).await.expect(200);
    }
}
