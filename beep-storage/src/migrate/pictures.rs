//! Pictures and other files, by whose they are and by who shows them.

use super::Migration;
use beep_core::bite::MAX_PAGE;
use beep_core::store::NewBlob;
use beep_core::{ErrorKind, Result};
use std::collections::BTreeSet;

impl Migration {
    /// Moves the files of every user and those that users and conversations show. Those that were moved and are gone at
    /// the source go at the target as well.
    pub(super) async fn move_pictures(&mut self) -> Result<()> {
        let now = self.clock.now();
        let swept = self.target.bites.cursor(&self.groups.pictures).await?;
        let mut shown = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.source.directory.users(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for user in page {
                let own = self.source.blobs.owned_by(&user.id).await?;
                for name in &own {
                    self.move_picture(name).await?;
                }
                for name in self.target.blobs.owned_by(&user.id).await? {
                    if !own.contains(&name) {
                        self.drop_picture(&name, swept).await?;
                    }
                }
                shown.insert(user.profile_pic);
            }
        }
        let mut after = None;
        loop {
            let page = self.source.directory.conversations(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            shown.extend(page.into_iter().map(|c| c.picture));
        }
        for name in shown.iter().filter(|name| !name.is_empty()) {
            self.move_picture(name).await?;
        }
        self.target.bites.advance(&self.groups.pictures, now).await
    }

    async fn move_picture(&mut self, name: &str) -> Result<()> {
        let key = format!("picture {name}");
        let blob = match self.source.blobs.get(name).await {
            Ok(Some(blob)) => blob,
            // What a user shows may be a link, or be gone.
            Ok(None) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Malformed => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                self.problem(
                    key,
                    ErrorKind::Corrupt,
                    format!("damaged at the source: {}", e.message()),
                    None,
                );
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        if self.target.blobs.get(name).await?.as_ref() == Some(&blob) {
            self.problems.remove(&key);
            return Ok(());
        }
        let (owner, media_type, received) = (blob.owner, blob.media_type, blob.received);
        match self
            .target
            .blobs
            .put(NewBlob { name: name.to_owned(), owner, media_type, received, body: blob.body })
            .await
        {
            Ok(true) => {
                self.moved.pictures += 1;
                self.problems.remove(&key);
            }
            Ok(false) => {
                self.problem(
                    key,
                    ErrorKind::Conflict,
                    "the target holds the same file of somebody else",
                    None,
                );
            }
            Err(e) if e.kind() == ErrorKind::Conflict => {
                self.problem(key, ErrorKind::Conflict, "the target holds another file of this name", None);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Only what a look before this one can have moved: newer files were put in by whoever uses the target by now.
    async fn drop_picture(&mut self, name: &str, swept: u64) -> Result<()> {
        match self.target.blobs.get(name).await? {
            Some(blob) if blob.received <= swept => drop(self.target.blobs.delete(name).await?),
            _ => {}
        }
        Ok(())
    }
}
