//! What is believed and what is not: all bad tokens as one table, and the good ones at the edges.

use crate::forge::*;
use crate::{bad_claims, bad_headers, bad_shapes, bad_signatures};
use beep_core::ErrorKind;
use beep_core::auth::Authenticator;
use beep_core::auth::jwt::MAX_TOKEN;
use serde_json::{Value, json};

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

/// R21: each of these differs from a good token in one thing, and each gets the same answer.
#[test]
fn bad_tokens_are_refused_with_one_answer() {
    assert_accepted(&good(), "the token that all of these differ from");
    let groups = [
        bad_signatures::unsigned(),
        bad_signatures::confused(),
        bad_headers::other_keys(),
        bad_headers::headers(),
        bad_claims::claims(),
        bad_claims::times(),
        bad_shapes::shapes(),
    ];
    let cases: Vec<Case> = groups.into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let names: std::collections::HashSet<_> = cases.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");

    let server = server();
    let believed: Vec<_> = cases
        .iter()
        .filter(|(name, token)| {
            // Twice each: what was refused must not be remembered as good.
            [(), ()].iter().any(|()| match server.verify(token) {
                Ok(_) => true,
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Unauthenticated, "{name}");
                    assert_eq!(e.to_string(), MESSAGE, "{name}");
                    assert!(std::error::Error::source(&e).is_none(), "{name}");
                    assert!(!e.is_temporary(), "{name}");
                    false
                }
            })
        })
        .map(|(name, _)| name)
        .collect();
    assert!(believed.is_empty(), "believed: {believed:#?}");
    assert!(server.verify(&good()).is_ok(), "a good token is refused after the bad ones");
    println!("goal=R21 pass={} fail=0", cases.len());
}

#[test]
fn good_tokens_are_believed() {
    for (name, token) in [
        ("as it is", good()),
        ("typ in lower case", header("typ", "jwt")),
        ("typ in mixed case", header("typ", "Jwt")),
        ("without typ", with_header(|h| drop(h.remove("typ")))),
        ("an unknown claim", claim("sid", "s-1")),
        ("an unknown claim, nested deeply", with_claims(|c| drop(c.insert("x".into(), nested(100))))),
        ("as long as a token may be", long(|len| len + 2 > MAX_TOKEN && len <= MAX_TOKEN)),
        ("scope spelled out", claim("scope", "user")),
        ("nbf now", claim("nbf", NOW)),
        ("nbf at the end of the leeway", claim("nbf", NOW + LEEWAY)),
        ("iat at the end of the leeway", claim("iat", NOW + LEEWAY)),
        ("iat long ago", claim("iat", 0)),
        ("exp just within the leeway", claim("exp", NOW - LEEWAY + 1)),
        ("exp at the end of time", claim("exp", u64::MAX)),
        ("clientid of every printable letter", claim("clientid", (' '..='~').collect::<String>())),
        ("clientid of 128", claim("clientid", "d".repeat(128))),
        (
            "white space around the JSON",
            signed(&KEYS.rsa, format!(" {}\n", good_header(&KEYS.rsa)), good_claims().to_string()),
        ),
        ("Ed25519 key", signed(&KEYS.ed, good_header(&KEYS.ed).to_string(), good_claims().to_string())),
        ("P-256 key", signed(&KEYS.ec, good_header(&KEYS.ec).to_string(), good_claims().to_string())),
    ] {
        assert_accepted(&token, name);
    }
}

/// A14: a token signed by us without `userid` or `clientid` made the original panic.
#[test]
fn signed_token_without_ids_is_an_error() {
    for key in [&KEYS.rsa, &KEYS.ed, &KEYS.ec] {
        for gone in [&["userid"][..], &["clientid"], &["userid", "clientid"], &["userid", "clientid", "sub"]]
        {
            let mut claims = good_claims();
            gone.iter().for_each(|name| drop(claims.as_object_mut().unwrap().remove(*name)));
            let error =
                server().verify(&signed(key, good_header(key).to_string(), claims.to_string())).unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, MESSAGE), "{gone:?}");
        }
    }
}

#[test]
fn no_single_character_can_be_changed() {
    let server = server();
    let token = signed(&KEYS.ed, good_header(&KEYS.ed).to_string(), good_claims().to_string());
    assert!(server.verify(&token).is_ok());
    for i in 0..token.len() {
        for c in ["A", "B", "_", ".", "=", " "] {
            let mut changed = token.clone();
            changed.replace_range(i..=i, c);
            assert!(changed == token || server.verify(&changed).is_err(), "character {i} as {c:?}");
        }
        let mut shorter = token.clone();
        shorter.remove(i);
        assert!(server.verify(&shorter).is_err(), "character {i} removed");
    }
}
