//! Tokens whose claims are missing, doubled, of another shape, somebody else's or out of time.

use crate::forge::*;
use serde_json::{Value, json};

pub fn claims() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["userid", "clientid", "sub", "iss", "aud", "iat", "exp", "jti"] {
        cases.push(case(format!("{name} missing"), with_claims(|c| drop(c.remove(name)))));
        for wrong in [Value::Null, json!(true), json!([]), json!({}), json!(-1), json!(1.5)] {
            cases.push(case(format!("{name} is {wrong}"), claim(name, wrong)));
        }
        // Numbers where text belongs, and the other way round.
        let wrong = if matches!(name, "iat" | "exp") { json!((NOW + 60).to_string()) } else { json!(7) };
        cases.push(case(format!("{name} is {wrong}"), claim(name, wrong)));
        let once = good_claims();
        let twice = format!(r#"{{"{name}":{},{}"#, once[name], &once.to_string()[1..]);
        cases.push(case(
            format!("{name} twice"),
            signed(&KEYS.rsa, good_header(&KEYS.rsa).to_string(), twice),
        ));
    }
    let body = good_claims().to_string();
    let raw = |payload: String| signed(&KEYS.rsa, good_header(&KEYS.rsa).to_string(), payload);
    cases.extend([
        case("user twice, once escaped", raw(format!(r#"{{"\u0075serid":"u-eve",{}"#, &body[1..]))),
        case("an unknown claim twice", raw(format!(r#"{{"x":1,"x":2,{}"#, &body[1..]))),
        case("exp twice, the first one gone", raw(format!(r#"{{"exp":1,{}"#, &body[1..]))),
        case(
            "a list of claims in order",
            raw(json!(["u-alice", "phone 1", "u-alice", "beep", "beep", NOW, NOW + 600, "t-1"]).to_string()),
        ),
        case("payload is text", raw(json!("u-alice").to_string())),
        case("payload is null", raw("null".into())),
        case("payload is empty", raw(String::new())),
        case("payload is an empty object", raw("{}".into())),
        case("payload and more", raw(format!("{body}{{}}"))),
        case("payload is a token", raw(good())),
        case("payload not UTF-8", signed(&KEYS.rsa, good_header(&KEYS.rsa).to_string(), [0xff, 0xfe])),
        case("other issuer", claim("iss", "beep2")),
        case("issuer in other case", claim("iss", "Beep")),
        case("issuer empty", claim("iss", "")),
        case("issuer as a list", claim("iss", json!(["beep"]))),
        case("other audience", claim("aud", "beep2")),
        case("audience empty", claim("aud", "")),
        case("audience as a list", claim("aud", json!(["beep"]))),
        case("sub is another user", claim("sub", "u-eve")),
        case("sub in other case", claim("sub", "U-ALICE")),
        case("jti empty", claim("jti", "")),
        case("scope unknown", claim("scope", "root")),
        case("scope empty", claim("scope", "")),
        case("scope null", claim("scope", Value::Null)),
        case("scope a number", claim("scope", 2)),
        case("scope a list", claim("scope", json!(["admin"]))),
        case("scope in other case", claim("scope", "Admin")),
        case("scope twice", raw(format!(r#"{{"scope":"user","scope":"admin",{}"#, &body[1..]))),
    ]);
    for (name, user) in [
        ("empty", String::new()),
        ("a space", " ".into()),
        ("65 characters", "u".repeat(65)),
        ("a slash", "u/../admin".into()),
        ("an at sign", "u@1".into()),
        ("a NUL", "u-alice\0".into()),
        ("a line feed", "u-alice\nX-User-Claim: eve".into()),
        ("not ASCII", "u-älice".into()),
        ("__proto__", "__proto__".into()),
    ] {
        let token = with_claims(|c| {
            c.insert("userid".into(), user.clone().into());
            c.insert("sub".into(), user.into());
        });
        cases.push(case(format!("userid: {name}"), token));
    }
    for (name, device) in [
        ("empty", String::new()),
        ("129 characters", "d".repeat(129)),
        ("a line feed", "phone\ndata: x".into()),
        ("a carriage return", "phone\r".into()),
        ("a NUL", "phone\0".into()),
        ("DEL", "phone\u{7f}".into()),
        ("an escape sequence", "\u{1b}[2J".into()),
        ("not ASCII", "Telefön".into()),
    ] {
        cases.push(case(format!("clientid: {name}"), claim("clientid", device)));
    }
    cases
}

pub fn times() -> Vec<Case> {
    vec![
        case("exp at the end of the leeway", claim("exp", NOW - LEEWAY)),
        case("exp one second later", claim("exp", NOW - LEEWAY - 1)),
        case("exp 0", claim("exp", 0)),
        case("exp in 1970, as milliseconds of today would not be", claim("exp", NOW / 1_000)),
        case(
            "exp above u64",
            signed(
                &KEYS.rsa,
                good_header(&KEYS.rsa).to_string(),
                good_claims().to_string().replace(&format!("{}", NOW + 600), "18446744073709551616"),
            ),
        ),
        case("exp as a float", claim("exp", NOW as f64 + 600.0)),
        case("iat behind the leeway", claim("iat", NOW + LEEWAY + 1)),
        case("iat in milliseconds", claim("iat", NOW * 1_000)),
        case("iat at the end of time", claim("iat", u64::MAX)),
        case("nbf behind the leeway", claim("nbf", NOW + LEEWAY + 1)),
        case("nbf at the end of time", claim("nbf", u64::MAX)),
        case("nbf as text", claim("nbf", "0")),
        case("nbf null", claim("nbf", Value::Null)),
        case("nbf below zero", claim("nbf", -1)),
        case(
            "nbf twice",
            signed(
                &KEYS.rsa,
                good_header(&KEYS.rsa).to_string(),
                format!(r#"{{"nbf":0,"nbf":0,{}"#, &good_claims().to_string()[1..]),
            ),
        ),
    ]
}
