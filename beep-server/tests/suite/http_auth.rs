//! Who asks: the header's grammar, tokens in the query, claims that nobody believes, keys that nobody else reads.

use crate::common::{Person, Server, wav};
use beep_core::auth::jwt::JwtConfig;
use beep_core::clock::{Clock, System};
use beep_core::store::Role;
use beep_server::assemble::assemble;
use beep_server::config::Config;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, OnceLock};

/// A conversation of alice's, and bob, who is a stranger to it.
async fn alice_and_bob() -> (Server, Person, Person) {
    let server = Server::plain().await;
    let (alice, bob) = (server.person("alice").await, server.person("bob").await);
    server.conversation("c-hers", &alice, &[]).await;
    server.put(&alice, "c-hers", 5, wav("mine")).await.expect(201);
    (server, alice, bob)
}

/// A16: one scheme in any case, spaces, one token to the end; everything else is refused, not guessed at.
#[tokio::test]
async fn authz_header_grammar() {
    let (server, alice, _) = alice_and_bob().await;
    let token = &alice.token;
    let path = "/store/bite/c-hers/start/5";
    for good in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("Bearer   {token}"),
    ] {
        server.call("GET", path).header("authorization", &good).send().await.expect(200);
    }
    let (head, tail) = token.split_at(token.len() / 2);
    for bad in [
        String::new(),
        token.clone(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("fooBearer {token}"),
        format!("Bearer{token}"),
        format!("Bearer\t{token}"),
        format!("Bearer:{token}"),
        format!("Bearer: {token}"),
        format!("Bearer={token}"),
        format!("Bearer \"{token}\""),
        format!("Bearer {token} x"),
        format!("Bearer x {token}"),
        format!("Bearer {token},"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token};q=1"),
        format!("Bearer {head} {tail}"),
        format!("Bearer {token}="),
        format!("Bearer {token}%20"),
        format!("Basic {token}"),
        format!("Token {token}"),
        format!("JWT {token}"),
        format!("Basic x Bearer {token}"),
        format!("Bearer {}", token.to_uppercase()),
        format!("Bearer {head}"),
        "Bearer null".into(),
        "Bearer undefined".into(),
        "Bearer ..".into(),
        format!("Bearer {}", "A".repeat(30_000)),
    ] {
        let answer = server.call("GET", path).header("authorization", &bad).send().await;
        assert_eq!(answer.status, 401, "{bad:.60}");
        answer.problem(401);
    }
    // Two headers are two opinions about who asks.
    let twice = server.call("GET", path).by(&alice).by(&alice).send().await;
    assert_eq!(twice.problem(401), "unauthenticated");
}

/// A15: `?token=` counts on GET only, and the header wins even when it is wrong.
#[tokio::test]
async fn query_token_only_on_get() {
    let (server, alice, bob) = alice_and_bob().await;
    let path = |path: &str, who: &Person| format!("{path}?token={}", who.token);
    server.call("GET", &path("/store/bite/c-hers/start/5", &alice)).send().await.expect(200);
    server.call("GET", &path("/subscribe", &alice)).head().await.expect(200);
    server.call("GET", &path("/store/bite/c-hers/start/5", &bob)).send().await.expect(403);
    server.call("GET", "/store/bite/c-hers/start/5?token=").send().await.expect(401);
    for (method, route) in [
        ("HEAD", "/store/bite/c-hers/start/5"),
        ("POST", "/publish/conversation/c-hers"),
        ("PUT", "/publish/conversation/c-hers/start/6"),
        ("PUT", "/publish/conversation/c-hers/start/5/user"),
        ("DELETE", "/bite/conversation/c-hers/start/5"),
    ] {
        let answer = server.call(method, &path(route, &alice)).body(wav("x")).send().await;
        assert_eq!(answer.status, 401, "{method} {route}");
    }
    let wrong_header = server.call("GET", &path("/store/bite/c-hers/start/5", &alice)).bearer("garbage");
    wrong_header.send().await.expect(401);
    let other_header = server.call("GET", &path("/store/bite/c-hers/start/5", &alice)).by(&bob);
    other_header.send().await.expect(403);
    let wrong_query = server.call("GET", "/store/bite/c-hers/start/5?token=garbage").by(&alice);
    wrong_query.send().await.expect(200);
    assert_eq!(server.stores.bites.tail().await.unwrap(), 1);
}

/// `/auth` tells a gateway who asks, by the header or by the query that the gateway was asked with.
#[tokio::test]
async fn auth_tells_a_gateway_who_asks() {
    let (server, alice, bob) = alice_and_bob().await;
    let claim = |answer: &crate::common::Answer| -> Value {
        serde_json::from_str(answer.header("x-user-claim")).unwrap()
    };
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"] {
        let answer = server.call(method, "/auth").by(&alice).send().await.expect(200);
        assert_eq!(claim(&answer), json!({"userid": "u-alice", "clientid": "phone"}));
    }
    let uri = format!("/subscribe?x=1&token={}", alice.token);
    let answer = server.call("GET", "/auth").header("x-forwarded-uri", &uri).send().await.expect(200);
    assert_eq!(claim(&answer)["userid"], "u-alice");
    let put = server.call("GET", "/auth").header("x-forwarded-uri", &uri).header("x-forwarded-method", "PUT");
    put.send().await.expect(401);
    let header_wins =
        server.call("GET", "/auth").header("x-forwarded-uri", &uri).by(&bob).send().await.expect(200);
    assert_eq!(claim(&header_wins)["userid"], "u-bob");
    for uri in ["", "?", "/x", "/x?token=", "/x?token=garbage", "/x?TOKEN=y", "?token"] {
        server.call("GET", "/auth").header("x-forwarded-uri", uri).send().await.expect(401);
    }
}

/// A17: no header but `Authorization` says who somebody is.
#[tokio::test]
async fn spoofed_claim_header() {
    let (server, alice, bob) = alice_and_bob().await;
    let claims = [
        r#"{"userid":"u-alice","clientid":"phone"}"#.to_owned(),
        "u-alice".to_owned(),
        format!("Bearer {}", alice.token),
    ];
    let names = [
        "X-User-Claim",
        "x-user-claim",
        "X-USER-CLAIM",
        "X_User_Claim",
        "X-UserClaim",
        "User-Claim",
        "X-User-Claims",
        "X-User",
        "X-User-Id",
        "X-UserId",
        "X-User-Name",
        "X-Username",
        "X-Client-Id",
        "X-ClientId",
        "X-Identity",
        "X-Auth-User",
        "X-Auth-Request-User",
        "X-Auth-Request-Email",
        "X-Auth-Request-Access-Token",
        "X-Auth-Token",
        "X-Authenticated-User",
        "X-Authenticated-Userid",
        "X-Authorization",
        "X-Access-Token",
        "X-Api-Key",
        "X-Forwarded-User",
        "X-Forwarded-Email",
        "X-Forwarded-Preferred-Username",
        "X-Forwarded-Access-Token",
        "X-Forwarded-Authorization",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Uri",
        "X-Forwarded-Client-Cert",
        "X-Original-Url",
        "X-Original-Uri",
        "X-Original-User",
        "X-Rewrite-Url",
        "X-Real-Ip",
        "X-Remote-User",
        "X-Remote-Addr",
        "X-Client-Ip",
        "X-Cluster-Client-Ip",
        "True-Client-Ip",
        "Cf-Connecting-Ip",
        "Forwarded",
        "Via",
        "Remote-User",
        "Remote_User",
        "Proxy-Authorization",
        "Proxy-User",
        "Authentication",
        "Www-Authenticate",
        "X-Webauth-User",
        "X-Token-Subject",
        "X-Jwt-Payload",
        "X-Endpoint-Api-Userinfo",
        "X-Amzn-Oidc-Identity",
        "X-Goog-Authenticated-User-Email",
        "X-Ms-Client-Principal-Id",
        "Cookie",
        "From",
    ];
    assert!(names.len() >= 50);
    for name in names {
        for claim in &claims {
            let read = || server.call("GET", "/store/bite/c-hers/start/5").header(name, claim);
            assert_eq!(read().send().await.status, 401, "{name}: {claim}");
            assert_eq!(read().by(&bob).send().await.status, 403, "{name}: {claim}");
            assert_eq!(read().by(&alice).send().await.status, 200, "{name}: {claim}");
            let write =
                server.call("POST", "/publish/conversation/c-hers").header(name, claim).body(wav("x"));
            assert_eq!(write.by(&bob).send().await.status, 403, "{name}: {claim}");
            let asked = server.call("GET", "/auth").header(name, claim).by(&bob).send().await.expect(200);
            assert!(asked.header("x-user-claim").contains("u-bob"), "{name}: {claim}");
        }
    }
    server.conversation("c-ours", &alice, &[(&bob, Role::Member)]).await;
    let said = server.call("PUT", "/publish/conversation/c-ours/start/1").header("x-user-claim", &claims[0]);
    said.by(&bob).body(wav("bob")).send().await.expect(201);
    let author = server.get(&alice, "/bite/conversation/c-ours/start/1/user").await.expect(200).json();
    assert_eq!(author, json!({"user": "u-bob", "client": "phone"}));
}

/// A14: a token that is signed well but says too little, or the wrong thing, is refused; nothing panics.
#[tokio::test]
async fn signed_token_without_claims_is_refused() {
    let (server, ..) = alice_and_bob().await;
    let now = System.now() / 1_000;
    let config = JwtConfig::default();
    let whole = json!({
        "userid": "u-alice", "clientid": "phone", "sub": "u-alice", "iss": config.issuer, "aud": config.audience,
        "iat": now, "exp": now + 600, "jti": "1",
    });
    let sign = |claims: &Value| {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some(server.key.kid().to_owned());
        let key = jsonwebtoken::EncodingKey::from_ed_pem(server.key.to_pem().as_bytes()).unwrap();
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    };
    let ask = async |claims: &Value| server.call("GET", "/auth").bearer(&sign(claims)).send().await.status;
    assert_eq!(ask(&whole).await, 200);
    for name in whole.as_object().unwrap().keys() {
        let mut without = whole.clone();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(ask(&without).await, 401, "without {name}");
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!(true),
            json!(""),
            json!("x\u{0}y"),
            json!(-1),
            json!(["u-alice"]),
        ] {
            let mut changed = whole.clone();
            changed[name] = wrong.clone();
            // Any text may be a token id.
            if name != "jti" || !wrong.is_string() || wrong == "" {
                assert_eq!(ask(&changed).await, 401, "{name}: {wrong}");
            }
        }
    }
    for no_claims in [json!([]), json!(null), json!("x"), json!(1), json!({})] {
        assert_eq!(ask(&no_claims).await, 401, "{no_claims}");
    }
    server.assert_alive().await;
}

/// OPTIONS passes without a token and says nothing about anybody.
#[tokio::test]
async fn options_needs_no_token() {
    let (server, ..) = alice_and_bob().await;
    for path in ["/auth", "/store/bite/c-hers/start/5", "/store/bite/c-none/start/5", "/nowhere", "*"] {
        let answer =
            server.call("OPTIONS", path).header("origin", "https://evil.example").send().await.expect(204);
        assert!(answer.body.is_empty());
        // CORS is off: no origin is let in, least of all any with credentials.
        assert!(
            answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")),
            "{:?}",
            answer.headers
        );
    }
}

/// A15, R28: whatever goes wrong, no token is logged, whichever way it came.
#[tokio::test]
async fn tokens_are_never_logged() {
    let log = captured();
    tracing::info!("the capture works");
    let (server, alice, bob) = alice_and_bob().await;
    for who in [&alice, &bob] {
        for path in [
            "/store/bite/c-hers/start/5",
            "/store/bite/c-hers/start/99",
            "/subscribe",
            "/auth",
            "/nowhere",
            "/%ff",
        ] {
            let by_query = format!("{path}?token={}", who.token);
            server.call("GET", &by_query).head().await;
            server.call("GET", path).by(who).head().await;
            server.call("DELETE", &by_query).head().await;
            server.call("GET", "/auth").header("x-forwarded-uri", &by_query).send().await;
        }
        server.put(who, "c-hers", 6, wav("x")).await;
        server.put(who, "c-hers", 6, crate::common::garbage(99)).await;
        let cut = format!(
            "PUT /publish/conversation/c-hers/start/9 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 9\r\n\r\nx",
            who.token
        );
        crate::common::raw::exchange(server.address, cut.as_bytes(), std::time::Duration::from_millis(50))
            .await;
        server.call("GET", &format!("/auth?token={}", "x".repeat(9_000))).by(who).send().await;
    }
    let debug = format!("{:?} {:?}", server.app, server.key);
    let text = String::from_utf8(log.lock().unwrap().clone()).unwrap() + &debug;
    assert!(text.contains("the capture works"));
    for who in [&alice, &bob] {
        // The signature alone would do harm as well: each third is looked for by itself.
        for part in who.token.split('.').skip(1) {
            assert!(!text.contains(part), "a part of a token was logged");
        }
    }
    let pem = server.key.to_pem();
    assert!(pem.lines().filter(|l| l.len() > 20 && !l.starts_with("---")).all(|line| !text.contains(line)));
}

/// A18: the key pair is made at first start, for its owner's eyes only, and is the same at the next.
#[tokio::test]
async fn signing_key_is_made_at_first_start_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config { data_dir: dir.path().join("new").display().to_string(), ..Config::default() };
    config.transcribe.enabled = false;
    let app = assemble(&config).await.unwrap();
    let first = app.issuer().jwks();
    assert_eq!(first["keys"][0]["alg"], "RS256");
    assert_eq!(
        first["keys"][0]
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| ["d", "p", "q"].contains(&k.as_str()))
            .count(),
        0
    );
    let keys = std::path::Path::new(&config.data_dir).join("keys");
    let mut files = 0;
    for entry in std::fs::read_dir(&keys).unwrap() {
        let mode = entry.as_ref().unwrap().metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.unwrap().path());
        files += 1;
    }
    assert!(files > 0);
    app.beep().shutdown().await;
    drop(app);
    let again = assemble(&config).await.unwrap();
    assert_eq!(again.issuer().jwks(), first);
    again.beep().shutdown().await;
}

/// Everything that this process logs, at every level, from now on.
fn captured() -> Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let into = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("trace")
            .with_ansi(false)
            .with_writer(move || Sink(into.clone()))
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
        log
    });
    log.clone()
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
