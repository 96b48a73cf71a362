//! The members of a conversation: added, given roles, removed, listed.

use super::{owner, print};
use crate::cmd::{Context, Site};
use crate::failure::{Failure, Result};
use crate::local;
use crate::remote::Remote;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{Role, Stores};
use reqwest::Method;
use serde_json::{Value, json};

/// Adds users, or gives those who are there another role. Whoever is unknown is named before anything is done.
pub async fn add(
    stores: &Stores,
    conversation: &ConversationId,
    users: &[UserId],
    role: Option<Role>,
) -> Result<()> {
    local::conversation(stores, conversation).await?;
    for user in users {
        local::user(stores, user).await?;
    }
    for user in users {
        // Anew for each: the owner may have been given another role just now.
        match owner(stores, conversation).await? {
            Some(owner) => {
                let put = local::people(stores, async |people| {
                    people.put_member(&owner, conversation, user, role).await
                });
                put.await.map_err(|e| e.about(user.as_str()))?;
            }
            // Nobody is there whose right it is, so that no rule of theirs can be broken.
            None => stores.directory.put_member(conversation, user, role.unwrap_or(Role::Member)).await?,
        }
    }
    Ok(())
}

/// The same at a server.
pub async fn add_at(remote: &Remote, conversation: &str, users: &[UserId], role: Option<Role>) -> Result<()> {
    for user in users {
        let path = ["core", "user", "conversation", conversation, "member"];
        let mut body = json!({ "id": user });
        if let Some(role) = role {
            body["role"] = json!(role);
        }
        remote.request(Method::POST, &path).json(body).any().ok().await?;
    }
    Ok(())
}

/// Ends a membership.
pub async fn remove(site: &Site, conversation: &ConversationId, user: &UserId) -> Result<()> {
    match site {
        Site::Local(stores) => {
            local::conversation(stores, conversation).await?;
            if stores.directory.role(conversation, user).await?.is_none() {
                return Err(Failure::not_found(format!("{user} is not a member of {conversation}")));
            }
            // As if they left: nothing but being the last owner keeps them.
            local::people(stores, async |people| people.remove_member(user, conversation, user).await).await
        }
        Site::Remote(remote) => {
            let path = ["core", "user", "conversation", conversation.as_str(), "member", user.as_str()];
            remote.request(Method::DELETE, &path).ok().await.map(drop)
        }
    }
}

/// Lists them.
pub async fn list(site: &Site, conversation: &ConversationId, context: &Context) -> Result<()> {
    let stores = match site {
        Site::Local(stores) => stores,
        Site::Remote(remote) => {
            let path = ["core", "user", "conversation", conversation.as_str(), "member"];
            let all: Vec<Value> = remote.get(&path).fetch().await?;
            return print(&all, ["id", "role", "first_name", "last_name"], context);
        }
    };
    local::conversation(stores, conversation).await?;
    let mut all = Vec::new();
    for member in stores.directory.members(conversation).await? {
        let mut object = json!({ "id": member.user, "role": member.role.as_str() });
        if let Some(user) = stores.directory.user(&member.user).await? {
            object["first_name"] = user.first_name.into();
            object["last_name"] = user.last_name.into();
        }
        all.push(object);
    }
    print(&all, ["id", "role", "first_name", "last_name"], context)
}
