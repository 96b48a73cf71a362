//! R22: every route for every kind of caller. Each cell of the table is asked on ground of its own, and exactly.

use crate::ground::{CALLERS, Cells, World, all, inside, outside, scoped};
use beep_server::ROUTES;
use std::collections::{BTreeMap, BTreeSet};

/// Whoever has a valid token.
const ANYBODY: Cells = answers(200);
/// The whole world, whatever token it shows.
const OPEN: Cells = all(200);
/// The same refusal for the whole world.
const MALFORMED: Cells = all(400);
/// Whoever may hear the conversation, where whoever asks about another one is told so.
const HEARS: Cells = inside(403, [200; 4]);
/// Whoever may speak there.
const SPEAKS: Cells = inside(403, [403, 201, 201, 201]);
/// Whoever is in the conversation, where nobody else is told that there is one.
const IN_IT: Cells = inside(404, [200; 4]);

/// The same for whoever has a valid token.
const fn answers(status: u16) -> Cells {
    inside(status, [status; 4])
}

/// Method, request, body, and the status per caller. What stands in braces is that cell's own: see `ground`.
#[rustfmt::skip]
const TABLE: &[(&str, &str, &str, Cells)] = &[
    ("GET", "/auth", "", ANYBODY),
    ("POST", "/auth", "", ANYBODY),
    ("PUT", "/auth", "", ANYBODY),
    ("PATCH", "/auth", "", ANYBODY),
    ("DELETE", "/auth", "", ANYBODY),
    ("HEAD", "/auth", "", ANYBODY),

    // No token is looked at here, be it none, a bad or a good one: the body decides.
    ("POST", "/login/init", "", MALFORMED),
    ("POST", "/login/init", r#"{"phone_number": "5"}"#, MALFORMED),
    ("POST", "/login/init", r#"{"phone_number": "{reviewer}"}"#, OPEN),
    ("POST", "/login/verify", "", MALFORMED),
    ("POST", "/login/verify", r#"{"code": "000000", "nonce": "{nonce}", "clientid": "tablet"}"#, all(404)),
    ("POST", "/login/verify", r#"{"code": "{code}", "nonce": "{nonce}", "clientid": "tablet"}"#, OPEN),
    ("POST", "/login/register", "", MALFORMED),
    ("POST", "/login/register", r#"{"first_name": "A", "last_name": "B"}"#, MALFORMED),
    ("POST", "/login/register", r#"{"first_name": "A", "last_name": "B", "code": "0", "nonce": "{nonce}"}"#, all(401)),
    ("POST", "/login/register", r#"{"first_name": "A", "last_name": "B", "code": "{code}", "nonce": "{nonce}"}"#, OPEN),
    ("POST", "/login/register/{code}/{nonce}", "", MALFORMED),
    ("POST", "/login/register/000000/{nonce}", r#"{"first_name": "A", "last_name": "B"}"#, all(401)),
    ("POST", "/login/register/{code}/{nonce}", r#"{"first_name": "A", "last_name": "B"}"#, OPEN),
    ("POST", "/login/refresh", "", MALFORMED),
    ("POST", "/login/refresh", r#"{"refresh_token": "s-1.x"}"#, all(401)),
    ("POST", "/login/refresh", r#"{"refresh_token": "{refresh}"}"#, OPEN),
    // Sessions: the caller's own, never the author's, who is signed in on a watch.
    ("POST", "/login/logout", "", answers(204)),
    ("GET", "/login/sessions", "", ANYBODY),
    ("DELETE", "/login/sessions/tablet", "", answers(204)),
    ("DELETE", "/login/sessions/watch", "", answers(404)),

    // Accounts: each their own; operators add some, and nothing else gives an operator more than others.
    ("POST", "/core/user", r#"{"phone_number": "{number}", "first_name": "A", "last_name": "B"}"#, scoped(200, 403, 403)),
    ("GET", "/core/user?phone_number=%2B{digits}", "", ANYBODY),
    ("PATCH", "/core/user", r#"{"bio": "x"}"#, ANYBODY),
    ("PATCH", "/core/user", r#"{"id": "{author}", "bio": "x"}"#, ANYBODY),
    ("DELETE", "/core/user", "", answers(204)),
    ("GET", "/core/user/id/{author}", "", ANYBODY),
    ("GET", "/core/user/username/{username}", "", ANYBODY),
    ("POST", "/core/user/contact", r#"{"phone_number": "+{digits}"}"#, ANYBODY),
    ("GET", "/core/user/contact", "", ANYBODY),
    ("DELETE", "/core/user/contact/{friend}", "", answers(204)),
    // A contact of the caller "contact" only.
    ("DELETE", "/core/user/contact/{author}", "", outside(404, 204, [404; 4])),

    ("POST", "/core/user/conversation", "{}", ANYBODY),
    ("GET", "/core/user/conversation", "", ANYBODY),
    ("GET", "/core/user/conversation/{crew}", "", IN_IT),
    ("GET", "/core/user/conversation/c-none", "", answers(404)),
    ("PATCH", "/core/user/conversation/{crew}", r#"{"title": "x"}"#, inside(404, [403, 403, 200, 200])),
    ("PATCH", "/core/user/conversation/{crew}", "{}", inside(404, [403, 403, 200, 200])),
    ("DELETE", "/core/user/conversation/{crew}", "", inside(404, [204; 4])),
    ("POST", "/core/user/conversation/{crew}/pin", "", IN_IT),
    ("DELETE", "/core/user/conversation/{crew}/pin", "", IN_IT),
    ("PUT", "/core/user/conversation/{crew}/lastheard", r#"{"start": 5}"#, IN_IT),
    ("GET", "/core/user/conversation/{crew}/lastheard", "", IN_IT),
    ("GET", "/core/user/conversation/{crew}/member", "", IN_IT),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{new}"}"#, inside(404, [403, 200, 200, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{new}", "role": "admin"}"#, inside(404, [403, 403, 200, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{new}", "role": "owner"}"#, inside(404, [403, 403, 403, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{author}", "role": "listener"}"#, inside(404, [403, 403, 200, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{founder}", "role": "member"}"#, inside(404, [403, 403, 403, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{self}"}"#, inside(404, [403, 200, 200, 200])),
    ("POST", "/core/user/conversation/{crew}/member", r#"{"id": "{self}", "role": "owner"}"#, inside(404, [403, 403, 403, 200])),
    ("DELETE", "/core/user/conversation/{crew}/member/{author}", "", inside(404, [403, 403, 204, 204])),
    ("DELETE", "/core/user/conversation/{crew}/member/{founder}", "", inside(404, [403, 403, 403, 204])),
    ("DELETE", "/core/user/conversation/{crew}/member/{self}", "", inside(404, [204; 4])),
    ("DELETE", "/core/user/conversation/{crew}/member/{new}", "", inside(404, [403, 403, 404, 404])),

    // About oneself, or for an operator or a service about anybody; 403 is also the answer "not a member".
    ("GET", "/permissions/user/{self}/conversation/{crew}", "", inside(403, [200; 4])),
    ("GET", "/permissions/user/{author}/conversation/{crew}", "", scoped(200, 200, 403)),
    ("GET", "/permissions/user/{new}/conversation/{crew}", "", answers(403)),
    ("GET", "/permissions/user/{author}/conversation/c-none", "", answers(403)),

    ("POST", "/publish/conversation/{crew}", "WAV", SPEAKS),
    ("POST", "/publish/conversation/c-none", "WAV", answers(403)),
    ("PUT", "/publish/conversation/{crew}/start/{free}", "WAV", SPEAKS),
    ("PUT", "/publish/conversation/{crew}/start/{bite}", "WAV", inside(403, [403, 409, 409, 409])),
    ("PUT", "/publish/conversation/{crew}/start/{own}/user", "WAV", SPEAKS),
    ("PUT", "/publish/conversation/{crew}/start/{bite}/user", "WAV", answers(403)),

    ("GET", "/store/bite/{crew}/scan", "", HEARS),
    ("GET", "/store/user/{crew}/scan", "", HEARS),
    ("GET", "/store/transcription/{crew}/scan", "", HEARS),
    ("GET", "/store/bite/c-none/scan", "", answers(403)),
    ("GET", "/store/bite/{crew}/start/{bite}", "", HEARS),
    ("GET", "/store/bite/{crew}/start/{free}", "", inside(403, [404; 4])),
    // Having said it is no right to hear it again from outside.
    ("GET", "/store/bite/{crew}/start/{own}", "", HEARS),
    ("GET", "/store/user/{crew}/start/{bite}", "", HEARS),
    ("GET", "/store/transcription/{crew}/start/{bite}", "", HEARS),
    ("GET", "/bite/conversation/{crew}", "", HEARS),
    ("GET", "/bite/conversation/{crew}/scan", "", HEARS),
    ("GET", "/bite/conversation/{crew}/start/{bite}", "", HEARS),
    ("GET", "/bite/conversation/{crew}/start/{bite}/user", "", HEARS),
    ("DELETE", "/bite/conversation/{crew}/start/{bite}", "", inside(403, [403, 403, 204, 204])),
    ("DELETE", "/bite/conversation/{crew}/start/{own}", "", inside(403, [204; 4])),
    ("DELETE", "/bite/conversation/{crew}/start/{free}", "", inside(403, [404; 4])),
    ("GET", "/transcription/conversation/{crew}/scan", "", HEARS),
    ("GET", "/transcription/conversation/{crew}/start/{bite}", "", HEARS),
    ("GET", "/transcription/search?q=secret", "", ANYBODY),
    ("GET", "/transcription/search?q=secret&conversation={crew}", "", HEARS),

    // What each stream tells whom is `http_changes`' and `http_subscribe`'s to say.
    ("GET", "/core/user/subscribe", "", ANYBODY),
    ("GET", "/core/user/subscribe/user", "", ANYBODY),
    ("GET", "/core/user/subscribe/contact", "", ANYBODY),
    ("GET", "/core/user/subscribe/conversation", "", ANYBODY),
    ("GET", "/core/user/subscribe/conversation/{crew}/member", "", IN_IT),
    ("GET", "/core/user/subscribe/conversation/c-none/member", "", answers(404)),
    ("GET", "/subscribe", "", ANYBODY),
    ("GET", "/subscribe?conversation={crew}", "", HEARS),

    ("GET", "/healthz", "", OPEN),
    ("GET", "/readyz", "", OPEN),
    ("GET", "/.well-known/jwks.json", "", OPEN),
];

/// The routes that look at no token.
const PUBLIC: &[&str] = &[
    "/login/init",
    "/login/verify",
    "/login/register",
    "/login/register/{code}/{nonce}",
    "/login/refresh",
    "/healthz",
    "/readyz",
    "/.well-known/jwks.json",
];

/// The route that a request of the table goes to: that of all that fit which says the most.
fn route(asked: &str) -> &'static str {
    let path: Vec<&str> = asked.split('?').next().unwrap().split('/').collect();
    let fits = |route: &&str| {
        let parts: Vec<&str> = route.split('/').collect();
        parts.len() == path.len() && parts.iter().zip(&path).all(|(r, p)| r.starts_with('{') || r == p)
    };
    let literal = |route: &&str| route.split('/').filter(|part| !part.starts_with('{')).count();
    let found = ROUTES.iter().map(|(route, _)| *route).filter(fits).max_by_key(literal);
    found.unwrap_or_else(|| panic!("a row without a route: {asked}"))
}

#[test]
fn the_table_has_every_route_and_no_other() {
    let routes: BTreeSet<_> =
        ROUTES.iter().flat_map(|(path, methods)| methods.iter().map(move |m| (*m, *path))).collect();
    let mut rows: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
    for (method, asked, _, cells) in TABLE {
        rows.entry((*method, route(asked))).or_default().extend(cells);
    }
    let covered: BTreeSet<_> = rows.keys().copied().collect();
    assert_eq!(routes.difference(&covered).collect::<Vec<_>>(), [&("", ""); 0], "routes without a row");
    assert_eq!(covered.difference(&routes).collect::<Vec<_>>(), [&("", ""); 0], "rows without a route");
    let distinct: BTreeSet<_> = TABLE.iter().map(|(method, asked, body, _)| (method, asked, body)).collect();
    assert_eq!(distinct.len(), TABLE.len(), "a row stands twice");
    for ((method, path), statuses) in &rows {
        assert!(statuses.iter().any(|s| *s < 400), "{method} {path} lets nobody in");
    }
    for (method, asked, _, cells) in TABLE.iter().filter(|(_, asked, ..)| !PUBLIC.contains(&route(asked))) {
        assert_eq!(cells[..3], [401; 3], "{method} {asked} without a valid token");
        assert!(cells[3..].iter().all(|s| *s != 401), "{method} {asked} with a valid token");
    }
}

#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says() {
    let mut wrong = Vec::new();
    for (method, asked, body, cells) in TABLE {
        let world = World::new().await;
        for (caller, expected) in CALLERS.iter().zip(cells) {
            if let Err(why) = world.cell(caller, method, asked, body, *expected).await {
                wrong.push(format!("{method} {asked} {body} by {caller}: {why}"));
            }
        }
    }
    let cells = TABLE.len() * CALLERS.len();
    assert!(wrong.is_empty(), "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    let methods: usize = ROUTES.iter().map(|(_, methods)| methods.len()).sum();
    println!("goal=idor-cells value={cells} limit={}", methods * CALLERS.len());
}

/// Whatever may be read with GET answers HEAD with the same status.
#[tokio::test]
async fn head_is_guarded_like_get() {
    for (_, asked, body, cells) in TABLE.iter().filter(|(method, ..)| *method == "GET") {
        let world = World::new().await;
        for (caller, expected) in CALLERS.iter().zip(cells) {
            let answered = world.cell(caller, "HEAD", asked, body, *expected).await;
            assert_eq!(answered, Ok(()), "HEAD {asked} by {caller}");
        }
    }
}
