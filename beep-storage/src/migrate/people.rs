//! People and what they share: everybody once, then what the source's directory says has changed.

use super::sync::{Mode, key};
use super::{Migration, Progress};
use beep_core::bite::MAX_PAGE;
use beep_core::event::Event;
use beep_core::id::{DeviceId, Identity, UserId};
use beep_core::store::{Change, ChangeEntry, Directory, User};
use beep_core::{ErrorKind, Result};
use std::collections::{BTreeSet, HashSet};

/// Changes per step.
const PAGE: usize = 500;

impl Migration {
    /// Looks at everybody if nobody did, then follows the changes since that look began.
    pub(super) async fn follow_people(&mut self) -> Result<()> {
        if !self.looked && self.target.bites.cursor(&self.groups.everybody).await? == 0 {
            self.everybody(Mode::Add).await?;
            self.looked = true;
        }
        loop {
            let position = self.target.bites.cursor(&self.groups.people).await?.saturating_sub(1);
            let page = match self.source.directory.changes(position, PAGE).await {
                Ok(page) => page,
                // They are no longer kept: what was moved by this move is made what it is now.
                Err(e) if e.kind() == ErrorKind::Invalid => {
                    let last = self.source.directory.last_change().await?;
                    self.everybody(Mode::Follow).await?;
                    self.target.bites.advance(&self.groups.people, last + 1).await?;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let Some(last) = page.last().map(|entry| entry.seq) else { return Ok(()) };
            let mut seen = HashSet::new();
            for ChangeEntry { change, .. } in page {
                if seen.insert(key(&change)) {
                    self.sync(&change, Mode::Follow).await?;
                }
            }
            self.target.bites.advance(&self.groups.people, last + 1).await?;
        }
    }

    /// Adds what the target lacks. What it has and differs is wrong, unless it changed since this move began: then it
    /// was right once, and following the changes puts it right.
    async fn everybody(&mut self, mode: Mode) -> Result<()> {
        let before: HashSet<String> = self.problems.keys().cloned().collect();
        self.deleted_users().await?;
        let mut looked = 0;
        let users = self.user_ids().await?;
        for user in &users {
            self.sync(&Change::User(user.clone()), mode).await?;
            looked += 1;
            (self.watch)(Progress::People(looked));
        }
        let mut after = None;
        loop {
            let page = self.source.directory.conversations(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            for conversation in page {
                self.sync(&Change::Conversation(conversation.id), mode).await?;
                looked += 1;
                (self.watch)(Progress::People(looked));
            }
        }
        for user in &users {
            let here = self.source.directory.contacts(user).await?;
            let there = self.target.directory.contacts(user).await?;
            for contact in here.iter().filter(|h| !there.iter().any(|t| t.id == h.id)) {
                self.sync(&Change::Contact(user.clone(), contact.id.clone()), mode).await?;
            }
            if mode == Mode::Follow {
                self.drop_ended(user, &here, &there).await?;
            }
            self.seats(user, mode).await?;
            self.sessions(user).await?;
        }
        let mut position = self.target.bites.cursor(&self.groups.people).await?.saturating_sub(1);
        loop {
            let page = match self.source.directory.changes(position, PAGE).await {
                Err(e) if e.kind() == ErrorKind::Invalid => break,
                page => page?,
            };
            let Some(last) = page.last() else { break };
            position = last.seq;
            for entry in &page {
                let key = key(&entry.change);
                if !before.contains(&key) {
                    self.problems.remove(&key);
                }
            }
        }
        // With something in the way everybody is looked at again the next time, so that it is named again.
        if self.problems.values().any(|p| p.seq.is_none()) {
            return Ok(());
        }
        self.target.bites.advance(&self.groups.everybody, 1).await
    }

    /// Contacts and sessions of this user that are over at the source.
    async fn drop_ended(&mut self, user: &UserId, here: &[User], there: &[User]) -> Result<()> {
        for contact in there.iter().filter(|t| !here.iter().any(|h| h.id == t.id)) {
            self.sync(&Change::Contact(user.clone(), contact.id.clone()), Mode::Follow).await?;
        }
        for session in self.target.directory.sessions(user).await? {
            self.sync(&Change::Session(user.clone(), session.identity.device), Mode::Follow).await?;
        }
        Ok(())
    }

    /// What changes without being noted as a change: how far people have heard, and renewed sessions.
    pub(super) async fn sweep_people(&mut self) -> Result<()> {
        for user in self.user_ids().await? {
            self.seats(&user, Mode::Follow).await?;
            self.sessions(&user).await?;
        }
        Ok(())
    }

    async fn user_ids(&self) -> Result<Vec<UserId>> {
        let mut ids: Vec<UserId> = Vec::new();
        loop {
            let page = self.source.directory.users(ids.last(), MAX_PAGE).await?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page.into_iter().map(|user| user.id));
        }
    }

    /// Pins and how far this user has heard.
    async fn seats(&mut self, user: &UserId, mode: Mode) -> Result<()> {
        let there = self.target.directory.memberships(user).await?;
        for seat in self.source.directory.memberships(user).await? {
            let id = &seat.conversation.id;
            let Some(own) = there.iter().find(|s| s.conversation.id == *id) else { continue };
            if seat.pinned != own.pinned && (seat.pinned || mode == Mode::Follow) {
                gone_is_fine(self.target.directory.set_pinned(id, user, seat.pinned).await)?;
            }
            if seat.last_heard > own.last_heard {
                gone_is_fine(self.target.directory.set_last_heard(id, user, seat.last_heard).await)?;
            }
        }
        Ok(())
    }

    /// Every session of this user as it is now, unless the target's is newer: then they signed in there already.
    async fn sessions(&mut self, user: &UserId) -> Result<()> {
        let there = self.target.directory.sessions(user).await?;
        for session in self.source.directory.sessions(user).await? {
            if !there.contains(&session) {
                let device = session.identity.device.clone();
                self.sync(&Change::Session(user.clone(), device), Mode::Follow).await?;
            }
        }
        Ok(())
    }

    /// The ids of users who were deleted must not become free: a token of theirs would be good again. No store lists
    /// them, so those are asked about whom the log or the kept changes name.
    async fn deleted_users(&mut self) -> Result<()> {
        let mut named = BTreeSet::new();
        let (mut position, mut device) = (0, None);
        loop {
            let entries = self.source.bites.log(position, PAGE).await?;
            let Some(last) = entries.last() else { break };
            position = last.seq;
            for entry in entries {
                let (Event::Stored { author, .. }
                | Event::Deleted { author, .. }
                | Event::Failed { author, .. }) = entry.event
                else {
                    continue;
                };
                named.insert(author.user);
                device.get_or_insert(author.device);
            }
        }
        let mut position = oldest_kept(&*self.source.directory).await?;
        while let Ok(page) = self.source.directory.changes(position, PAGE).await {
            let Some(last) = page.last() else { break };
            position = last.seq;
            for entry in &page {
                if let Change::User(user) = &entry.change {
                    named.insert(user.clone());
                }
            }
        }
        let mut after = None;
        loop {
            let page = self.target.directory.users(after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            named.extend(page.into_iter().map(|user| user.id));
        }
        let device = device.map_or_else(|| "any".parse(), Ok)?;
        for user in named {
            let identity = Identity { user, device: DeviceId::clone(&device) };
            let gone = self.source.directory.standing(&identity).await?.deleted;
            if gone && !self.target.directory.standing(&identity).await?.deleted {
                // Whom this move brought goes; nobody else had this id.
                self.sync(&Change::User(identity.user), Mode::Follow).await?;
            }
        }
        Ok(())
    }
}

/// A position behind which every change is kept.
async fn oldest_kept(directory: &dyn Directory) -> Result<u64> {
    let (mut gone, mut kept) = (0, directory.last_change().await?);
    if directory.changes(0, 1).await.is_ok() {
        return Ok(0);
    }
    while kept - gone > 1 {
        let middle = gone + (kept - gone) / 2;
        match directory.changes(middle, 1).await {
            Ok(_) => kept = middle,
            Err(e) if e.kind() == ErrorKind::Invalid => gone = middle,
            Err(e) => return Err(e),
        }
    }
    Ok(kept)
}

/// Whoever left meanwhile is seen to by the change that says so.
pub(super) fn gone_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
