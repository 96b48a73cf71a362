//! Tokens without a signature, and with one that is not what the key signs.

use crate::forge::*;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as B64, Engine as _};
use beep_core::auth::jwt::SigningKey;
use jsonwebtoken as other;
use serde_json::{Value, json};

pub fn unsigned() -> Vec<Case> {
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

pub fn confused() -> Vec<Case> {
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
