//! Objects in S3, and what its errors mean.

use super::objects::{Mode, Shelf};
use beep_core::clock::Millis;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::client::HttpError;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Error as StoreError, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutOptions, RetryConfig,
};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

/// Most names in one answer, as S3 has it.
const PAGE: usize = 1_000;

/// How often a request is tried again: long enough to outlast a connection that was cut, not a store that is away.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(4),
    }
}

/// A bucket, or what lies under a prefix of it.
#[derive(Clone)]
pub(super) struct S3 {
    store: Arc<AmazonS3>,
    bucket: Arc<str>,
    /// Empty, or ends with `/`.
    prefix: Arc<str>,
}

impl S3 {
    pub(super) fn new(store: AmazonS3, bucket: &str, prefix: &str) -> Self {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { store: Arc::new(store), bucket: bucket.into(), prefix: prefix.into() }
    }

    pub(super) fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    pub(super) async fn put(&self, shelf: Shelf<'_>, name: &str, bytes: Bytes, mode: Mode) -> Result<bool> {
        let mode = match mode {
            Mode::Create => PutMode::Create,
            Mode::Replace => PutMode::Overwrite,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&self.key(shelf, name)?, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. }) => Ok(false),
            Err(e) => Err(self.error(&e)),
        }
    }

    pub(super) async fn get(
        &self,
        shelf: Shelf<'_>,
        name: &str,
        first: Option<u64>,
    ) -> Result<Option<Bytes>> {
        let options = GetOptions { range: first.map(|n| GetRange::Bounded(0..n)), ..GetOptions::default() };
        let found = match self.store.get_opts(&self.key(shelf, name)?, options).await {
            Ok(found) => found.bytes().await,
            Err(e) => Err(e),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(self.error(&e)),
        }
    }

    pub(super) async fn delete(&self, shelf: Shelf<'_>, name: &str) -> Result<()> {
        match self.store.delete(&self.key(shelf, name)?).await {
            Ok(()) => Ok(()),
            Err(e) if absent(&e) => Ok(()),
            Err(e) => Err(self.error(&e)),
        }
    }

    pub(super) async fn list(
        &self,
        shelf: Shelf<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Millis)>> {
        let prefix = format!("{}{}/", self.prefix, shelf.path());
        let mut names = Vec::new();
        let mut offset = after.map(|after| format!("{prefix}{after}"));
        while names.len() < limit {
            let wanted = (limit - names.len()).min(PAGE);
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(wanted),
                ..PaginatedListOptions::default()
            };
            let page = self.store.list_paginated(Some(&prefix), options).await.map_err(|e| self.error(&e))?;
            let Some(last) = page.result.objects.last() else { break };
            offset = Some(last.location.to_string());
            for object in page.result.objects {
                if let Some(name) = object.location.as_ref().strip_prefix(&prefix) {
                    names.push((name.to_owned(), object.last_modified.timestamp_millis().max(0) as Millis));
                }
            }
            if page.page_token.is_none() {
                break;
            }
        }
        Ok(names)
    }

    fn key(&self, shelf: Shelf<'_>, name: &str) -> Result<Path> {
        Path::parse(format!("{}{}/{name}", self.prefix, shelf.path())).map_err(|e| self.error(&e.into()))
    }

    /// What this means to a caller. The store's own answer is not repeated: some put the caller's token into it.
    fn error(&self, e: &StoreError) -> Error {
        let said = e.to_string();
        let status = between(&said, "status code: ", " ").and_then(|n| n.parse::<u16>().ok());
        let code = between(&said, "<Code>", "</Code>")
            .filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()))
            .unwrap_or_default();
        let lower = said.to_ascii_lowercase();
        let full = status == Some(507)
            || code.contains("StorageFull")
            || (status == Some(403) && lower.contains("quota"));
        let transport = source::<HttpError>(e);
        let (kind, sentence) = match e {
            _ if full => (ErrorKind::Full, "the object store has no room: nothing was stored"),
            // Not the caller's fault, who may well do what they asked for: the operator's.
            _ if matches!(status, Some(401 | 403)) => (
                ErrorKind::Unavailable,
                "the object store refuses these credentials: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, their \
                 rights on the bucket, and the clock",
            ),
            _ if code == "NoSuchBucket" => {
                let sentence = "the object store has no such bucket: make it, or correct the URL";
                return self.told(Error::new(ErrorKind::Unavailable, sentence).permanent(), status, code);
            }
            _ if transport.is_some() || status.is_some_and(|n| n >= 500 || matches!(n, 408 | 409 | 429)) => {
                (ErrorKind::Unavailable, "the object store does not answer now; try again")
            }
            _ => (ErrorKind::Internal, "the object store answers something else than S3 does; check its URL"),
        };
        let error = self.told(Error::new(kind, sentence), status, code);
        match transport {
            // Its innermost reason, without the layers above that say the same.
            Some(transport) => error.with_source(innermost(transport).to_string()),
            None => error,
        }
    }

    fn told(&self, mut error: Error, status: Option<u16>, code: &str) -> Error {
        error = error.with("store", self.name());
        if let Some(status) = status {
            error = error.with("status", status);
        }
        if code.is_empty() { error } else { error.with("code", code) }
    }
}

/// Whether the object is not there; a bucket that is not there is another matter.
fn absent(e: &StoreError) -> bool {
    matches!(e, StoreError::NotFound { .. }) && !e.to_string().contains("NoSuchBucket")
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(behind).map(|(found, _)| found)
}

fn source<T: StdError + 'static>(e: &StoreError) -> Option<&T> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(e);
    while let Some(e) = next {
        if let Some(found) = e.downcast_ref() {
            return Some(found);
        }
        next = e.source();
    }
    None
}

fn innermost<'a>(mut e: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    while let Some(source) = e.source() {
        e = source;
    }
    e
}
