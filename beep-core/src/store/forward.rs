//! Boxes and counted references are stores as well: whoever takes `impl Directory` takes a `Box<dyn Directory>`.

use super::*;
use crate::Result;
use crate::bite::{Bite, BiteKey, BiteMeta, Digest, Label, ScanPage, ScanRange};
use crate::bus::Subscription;
use crate::clock::Millis;
use crate::event::{LogEntry, Seq};
use crate::id::{ConversationId, Identity, SessionId, UserId};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;

macro_rules! forward {
    ($wrapper:ident) => {
        #[async_trait]
        impl<T: BiteStore + ?Sized> BiteStore for $wrapper<T> {
            fn capability(&self) -> Capability {
                (**self).capability()
            }
            async fn put(&self, bite: NewBite) -> Result<Put> {
                (**self).put(bite).await
            }
            async fn get(&self, key: &BiteKey) -> Result<Option<Bite>> {
                (**self).get(key).await
            }
            async fn head(&self, key: &BiteKey) -> Result<Option<BiteMeta>> {
                (**self).head(key).await
            }
            async fn delete(
                &self,
                conversation: &ConversationId,
                start: Millis,
                at: Millis,
            ) -> Result<Option<LogEntry>> {
                (**self).delete(conversation, start, at).await
            }
            async fn scan(
                &self,
                label: Label,
                conversation: &ConversationId,
                range: ScanRange,
            ) -> Result<ScanPage> {
                (**self).scan(label, conversation, range).await
            }
            async fn metas(
                &self,
                label: Label,
                conversation: &ConversationId,
                range: ScanRange,
            ) -> Result<Vec<(Millis, BiteMeta)>> {
                (**self).metas(label, conversation, range).await
            }
            async fn log(&self, after: Seq, limit: usize) -> Result<Vec<LogEntry>> {
                (**self).log(after, limit).await
            }
            async fn tail(&self) -> Result<Seq> {
                (**self).tail().await
            }
            async fn cursor(&self, group: &str) -> Result<Seq> {
                (**self).cursor(group).await
            }
            async fn advance(&self, group: &str, seq: Seq) -> Result<()> {
                (**self).advance(group, seq).await
            }
            async fn park(&self, key: &BiteKey, reason: &str, at: Millis) -> Result<Option<LogEntry>> {
                (**self).park(key, reason, at).await
            }
            async fn parked_at(&self, key: &BiteKey) -> Result<Option<Parked>> {
                (**self).parked_at(key).await
            }
            async fn parked(&self, limit: usize) -> Result<Vec<Parked>> {
                (**self).parked(limit).await
            }
            async fn verify(&self, from: Option<Vec<u8>>, limit: usize) -> Result<VerifyPage> {
                (**self).verify(from, limit).await
            }
            async fn ready(&self) -> Result<()> {
                (**self).ready().await
            }
        }

        #[async_trait]
        impl<T: BlobStore + ?Sized> BlobStore for $wrapper<T> {
            fn capability(&self) -> Capability {
                (**self).capability()
            }
            async fn put(&self, blob: NewBlob) -> Result<bool> {
                (**self).put(blob).await
            }
            async fn get(&self, name: &str) -> Result<Option<Blob>> {
                (**self).get(name).await
            }
            async fn delete(&self, name: &str) -> Result<bool> {
                (**self).delete(name).await
            }
            async fn owned_by(&self, owner: &UserId) -> Result<Vec<String>> {
                (**self).owned_by(owner).await
            }
        }

        #[async_trait]
        impl<T: Directory + ?Sized> Directory for $wrapper<T> {
            fn capability(&self) -> Capability {
                (**self).capability()
            }
            async fn create_user(&self, user: NewUser) -> Result<User> {
                (**self).create_user(user).await
            }
            async fn user(&self, id: &UserId) -> Result<Option<User>> {
                (**self).user(id).await
            }
            async fn user_by_phone(&self, phone_number: &str) -> Result<Option<User>> {
                (**self).user_by_phone(phone_number).await
            }
            async fn user_by_username(&self, username: &str) -> Result<Option<User>> {
                (**self).user_by_username(username).await
            }
            async fn patch_user(&self, id: &UserId, patch: UserPatch) -> Result<User> {
                (**self).patch_user(id, patch).await
            }
            async fn delete_user(&self, id: &UserId) -> Result<bool> {
                (**self).delete_user(id).await
            }
            async fn users(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<User>> {
                (**self).users(after, limit).await
            }
            async fn create_conversation(&self, conversation: NewConversation) -> Result<Conversation> {
                (**self).create_conversation(conversation).await
            }
            async fn conversation(&self, id: &ConversationId) -> Result<Option<Conversation>> {
                (**self).conversation(id).await
            }
            async fn patch_conversation(
                &self,
                id: &ConversationId,
                patch: ConversationPatch,
            ) -> Result<Conversation> {
                (**self).patch_conversation(id, patch).await
            }
            async fn delete_conversation(&self, id: &ConversationId) -> Result<bool> {
                (**self).delete_conversation(id).await
            }
            async fn conversations(
                &self,
                after: Option<&ConversationId>,
                limit: usize,
            ) -> Result<Vec<Conversation>> {
                (**self).conversations(after, limit).await
            }
            async fn put_member(
                &self,
                conversation: &ConversationId,
                user: &UserId,
                role: Role,
            ) -> Result<()> {
                (**self).put_member(conversation, user, role).await
            }
            async fn remove_member(&self, conversation: &ConversationId, user: &UserId) -> Result<bool> {
                (**self).remove_member(conversation, user).await
            }
            async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
                (**self).members(conversation).await
            }
            async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
                (**self).role(conversation, user).await
            }
            async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
                (**self).memberships(user).await
            }
            async fn set_pinned(
                &self,
                conversation: &ConversationId,
                user: &UserId,
                pinned: bool,
            ) -> Result<()> {
                (**self).set_pinned(conversation, user, pinned).await
            }
            async fn set_last_heard(
                &self,
                conversation: &ConversationId,
                user: &UserId,
                start: Millis,
            ) -> Result<()> {
                (**self).set_last_heard(conversation, user, start).await
            }
            async fn put_contact(&self, owner: &UserId, contact: &UserId) -> Result<()> {
                (**self).put_contact(owner, contact).await
            }
            async fn remove_contact(&self, owner: &UserId, contact: &UserId) -> Result<bool> {
                (**self).remove_contact(owner, contact).await
            }
            async fn contacts(&self, owner: &UserId) -> Result<Vec<User>> {
                (**self).contacts(owner).await
            }
            async fn put_session(&self, session: Session) -> Result<()> {
                (**self).put_session(session).await
            }
            async fn renew_session(
                &self,
                session: &SessionId,
                old: &Digest,
                new: &Digest,
                now: Millis,
                expires: Millis,
            ) -> Result<Renewal> {
                (**self).renew_session(session, old, new, now, expires).await
            }
            async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
                (**self).sessions(user).await
            }
            async fn end_session(&self, identity: &Identity) -> Result<bool> {
                (**self).end_session(identity).await
            }
            async fn standing(&self, identity: &Identity) -> Result<Standing> {
                (**self).standing(identity).await
            }
            async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
                (**self).changes(after, limit).await
            }
            async fn last_change(&self) -> Result<u64> {
                (**self).last_change().await
            }
            async fn bell(&self) -> Result<Option<Box<dyn Subscription>>> {
                (**self).bell().await
            }
            async fn ready(&self) -> Result<()> {
                (**self).ready().await
            }
        }

        #[async_trait]
        impl<T: Ephemeral + ?Sized> Ephemeral for $wrapper<T> {
            fn capability(&self) -> Capability {
                (**self).capability()
            }
            async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
                (**self).put(key, value, ttl).await
            }
            async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
                (**self).put_new(key, value, ttl).await
            }
            async fn get(&self, key: &str) -> Result<Option<Bytes>> {
                (**self).get(key).await
            }
            async fn take(&self, key: &str) -> Result<Option<Bytes>> {
                (**self).take(key).await
            }
            async fn remove(&self, key: &str) -> Result<bool> {
                (**self).remove(key).await
            }
            async fn count(&self, key: &str, ttl: Duration) -> Result<u64> {
                (**self).count(key, ttl).await
            }
            async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
                (**self).keys(prefix, limit).await
            }
        }

        #[async_trait]
        impl<T: SearchIndex + ?Sized> SearchIndex for $wrapper<T> {
            fn capability(&self) -> Capability {
                (**self).capability()
            }
            async fn index(&self, documents: Vec<SearchDocument>) -> Result<()> {
                (**self).index(documents).await
            }
            async fn remove(&self, conversation: &ConversationId, start: Millis) -> Result<bool> {
                (**self).remove(conversation, start).await
            }
            async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
                (**self).search(query).await
            }
            async fn clear(&self) -> Result<()> {
                (**self).clear().await
            }
            async fn ready(&self) -> Result<()> {
                (**self).ready().await
            }
        }
    };
}

forward!(Box);
forward!(Arc);
