//! What every gateway in front of a service has to do, asked through it.

use super::{Gateway, claims, signed};
use serde_json::json;

/// Whoever has a good token gets through, and the service is told who it is: by the gateway, and by nobody else.
pub async fn lets_good_tokens_through_and_says_whose_they_are(gateway: &Gateway) {
    let (alice, bob) = (gateway.server.person("alice").await, gateway.server.person("bob").await);
    let hers = vec![json!({"userid": "u-alice", "clientid": "phone"})];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let head = gateway.call(method, "/some/where?x=1").by(&alice).send().await.expect(200).text();
        assert!(head.starts_with(&format!("{} /some/where?x=1 ", method.to_lowercase())), "{head}");
        assert_eq!(claims(&head), hers, "{method}");
        assert!(!head.contains("authorization"), "the service got the token: {head}");
    }
    // What the client says itself does not arrive.
    let his = json!({"userid": "u-bob", "clientid": "phone"}).to_string();
    for name in ["X-User-Claim", "x-user-claim", "X_User_Claim", "x-user_claim"] {
        let head = gateway.call("GET", "/").by(&alice).header(name, &his).send().await.expect(200).text();
        assert_eq!(claims(&head), hers, "{name}: {head}");
        assert_eq!(gateway.call("GET", "/").header(name, &his).send().await.status, 401, "{name}");
    }
    // A body is the service's, not Beep's.
    gateway.call("PUT", "/").by(&bob).body("x".repeat(100_000)).send().await.expect(200);
}

/// Who has no token, a bad one or an old one gets 401, and the service is not asked.
pub async fn turns_away_who_has_no_good_token(gateway: &Gateway) {
    let alice = gateway.server.person("alice").await;
    let none = gateway.call("GET", "/x").send().await.expect(401);
    assert_eq!(none.header("www-authenticate"), "Bearer");
    assert!(!none.text().contains("get /x"));
    let expired = signed(&gateway.server, -60);
    for token in ["garbage", "", &expired, &alice.token[1..]] {
        assert_eq!(gateway.status(token).await, 401, "{token:.20}");
    }
    // The one that is expired differs from a good one in nothing else.
    assert_eq!(gateway.status(&signed(&gateway.server, 60)).await, 200);
}

/// `?token=` counts on GET only, by the gateway's word and not by the client's. Answers a token that went this way.
pub async fn passes_on_tokens_in_the_query_of_get(gateway: &Gateway) -> String {
    let (alice, bob) = (gateway.server.person("alice").await, gateway.server.person("bob").await);
    let path = format!("/x?a=b&token={}", alice.token);
    let head = gateway.call("GET", &path).send().await.expect(200).text();
    assert_eq!(claims(&head), [json!({"userid": "u-alice", "clientid": "phone"})]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let call = gateway.call(method, &path).header("x-forwarded-method", "GET");
        assert_eq!(call.send().await.status, 401, "{method}");
    }
    gateway.call("GET", "/x").header("x-forwarded-uri", &path).send().await.expect(401);
    let header_wins = gateway.call("GET", &path).by(&bob).send().await.expect(200).text();
    assert_eq!(claims(&header_wins)[0]["userid"], "u-bob");
    alice.token
}

/// Who signs out or is deleted is out at the very next request.
pub async fn turns_away_who_signed_out_or_was_deleted_at_once(gateway: &Gateway) {
    let (phone, tablet) = (gateway.signed_in("phone").await, gateway.signed_in("tablet").await);
    assert_eq!((gateway.status(&phone.token).await, gateway.status(&tablet.token).await), (200, 200));
    gateway.server.call("POST", "/login/logout").by(&phone).send().await.expect(204);
    assert_eq!((gateway.status(&phone.token).await, gateway.status(&tablet.token).await), (401, 200));
    gateway.server.call("DELETE", "/core/user").by(&tablet).send().await.expect(204);
    assert_eq!(gateway.status(&tablet.token).await, 401);
    assert_eq!(gateway.status(&gateway.server.token(&tablet.identity)).await, 401);
}
