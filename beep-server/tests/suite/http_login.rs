//! `/login` over HTTP: both forms of an answer, the devices of a user, and the login port of the original.

use crate::common::{Answer, Call, Server, Setup};
use async_trait::async_trait;
use beep_core::Result;
use beep_core::auth::SmsSender;
use beep_server::{Extras, serve_login};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const ALICE: &str = "+6591111111";
const BOB: &str = "+6592222222";

/// Keeps what it was to send.
#[derive(Debug, Default)]
struct Phones(Mutex<Vec<(String, String)>>);

#[async_trait]
impl SmsSender for Phones {
    async fn send(&self, to: &str, text: &str) -> Result<()> {
        self.0.lock().unwrap().push((to.to_owned(), text.to_owned()));
        Ok(())
    }
}

impl Phones {
    fn code(&self) -> String {
        self.0.lock().unwrap().last().unwrap().1.chars().take_while(char::is_ascii_digit).collect()
    }
}

async fn server() -> (Server, Arc<Phones>) {
    let phones = Arc::new(Phones::default());
    let extras = Extras { sms: Some(phones.clone()), ..Extras::default() };
    (Server::start(Setup { extras, ..Setup::default() }).await, phones)
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    server.call("POST", path).body(body.to_string()).send().await
}

/// A code and its attempt.
async fn asked(server: &Server, phones: &Phones, number: &str) -> (String, String) {
    let answer = post(server, "/login/init", json!({ "phone_number": number })).await;
    (phones.code(), answer.expect(200).text())
}

/// What a device gets that asks for JSON.
async fn signed_in(server: &Server, phones: &Phones, number: &str, device: &str) -> Value {
    let (code, nonce) = asked(server, phones, number).await;
    let body = json!({ "code": code, "nonce": nonce, "clientid": device });
    let call = server.call("POST", "/login/verify").header("accept", "application/json");
    call.body(body.to_string()).send().await.expect(200).json()
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

/// Whether this token is let in.
async fn is_good(server: &Server, token: &str) -> bool {
    match server.call("GET", "/auth").bearer(token).send().await.status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_original_clients_get_a_token_as_text() {
    let (server, phones) = server().await;
    let (code, nonce) = asked(&server, &phones, ALICE).await;
    let body = json!({ "code": code, "nonce": nonce, "clientid": "phone" });
    let answer = post(&server, "/login/verify", body.clone()).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(is_good(&server, &answer.text()).await);
    assert_eq!(post(&server, "/login/verify", body).await.problem(404), "not_found");
}

#[tokio::test]
async fn json_has_what_renews_it() {
    let (server, phones) = server().await;
    let pair = signed_in(&server, &phones, ALICE, "phone").await;
    assert_eq!(pair["expires_in"], 3_600);
    assert_eq!(pair["user"]["phone_number"], "+65 9111 1111");
    let renewed = post(&server, "/login/refresh", json!({ "refresh_token": pair["refresh_token"] })).await;
    assert_eq!(renewed.header("cache-control"), "no-store");
    let renewed = renewed.expect(200).json();
    assert!(is_good(&server, &text(&renewed, "token")).await);
    // The old one again: a copy, so the session ends.
    let reused = post(&server, "/login/refresh", json!({ "refresh_token": pair["refresh_token"] })).await;
    assert_eq!(reused.problem(401), "unauthenticated");
    assert!(!is_good(&server, &text(&renewed, "token")).await);
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token() {
    let (server, phones) = server().await;
    let pair = signed_in(&server, &phones, ALICE, "phone").await;
    assert!(!is_good(&server, &text(&pair, "refresh_token")).await);
}

#[tokio::test]
async fn register_in_both_forms_names_the_proven_number() {
    let (server, phones) = server().await;
    for (number, first, by_path) in [(ALICE, "Alice", false), (BOB, "Bob", true)] {
        let (code, nonce) = asked(&server, &phones, number).await;
        let mut body =
            json!({ "first_name": first, "last_name": "T", "phone_number": "+6590000000", "id": "u-x" });
        let path =
            if by_path { format!("/login/register/{code}/{nonce}") } else { "/login/register".to_owned() };
        if !by_path {
            body["code"] = json!(code);
            body["nonce"] = json!(nonce);
        }
        let user = post(&server, &path, body.clone()).await.expect(200).json();
        assert_eq!(user["first_name"], first);
        assert_eq!(text(&user, "phone_number").replace(' ', ""), number);
        assert_eq!(post(&server, &path, body).await.problem(401), "unauthenticated");
    }
    assert!(server.stores.directory.user_by_phone("+6590000000").await.unwrap().is_none());
}

/// A10: what a client sends as a header is never taken for who it is.
#[tokio::test]
async fn a10_no_header_passthrough() {
    let (server, phones) = server().await;
    let (code, nonce) = asked(&server, &phones, ALICE).await;
    let body = json!({ "first_name": "A", "last_name": "T", "code": code, "nonce": nonce });
    let call =
        server.call("POST", "/login/register").header("x-user-claim", r#"{"userid":"u-bob","clientid":"x"}"#);
    let user = call.body(body.to_string()).send().await.expect(200).json();
    assert_ne!(user["id"], "u-bob");
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_400_and_never_a_5xx() {
    let (server, phones) = server().await;
    let (code, nonce) = asked(&server, &phones, ALICE).await;
    for (path, body) in [
        ("/login/init", json!({})),
        ("/login/init", json!({ "phone_number": 6591111111u64 })),
        ("/login/init", json!({ "phone_number": "91111111" })),
        ("/login/verify", json!({ "code": code, "nonce": nonce })),
        ("/login/verify", json!({ "code": code, "nonce": nonce, "clientid": "" })),
        ("/login/verify", json!({ "code": code, "nonce": nonce, "clientid": "x".repeat(129) })),
        ("/login/verify", json!([code, nonce, "phone"])),
        ("/login/register", json!({ "first_name": "A", "last_name": "B" })),
        ("/login/register", json!({ "code": code, "nonce": nonce })),
        ("/login/refresh", json!({})),
    ] {
        assert_eq!(post(&server, path, body).await.problem(400), "malformed");
    }
    for path in ["/login/init", "/login/verify", "/login/register", "/login/refresh"] {
        let broken = server.call("POST", path).body("{").send().await;
        assert_eq!(broken.problem(400), "malformed");
    }
    let body = json!({ "code": code, "nonce": nonce, "clientid": "phone" });
    post(&server, "/login/verify", body).await.expect(200);
}

#[tokio::test]
async fn a1_there_is_no_way_around_the_code() {
    let (server, _) = server().await;
    for path in ["/login/init/bypass", "/init/bypass", "/login/bypass", "/init", "/verify"] {
        assert_eq!(post(&server, path, json!({ "phone_number": ALICE })).await.problem(404), "no_route");
    }
}

#[tokio::test]
async fn without_a_sender_the_answer_says_what_to_set() {
    let server = Server::plain().await;
    let answer = post(&server, "/login/init", json!({ "phone_number": ALICE })).await;
    assert!(answer.text().contains("login.sms"));
    assert_eq!(answer.problem(501), "unsupported");
}

#[tokio::test]
async fn too_many_codes_are_429_with_a_time_to_come_back() {
    let (server, phones) = server().await;
    asked(&server, &phones, ALICE).await;
    let answer = post(&server, "/login/init", json!({ "phone_number": ALICE })).await;
    assert!(!answer.header("retry-after").is_empty());
    assert_eq!(answer.problem(429), "rate_limited");
}

/// A8, A11: a device signs itself or another one out, at once, and the stream of events ends with it.
#[tokio::test]
async fn devices_are_listed_and_signed_out() {
    let (server, phones) = server().await;
    let phone = text(&signed_in(&server, &phones, ALICE, "my phone").await, "token");
    server.stores.ephemeral.remove(&format!("sms/pause/{ALICE}")).await.unwrap();
    let tablet = text(&signed_in(&server, &phones, ALICE, "tablet").await, "token");
    let bob = text(&signed_in(&server, &phones, BOB, "phone").await, "token");

    let list = server.call("GET", "/login/sessions").bearer(&phone).send().await.expect(200).json();
    let devices: Vec<_> =
        list.as_array().unwrap().iter().map(|s| (text(s, "clientid"), s["current"] == true)).collect();
    assert_eq!(devices, [("my phone".to_owned(), true), ("tablet".to_owned(), false)]);
    assert!(!list.to_string().contains("refresh_token"));

    let end = |token: &str, device: &str| {
        server.call("DELETE", &format!("/login/sessions/{device}")).bearer(token).send()
    };
    assert_eq!(end(&bob, "tablet").await.problem(404), "not_found");
    end(&phone, "tablet").await.expect(204);
    assert!(!is_good(&server, &tablet).await && is_good(&server, &phone).await);
    assert_eq!(end(&phone, "tablet").await.problem(404), "not_found");
    server.call("POST", "/login/logout").bearer(&phone).send().await.expect(204);
    assert!(!is_good(&server, &phone).await && is_good(&server, &bob).await);
    for (method, path) in
        [("GET", "/login/sessions"), ("POST", "/login/logout"), ("DELETE", "/login/sessions/tablet")]
    {
        assert_eq!(server.call(method, path).send().await.problem(401), "unauthenticated");
        assert_eq!(server.call(method, path).bearer(&phone).send().await.problem(401), "unauthenticated");
    }
}

/// The original served the login routes on a port of their own, at the root.
#[tokio::test]
async fn the_login_port_has_the_login_routes_and_nothing_else() {
    let (server, phones) = server().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let app = server.app.clone();
    let serving = tokio::spawn(serve_login(listener, app, async { drop(stopped.await) }));
    let pool = Default::default();
    let there =
        |path: &str, body: Value| Call::new(&pool, address, "POST", path).body(body.to_string()).send();
    let nonce = there("/init", json!({ "phone_number": ALICE })).await.expect(200).text();
    let body = json!({ "code": phones.code(), "nonce": nonce, "clientid": "phone" });
    let token = there("/verify", body).await.expect(200).text();
    assert!(is_good(&server, &token).await);
    assert_eq!(there("/publish/conversation/c-1", json!({})).await.problem(404), "no_route");
    assert_eq!(there("/login/init", json!({})).await.problem(404), "no_route");
    drop(stop);
    serving.await.unwrap();
}
