//! No text makes the decoder panic, and only what is fit is believed: properties.

use crate::forge::*;
use beep_core::ErrorKind;
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::ManualClock;
use beep_core::id::Identity;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn refused(token: &str) -> Result<(), TestCaseError> {
    let error = server().verify(token).expect_err("not a token");
    prop_assert_eq!((error.kind(), error.message()), (ErrorKind::Unauthenticated, MESSAGE));
    Ok(())
}

/// JSON of any shape, with the names that matter turning up often.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("u-alice")),
        Just(json!("beep")),
        ".{0,20}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "userid", "clientid", "sub", "iss", "aud", "iat", "exp", "nbf", "jti", "scope"
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    leaf.prop_recursive(3, 24, 10, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..10)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A14, R14 (`jwt_decode`): no text makes the decoder panic, and none is believed.
    #[test]
    fn jwt_decode(text in any::<String>(), token in "[A-Za-z0-9_-]{0,80}(\\.[A-Za-z0-9_=.-]{0,80}){0,4}") {
        refused(&text)?;
        refused(&token)?;
    }

    /// The same behind a signature that holds, where the parsers of header and claims are reached.
    #[test]
    fn jwt_decode_signed(header in any_json(), payload in any_json(), bytes in any::<Vec<u8>>()) {
        let key = &KEYS.ed;
        refused(&signed(key, header.to_string(), good_claims().to_string()))?;
        refused(&signed(key, good_header(key).to_string(), payload.to_string()))?;
        refused(&signed(key, good_header(key).to_string(), &bytes))?;
        refused(&signed(key, &bytes, good_claims().to_string()))?;
    }

    /// One claim replaced by anything: believed only where the value itself is fit.
    #[test]
    fn jwt_decode_one_claim(
        name in proptest::sample::select(vec!["userid", "clientid", "sub", "iss", "aud", "iat", "exp", "nbf", "jti", "scope"]),
        value in any_json(),
    ) {
        let key = &KEYS.ed;
        let mut claims = good_claims();
        claims[name] = value.clone();
        let result = server().verify(&signed(key, good_header(key).to_string(), claims.to_string()));
        let text = value.as_str();
        let fit = match name {
            "clientid" => text.is_some_and(|t| (1..=128).contains(&t.chars().count()) && t.chars().all(|c| (' '..='~').contains(&c))),
            "iat" | "nbf" => value.as_u64().is_some_and(|v| v <= NOW + LEEWAY),
            "exp" => value.as_u64().is_some_and(|v| v > NOW - LEEWAY),
            "jti" => text.is_some_and(|t| !t.is_empty()),
            "scope" => matches!(text, Some("user" | "service" | "admin")),
            _ => value == good_claims()[name],
        };
        prop_assert_eq!(result.is_ok(), fit, "{}: {}", name, value);
    }

    /// Whoever is named, the token says so.
    #[test]
    fn issued_is_verified(user in "[A-Za-z0-9-]{1,64}", device in "[ -~]{1,128}", now in 0..u64::MAX / 4_000) {
        let jwt = jwt_at(&Arc::new(ManualClock::at(now)), &[&KEYS.ed]);
        let who = Identity { user: user.parse()?, device: device.parse()? };
        prop_assert_eq!(&jwt.verify(&jwt.issue(&who, Scope::User)?)?.identity, &who);
    }
}
