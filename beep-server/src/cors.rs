//! Which web pages may read answers (CORS): those whose origin is in `http.cors_origins`, letter by letter.

use beep_core::{Error, ErrorKind, Result};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

/// What the routes take.
pub(crate) const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What a page may send. `X-User-Claim` is a gateway's and no page's. Cookies mean nothing here, so that credentials
/// are not allowed either: a page shows its token.
const TAKEN: &str =
    "authorization, content-type, idempotency-key, last-event-id, range, x-request-id, accept";
/// What a page may read beyond what every page may.
const SHOWN: &str = "location, etag, x-request-id, content-range, retry-after";
/// Seconds that a browser may keep the answer to its question.
const KEPT: &str = "600";

/// [`ErrorKind::Invalid`] when something in the list can be no origin that a browser names.
pub(crate) fn check(list: &str) -> Result<()> {
    match origins(list).find(|origin| !is_origin(origin)) {
        None => Ok(()),
        Some(wrong) => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "http.cors_origins: `{wrong}` is no origin like https://app.example.com: scheme and host in small \
                 letters, a port unless it is the scheme's own, and nothing after it"
            ),
        )),
    }
}

/// The origin that asks, when it may read the answer. Of two origins neither may.
pub(crate) fn granted(list: &str, asked: &HeaderMap) -> Option<HeaderValue> {
    let mut given = asked.get_all(ORIGIN).iter();
    let (origin, None) = (given.next()?, given.next()) else { return None };
    let text = origin.to_str().ok()?;
    // Also where nobody checked the list: `*` and `null` in it let nobody in.
    (is_origin(text) && origins(list).any(|one| one == text)).then(|| origin.clone())
}

/// Tells the browser what it may do with this answer, or, before it asks at all, with the one to come.
pub(crate) fn tell(list: &str, origin: Option<HeaderValue>, before: bool, answer: &mut HeaderMap) {
    if origins(list).next().is_some() {
        // For caches on the way, also where this origin gets nothing: another one might.
        answer.append(VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = origin else { return };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if before {
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(TAKEN));
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(KEPT));
    } else {
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(SHOWN));
    }
}

fn origins(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|one| !one.is_empty())
}

/// Whether a browser would write an origin so (RFC 6454, 6.2).
fn is_origin(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else { return false };
    let (host, port) = match place.rsplit_once(':') {
        // The colons of `[::1]` are no port's.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let own = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    let port_fits = port.is_none_or(|port| {
        port != own
            && !port.starts_with('0')
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    });
    let small = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| small(b) || b"-._".contains(&b)),
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| small(b) || b"+-.".contains(&b));
    scheme_fits && host_fits && port_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_what_no_browser_names_is_refused() {
        for good in [
            "",
            " , ",
            "https://a.example",
            "https://a.example, http://localhost:3000",
            "http://[::1]",
            "http://[::1]:8080",
            "capacitor://localhost",
        ] {
            check(good).unwrap();
        }
        for bad in [
            "*",
            "null",
            "https://*",
            "https://*.a.example",
            "a.example",
            "https://",
            "://a.example",
            "https:a.example",
            "https://a.example/",
            "https://a.example/path",
            "https://a.example?x",
            "https://u@a.example",
            "https://A.example",
            "HTTPS://a.example",
            "https://a.example:443",
            "http://a.example:80",
            "https://a.example:",
            "https://a.example:0",
            "https://a.example:+1",
            "https://a.example:99999",
            "https://a.example https://b.example",
            "http://[::1",
            "https://ä.example",
        ] {
            let refused = check(&format!("https://good.example, {bad}")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{bad}");
            assert!(refused.message().contains(bad), "{refused}");
        }
    }
}
