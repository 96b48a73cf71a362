//! Texts that are almost a token, and the same bytes in other spellings.

use crate::forge::*;
use base64::prelude::{
    BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD as B64, Engine as _,
};
use beep_core::auth::jwt::MAX_TOKEN;
use jsonwebtoken as other;
use serde_json::json;

pub fn shapes() -> Vec<Case> {
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
