//! What is issued: every claim, to whomever, and by which settings.

use crate::forge::*;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use beep_core::ErrorKind;
use beep_core::auth::jwt::{Jwt, JwtConfig, MAX_TOKEN, SigningKey};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::{Clock, ManualClock, SeededEntropy};
use beep_core::id::Identity;
use jsonwebtoken as other;
use serde_json::{Value, json};
use std::sync::Arc;

/// A8: what is issued has every claim, and says the same to another implementation that knows only the JWK set.
#[test]
fn jwt_claims_required() {
    let clock = Arc::new(ManualClock::at(NOW * 1_000 + 999));
    for key in [&KEYS.rsa, &KEYS.ed, &KEYS.ec] {
        let jwt = jwt_at(&clock, &[key, &KEYS.strange_rsa]);
        let set: other::jwk::JwkSet = serde_json::from_value(jwt.jwks()).expect("a JWK set");
        assert_eq!(set.keys.len(), 2);
        for (scope, word) in
            [(Scope::User, None), (Scope::Service, Some("service")), (Scope::Admin, Some("admin"))]
        {
            let token = jwt.issue(&alice(), scope).expect("issued");
            let verified = jwt.verify(&token).expect("own token");
            assert_eq!((&verified.identity, verified.scope), (&alice(), scope));

            let head = other::decode_header(&token).expect("a header");
            assert_eq!(head.typ.as_deref(), Some("JWT"));
            let jwk = set.find(head.kid.as_deref().expect("a kid")).expect("the key in the set");
            assert_eq!(jwk.common.public_key_use, Some(other::jwk::PublicKeyUse::Signature));
            assert_eq!(
                jwk.common.key_algorithm.map(|a| a.to_string()).as_deref(),
                Some(key.algorithm().as_str())
            );
            let mut rules = other::Validation::new(native(key));
            rules.set_audience(&["beep"]);
            rules.set_issuer(&["beep"]);
            rules.validate_exp = false; // it would ask the machine's clock
            let theirs = other::DecodingKey::from_jwk(jwk).expect("a key");
            let read =
                other::decode::<Value>(&token, &theirs, &rules).expect("verified by jsonwebtoken").claims;
            let jti = read["jti"].as_str().expect("a jti");
            assert_eq!(jti, verified.token_id);
            assert_eq!(B64.decode(jti).expect("base64url").len(), 16);
            let exp = NOW + 30 * 24 * 60 * 60;
            assert_eq!(verified.expires, exp * 1_000);
            let mut all = json!({
                "userid": "u-alice", "clientid": "phone 1", "sub": "u-alice", "iss": "beep", "aud": "beep",
                "iat": NOW, "exp": exp, "jti": jti,
            });
            if let Some(word) = word {
                all["scope"] = word.into();
            }
            assert_eq!(read, all);
        }
    }
    let jwt = server();
    let ids: std::collections::HashSet<String> = (0..100)
        .map(|_| jwt.verify(&jwt.issue(&alice(), Scope::User).unwrap()).unwrap().token_id.clone())
        .collect();
    assert_eq!(ids.len(), 100, "every token has its own id");
}

/// Whatever the longest names make of it, a token that was issued is believed.
#[test]
fn the_longest_token_is_believed() {
    let longest = JwtConfig { issuer: "\"".repeat(256), audience: "\\".repeat(256), ..JwtConfig::default() };
    let who = Identity { user: "u".repeat(64).parse().unwrap(), device: "\"".repeat(128).parse().unwrap() };
    let clock = Arc::new(ManualClock::at(NOW * 1_000));
    let jwt = Jwt::new(vec![KEYS.rsa.clone()], longest, clock, Arc::new(SeededEntropy::new(1))).unwrap();
    let token = jwt.issue(&who, Scope::Service).unwrap();
    assert_eq!(jwt.verify(&token).unwrap().identity, who);
    // An RSA key of 8,192 bits has a signature 1,024 characters longer.
    assert!(token.len() + 1_024 <= MAX_TOKEN, "{} bytes", token.len());
}

#[test]
fn unfit_settings_are_refused() {
    let make = |keys: Vec<SigningKey>, config| {
        Jwt::new(keys, config, Arc::new(ManualClock::at(0)), Arc::new(SeededEntropy::new(1))).map(drop)
    };
    let invalid = |r: beep_core::Result<()>| assert_eq!(r.unwrap_err().kind(), ErrorKind::Invalid);
    invalid(make(vec![], JwtConfig::default()));
    for text in [String::new(), "b".repeat(257), "be\nep".into(), "bäp".into()] {
        invalid(make(vec![KEYS.ed.clone()], JwtConfig { issuer: text.clone(), ..JwtConfig::default() }));
        invalid(make(vec![KEYS.ed.clone()], JwtConfig { audience: text, ..JwtConfig::default() }));
    }
    make(vec![KEYS.ed.clone()], JwtConfig::default()).unwrap();
}

#[test]
fn random_source_that_fails_issues_nothing() {
    #[derive(Debug)]
    struct Dry;
    impl beep_core::clock::Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> beep_core::Result<()> {
            Err(beep_core::Error::new(ErrorKind::Internal, "dry"))
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(0));
    let jwt = Jwt::new(vec![KEYS.ed.clone()], JwtConfig::default(), clock, Arc::new(Dry)).unwrap();
    assert_eq!(jwt.issue(&alice(), Scope::User).unwrap_err().kind(), ErrorKind::Internal);
}
