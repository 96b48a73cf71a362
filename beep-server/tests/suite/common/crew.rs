//! A conversation with one of each role, and somebody who is not in it.

use super::{Answer, Person, Server, Setup};
use beep_core::store::Role;
use serde_json::Value;

/// Whoever owns, moderates, speaks or listens in `c-crew`, and a stranger.
pub struct Crew {
    pub server: Server,
    pub owner: Person,
    pub admin: Person,
    pub member: Person,
    pub listener: Person,
    pub stranger: Person,
}

impl Crew {
    pub const PATH: &str = "/core/user/conversation/c-crew";

    pub async fn new() -> Self {
        Self::on(Setup::default()).await
    }

    pub async fn on(setup: Setup) -> Self {
        let server = Server::start(setup).await;
        let owner = server.person("owner").await;
        let admin = server.person("admin").await;
        let member = server.person("member").await;
        let listener = server.person("listener").await;
        let stranger = server.person("stranger").await;
        let crew = Self { server, owner, admin, member, listener, stranger };
        crew.conversation("c-crew").await;
        crew
    }

    /// Another conversation with the same people.
    pub async fn conversation(&self, key: &str) {
        let others =
            [(&self.admin, Role::Admin), (&self.member, Role::Member), (&self.listener, Role::Listener)];
        self.server.conversation(key, &self.owner, &others).await;
    }

    /// All of them, highest first.
    pub fn everybody(&self) -> [(&'static str, &Person); 5] {
        [
            ("owner", &self.owner),
            ("admin", &self.admin),
            ("member", &self.member),
            ("listener", &self.listener),
            ("stranger", &self.stranger),
        ]
    }

    /// A request below `c-crew`.
    pub async fn ask(&self, who: &Person, method: &str, below: &str, body: Value) -> Answer {
        self.server.ask(who, method, &format!("{}{below}", Self::PATH), body).await
    }

    /// What the directory has as the role of this person in `c-crew`.
    pub async fn role(&self, who: &Person) -> Option<Role> {
        let crew = super::conversation("c-crew");
        self.server.stores.directory.role(&crew, &who.identity.user).await.unwrap()
    }

    /// Gives this person a role in `c-crew`, past every check.
    pub async fn reset(&self, who: &Person, role: Option<Role>) {
        let Some(role) = role else { return };
        let crew = super::conversation("c-crew");
        self.server.stores.directory.put_member(&crew, &who.identity.user, role).await.unwrap();
        self.server.app.beep().gate().follow().await.unwrap();
    }
}
