//! From a URL to an object store.

use super::Objects;
use super::folder::Folder;
use super::objects::Place;
use super::s3::S3;
use beep_core::{Error, ErrorKind, Result};
use object_store::ClientOptions;
use object_store::aws::AmazonS3Builder;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// How long it may take to reach the store, and one request to end.
const CONNECT: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_secs(8);

/// What opens an S3 store, for callers that do not take it from the environment.
#[derive(Clone)]
pub struct Credentials {
    /// The name of the key.
    pub key_id: String,
    /// The key itself.
    pub secret: String,
    /// The token of a session, where the key belongs to one.
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl Objects {
    /// Opens `s3://bucket/prefix?endpoint=https://…&region=…&path_style=true` or `file:<folder>`.
    ///
    /// * S3's credentials come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, else from the
    ///   machine it runs on; never from the URL. Plain HTTP is spoken only to an `endpoint` that says `http://`.
    ///   `path_style` is true where an endpoint is given, unless it says otherwise. Nothing is asked yet.
    /// * The folder is made where it is missing, for its owner only.
    ///
    /// [`ErrorKind::Malformed`] for a URL that is none; what the folder answers is mapped as in every call.
    pub fn open(url: &str) -> Result<Self> {
        Self::opened(url, None)
    }

    /// As [`Objects::open`], with these credentials instead of the environment's.
    pub fn open_with(url: &str, credentials: Credentials) -> Result<Self> {
        Self::opened(url, Some(credentials))
    }

    fn opened(url: &str, credentials: Option<Credentials>) -> Result<Self> {
        if let Some(rest) = url.strip_prefix("s3://") {
            return Ok(Self::new(Place::S3(bucket(rest, credentials)?)));
        }
        match url.strip_prefix("file:").map(|rest| rest.strip_prefix("//").unwrap_or(rest)) {
            Some(folder) if !folder.is_empty() => {
                Ok(Self::new(Place::Folder(Folder::open(Path::new(folder))?)))
            }
            _ => Err(malformed("an object store is `s3://<bucket>/<prefix>` or `file:<folder>`")),
        }
    }
}

fn bucket(rest: &str, credentials: Option<Credentials>) -> Result<S3> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let prefix = prefix.trim_end_matches('/');
    if place.contains('@') {
        return Err(malformed(
            "credentials do not belong into a URL: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    let in_bucket = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(in_bucket) {
        return Err(malformed("a bucket's name must be 3 to 63 lower-case letters, digits, `-` and `.`"));
    }
    let in_prefix = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(in_prefix);
    if !prefix.is_empty() && !prefix.split('/').all(part) {
        return Err(malformed(
            "the prefix in an S3 URL must be letters, digits, `-`, `_`, `.` between single `/`",
        ));
    }
    let Options { endpoint, region, path_style } = options(query)?;

    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(Credentials { key_id, secret, token }) = credentials {
        builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_access_key_id(key_id)
            .with_secret_access_key(secret);
        if let Some(token) = token {
            builder = builder.with_token(token);
        }
    }
    if let Some(region) = region {
        builder = builder.with_region(region);
    }
    let path_style = path_style.unwrap_or(endpoint.is_some());
    let plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    if let Some(endpoint) = endpoint {
        // The builder wants the bucket in the host's name where it is not in the path.
        let endpoint = match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{bucket}.{host}"),
            _ => endpoint,
        };
        builder = builder.with_endpoint(endpoint);
    }
    let client =
        ClientOptions::new().with_allow_http(plain).with_connect_timeout(CONNECT).with_timeout(REQUEST);
    let store = builder
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client)
        .with_retry(super::s3::retries())
        // One request per object: not every store knows the one for many.
        .with_disable_bulk_delete(true)
        .build()
        .map_err(|e| malformed("the S3 store cannot be opened like this").with_source(e))?;
    Ok(S3::new(store, bucket, prefix))
}

#[derive(Default)]
struct Options {
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
}

/// Errors never repeat a value: it may be a secret in the wrong place.
fn options(query: &str) -> Result<Options> {
    let mut options = Options::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let value = decoded(value)?;
        match name {
            "endpoint" => {
                let host = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
                if !host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#'])) {
                    return Err(malformed(
                        "`endpoint` must be `http://` or `https://`, a host and maybe a port",
                    ));
                }
                options.endpoint = Some(value.trim_end_matches('/').to_owned());
            }
            "region" => options.region = Some(value),
            "path_style" => {
                let flag = value.parse().map_err(|_| malformed("`path_style` must be `true` or `false`"))?;
                options.path_style = Some(flag);
            }
            _ => {
                return Err(malformed(
                    "an S3 URL has the options `endpoint`, `region` and `path_style`, and no other",
                ));
            }
        }
    }
    Ok(options)
}

/// With `%2F` and the like turned into what they stand for.
fn decoded(value: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(code.ok_or_else(|| malformed("a `%` in a URL is followed by two hex digits"))?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| malformed("a value in an S3 URL is no text"))
}

fn malformed(sentence: &str) -> Error {
    Error::new(ErrorKind::Malformed, sentence)
}
