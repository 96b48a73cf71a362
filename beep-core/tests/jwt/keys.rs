//! Keys: rotated, written as PEM and read again, and told to nobody.

use crate::forge::*;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use beep_core::ErrorKind;
use beep_core::auth::jwt::{Algorithm, Jwt, SigningKey};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::ManualClock;
use serde_json::{Value, json};
use std::sync::Arc;

/// R21: rotation without one failed request, and the end of a key ends its tokens.
#[test]
fn rotated_key() {
    let clock = Arc::new(ManualClock::at(NOW * 1_000));
    let before = jwt_at(&clock, &[&KEYS.rsa]);
    let during = jwt_at(&clock, &[&KEYS.strange_rsa, &KEYS.rsa]);
    let after = jwt_at(&clock, &[&KEYS.strange_rsa]);
    let old = before.issue(&alice(), Scope::User).unwrap();
    let new = during.issue(&alice(), Scope::User).unwrap();
    assert!(before.verify(&old).is_ok() && before.verify(&new).is_err());
    assert!(during.verify(&old).is_ok() && during.verify(&new).is_ok());
    assert!(after.verify(&old).is_err() && after.verify(&new).is_ok());
    let kids = |jwt: &Jwt| -> Vec<String> {
        jwt.jwks()["keys"].as_array().unwrap().iter().map(|k| k["kid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kids(&during), [KEYS.strange_rsa.kid(), KEYS.rsa.kid()]);
    assert_eq!(kids(&after), [KEYS.strange_rsa.kid()]);
}

#[test]
fn algorithms_have_one_word() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::parse(algorithm.as_str()).unwrap(), algorithm);
        assert_eq!(serde_json::to_value(algorithm).unwrap(), json!(algorithm.to_string()));
        assert_eq!(SigningKey::generate(algorithm).unwrap().algorithm(), algorithm);
    }
    assert_eq!(Algorithm::default(), Algorithm::Rs256);
    for wrong in ["", "none", "HS256", "rs256"] {
        assert_eq!(Algorithm::parse(wrong).unwrap_err().kind(), ErrorKind::Malformed);
    }
}

#[test]
fn keys_survive_pem() {
    for key in [&KEYS.rsa, &KEYS.ed, &KEYS.ec] {
        let pem = key.to_pem();
        assert!(pem.lines().all(|l| l.len() <= 64) && pem.ends_with("-----END PRIVATE KEY-----\n"));
        assert_eq!(key.kid().len(), 16);
        for spelling in
            [pem.clone(), pem.replace('\n', "\r\n"), format!("\n\n{pem}\n"), pem.trim_end().into()]
        {
            let same = SigningKey::from_pem(&spelling).unwrap();
            assert_eq!(
                (same.kid(), same.algorithm(), same.to_pem()),
                (key.kid(), key.algorithm(), pem.clone())
            );
            assert_eq!(same.jwk(), key.jwk());
        }
        for (_, private) in ["d", "p", "q", "dp", "dq", "qi", "k"].map(|name| (name, key.jwk()[name].clone()))
        {
            assert_eq!(private, Value::Null, "a JWK is public");
        }
    }
    let kids = [&KEYS.rsa, &KEYS.ed, &KEYS.ec, &KEYS.strange_rsa, &KEYS.strange_ed].map(SigningKey::kid);
    assert_eq!(std::collections::HashSet::from(kids).len(), 5);
}

#[test]
fn broken_pem_is_a_sentence_without_the_key() {
    let pem = KEYS.rsa.to_pem();
    let body: String = pem.lines().filter(|l| !l.starts_with('-')).collect();
    let lines: Vec<&str> = pem.lines().collect();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
    let block = |body: &str| format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    for (name, text, kind) in [
        ("nothing", String::new(), ErrorKind::Malformed),
        ("a word", "hunter2".into(), ErrorKind::Malformed),
        ("the body alone", body.clone(), ErrorKind::Malformed),
        ("PKCS#1", pem.replace(" PRIVATE", " RSA PRIVATE"), ErrorKind::Malformed),
        ("encrypted", pem.replace(" PRIVATE", " ENCRYPTED PRIVATE"), ErrorKind::Malformed),
        ("public", pem.replace(" PRIVATE", " PUBLIC"), ErrorKind::Malformed),
        ("two keys", format!("{pem}{pem}"), ErrorKind::Malformed),
        ("no last line", lines[..lines.len() - 1].join("\n"), ErrorKind::Malformed),
        ("text before", format!("key: {pem}"), ErrorKind::Malformed),
        ("not base64", block(&format!("{}!{}", &body[..70], &body[71..])), ErrorKind::Malformed),
        ("an empty block", block(""), ErrorKind::Invalid),
        ("a line missing", pem.replace(lines[5], ""), ErrorKind::Invalid),
        ("cut", block(&body[..400]), ErrorKind::Invalid),
        ("a changed byte", block(&format!("{}AAAA{}", &body[..600], &body[604..])), ErrorKind::Invalid),
        ("P-384", block(&BASE64_STANDARD.encode(p384.as_ref())), ErrorKind::Invalid),
        ("not a key", block(&BASE64_STANDARD.encode("hunter2 hunter2")), ErrorKind::Invalid),
    ] {
        let error = SigningKey::from_pem(&text).expect_err(name);
        assert_eq!(error.kind(), kind, "{name}");
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter2"), "{name}: {said}");
        // No eight letters of the secret anywhere.
        let shown = text.lines().filter(|l| !l.contains("-----")).flat_map(|l| l.as_bytes().windows(8));
        assert_eq!(
            shown.filter(|w| said.contains(&*String::from_utf8_lossy(w))).count(),
            0,
            "{name}: {said}"
        );
    }
}

/// R28: neither key nor token is in any `Debug` or error.
#[test]
fn debug_shows_no_secret() {
    for key in [&KEYS.rsa, &KEYS.ed, &KEYS.ec] {
        let jwt = jwt_at(&Arc::new(ManualClock::at(NOW * 1_000)), &[key]);
        let token = jwt.issue(&alice(), Scope::User).unwrap();
        let verified = jwt.verify(&token).unwrap();
        let bad = jwt.verify(&format!("{token}A")).unwrap_err();
        let shown = format!("{key:?} {key:#?} {jwt:?} {jwt:#?} {verified:?} {bad:?} {bad}");
        assert!(shown.contains(key.kid()), "a key is told by its kid");
        let pem = key.to_pem();
        let secrets = pem.lines().filter(|l| !l.starts_with('-')).flat_map(|l| l.as_bytes().windows(8));
        let parts = token.split('.').flat_map(|p| p.as_bytes().windows(16));
        for secret in secrets.chain(parts).map(|w| std::str::from_utf8(w).unwrap()) {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}
