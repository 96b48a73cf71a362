//! The ground that a cell of the matrix stands on: a conversation of its own, and somebody who asks.

use crate::common::{Echo, Person, Server, Setup, bite, conversation, wav};
use beep_core::auth::jwt::{Jwt, JwtConfig};
use beep_core::auth::{Scope, TokenIssuer};
use beep_core::bite::Digest;
use beep_core::clock::{ManualClock, System};
use beep_core::store::{NewConversation, Role, Session, UserPatch};
use beep_pipeline::services::login::{Limits, LoginOptions, TestNumber};
use beep_server::Extras;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// Who asks. Those in front would be owners, were their token good; the one who was removed was an admin, and has
/// been let in before, as whoever was deleted has: nothing that the server remembers may let them in again.
pub const CALLERS: [&str; 12] = [
    "anonymous",
    "expired",
    "deleted",
    "stranger",
    "contact",
    "ex-member",
    "operator",
    "service",
    "listener",
    "member",
    "admin",
    "owner",
];

/// A status for each of them.
pub type Cells = [u16; 12];

/// The same for all.
pub const fn all(status: u16) -> Cells {
    [status; 12]
}

/// A status for those outside the conversation, and one each for listener, member, admin and owner.
pub const fn inside(others: u16, members: [u16; 4]) -> Cells {
    outside(others, others, members)
}

/// As [`inside`], with another status for the contact of a member.
pub const fn outside(others: u16, contact: u16, [listener, member, admin, owner]: [u16; 4]) -> Cells {
    [401, 401, 401, others, contact, others, others, others, listener, member, admin, owner]
}

/// Where the scope of the token counts: operator, service, everybody else.
pub const fn scoped(operator: u16, service: u16, others: u16) -> Cells {
    let mut cells = inside(others, [others; 4]);
    cells[6] = operator;
    cells[7] = service;
    cells
}

/// Now, in milliseconds; the clock stands still.
const NOW: u64 = 1_800_000_000_000;
/// Where somebody else has spoken, where the caller has, and where nobody has.
const BITE: u64 = 1_000;
const OWN: u64 = 2_000;
const FREE: u64 = 3_000;
/// Signs in with a code that is never sent.
const REVIEWER: &str = "+6588888888";
const CODE: &str = "424242";
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server, with whoever founds conversations on it and whoever speaks in them.
pub struct World {
    server: Server,
    founder: Person,
    author: Person,
    friend: Person,
    cells: Cell<u64>,
}

/// What a request of the table calls by a name in braces.
struct Ground {
    token: Option<String>,
    names: Vec<(&'static str, String)>,
}

impl World {
    pub async fn new() -> Self {
        let limits = Limits {
            pause: Duration::ZERO,
            number_hour: u64::MAX,
            number_day: u64::MAX,
            address_hour: u64::MAX,
            network_hour: u64::MAX,
            ..Limits::default()
        };
        let reviewer = TestNumber { number: REVIEWER.into(), code: CODE.into(), until: u64::MAX };
        let login = LoginOptions { limits, test_numbers: vec![reviewer] };
        let server = Server::start(Setup {
            clock: Arc::new(ManualClock::at(NOW)),
            transcriber: Some(Arc::new(Echo)),
            extras: Extras { login, ..Extras::default() },
            ..Setup::default()
        })
        .await;
        let founder = server.person("founder").await;
        let author = server.person("author").await;
        let friend = server.person("friend").await;
        let named = UserPatch { username: Some(Some("author".into())), ..UserPatch::default() };
        server.stores.directory.patch_user(&author.identity.user, named).await.unwrap();
        let world = Self { server, founder, author, friend, cells: Cell::new(0) };
        world.sign_in(&world.author, "watch").await;
        world
    }

    /// One request of the table by one caller; why it is not as it must be.
    pub async fn cell(
        &self,
        caller: &str,
        method: &str,
        asked: &str,
        body: &str,
        expected: u16,
    ) -> Result<(), String> {
        let ground = self.ground(caller, asked, body).await;
        let fill = |text: &str| {
            ground.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let (path, body) =
            (fill(asked), if body == "WAV" { wav("not heard before") } else { fill(body).into() });
        let call = || {
            let call = self.server.call(method, &path).body(body.clone());
            match &ground.token {
                Some(token) => call.bearer(token),
                None => call,
            }
        };
        let before = self.written().await;
        // A stream does not end: only its head is looked at, and the whole of a refusal.
        if path.contains("/subscribe") {
            let head = call().head().await;
            if head.status < 400 {
                return as_expected(head.status, expected, "a stream");
            }
        }
        let answer = call().send().await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        as_expected(answer.status, expected, &said)?;
        if expected >= 400 {
            if before != self.written().await {
                return Err(format!("{expected}, but something was written"));
            }
            let code = match expected {
                400 => "malformed",
                401 => "unauthenticated",
                403 => "denied",
                404 => "not_found",
                _ => "conflict",
            };
            if method != "HEAD" && answer.problem(expected) != code {
                return Err(format!("{expected} with another code: {said}"));
            }
        }
        let from_outside = CALLERS.iter().position(|c| *c == caller).unwrap() < 8;
        if from_outside && said.to_lowercase().contains("secret") {
            return Err(format!("{expected}, but told to an outsider: {said}"));
        }
        Ok(())
    }

    /// How far the logs of people and bites have come, nothing being under way.
    async fn written(&self) -> (u64, u64) {
        let stores = &self.server.stores;
        (stores.directory.last_change().await.unwrap(), stores.bites.tail().await.unwrap())
    }

    async fn ground(&self, caller: &str, asked: &str, body: &str) -> Ground {
        let n = self.cells.replace(self.cells.get() + 1);
        let directory = &self.server.stores.directory;
        let key = format!("c-crew-{n}");
        let crew = conversation(&key);
        let new = NewConversation {
            id: crew.clone(),
            title: "Secret plans".into(),
            picture: String::new(),
            owner: self.founder.identity.user.clone(),
        };
        directory.create_conversation(new).await.unwrap();
        directory.put_member(&crew, &self.author.identity.user, Role::Member).await.unwrap();

        let who = self.server.person(&format!("caller-{n}")).await;
        let stranger = self.server.person(&format!("new-{n}")).await;
        let user = &who.identity.user;
        let role = match caller {
            "anonymous" | "expired" | "deleted" | "owner" => Some(Role::Owner),
            "ex-member" | "admin" => Some(Role::Admin),
            "member" => Some(Role::Member),
            "listener" => Some(Role::Listener),
            _ => None,
        };
        if let Some(role) = role {
            directory.put_member(&crew, user, role).await.unwrap();
        }
        directory.put_contact(user, &self.friend.identity.user).await.unwrap();
        if caller == "contact" {
            directory.put_contact(user, &self.author.identity.user).await.unwrap();
            directory.put_contact(&self.author.identity.user, user).await.unwrap();
        }
        self.sign_in(&who, "tablet").await;
        self.speak(&who, &key).await;
        let token = self.token(caller, &who, &key).await;

        let mut names = vec![
            ("{crew}", key),
            ("{bite}", BITE.to_string()),
            ("{own}", OWN.to_string()),
            ("{free}", FREE.to_string()),
            ("{self}", who.id().to_owned()),
            ("{founder}", self.founder.id().to_owned()),
            ("{author}", self.author.id().to_owned()),
            ("{friend}", self.friend.id().to_owned()),
            ("{new}", stranger.id().to_owned()),
            ("{username}", "author".to_owned()),
            ("{digits}", self.server.number(&self.author).await[1..].to_owned()),
            ("{number}", format!("+65811{n:05}")),
            ("{reviewer}", REVIEWER.to_owned()),
            ("{code}", CODE.to_owned()),
        ];
        let login = self.server.app.login();
        if [asked, body].iter().any(|text| text.contains("{nonce}")) {
            names.push(("{nonce}", login.init(REVIEWER, HOME).await.unwrap()));
        }
        if body.contains("{refresh}") {
            let nonce = login.init(REVIEWER, HOME).await.unwrap();
            let pair = login.verify(CODE, &nonce, "tablet".parse().unwrap(), HOME).await.unwrap();
            names.push(("{refresh}", pair.refresh_token));
        }
        Ground { token, names }
    }

    /// What the caller shows, after what makes them who they are.
    async fn token(&self, caller: &str, who: &Person, key: &str) -> Option<String> {
        let server = &self.server;
        match caller {
            "anonymous" => return None,
            "expired" => {
                let config = JwtConfig { lifetime: Duration::from_secs(3_600), ..JwtConfig::default() };
                let clock = Arc::new(ManualClock::at(NOW - 3_600_000));
                let past = Jwt::new(vec![server.key.clone()], config, clock, Arc::new(System)).unwrap();
                return Some(past.issue(&who.identity, Scope::User).unwrap());
            }
            "operator" => return Some(server.scoped(who, Scope::Admin).token),
            "service" => return Some(server.scoped(who, Scope::Service).token),
            "ex-member" => {
                let heard = format!("/bite/conversation/{key}/start/{BITE}");
                server.get(who, &heard).await.expect(200);
                let membership = format!("/core/user/conversation/{key}/member/{}", who.id());
                server.call("DELETE", &membership).by(&self.founder).send().await.expect(204);
            }
            "deleted" => {
                server.get(who, "/auth").await.expect(200);
                server.app.beep().people().delete_user(&who.identity.user).await.unwrap();
                // Their bite went with them, which is told to whoever transcribes.
                server.settle().await;
            }
            _ => {}
        }
        Some(who.token.clone())
    }

    /// A bite of the caller's, made whatever they may do now, and one of the author's with something attached.
    async fn speak(&self, who: &Person, key: &str) {
        let server = &self.server;
        // Straight into the store: the author's bite, which comes last, wakes whoever follows.
        let said = bite(key, OWN, &who.identity, wav("my own secret").into());
        server.stores.bites.put(said).await.unwrap();
        server.put(&self.author, key, BITE, wav("secret words")).await.expect(201);
        let attach = format!("/publish/conversation/{key}/start/{BITE}/user");
        server.call("PUT", &attach).by(&self.author).body("secret note").send().await.expect(201);
        server.settle().await;
    }

    /// A session on this device; the tokens of the matrix belong to none.
    async fn sign_in(&self, who: &Person, device: &str) {
        let identity = self.server.on_device(who, device).identity;
        let session = Session {
            id: format!("s-{}-{device}", who.id()).parse().unwrap(),
            refresh: Digest::of(who.id().as_bytes()),
            identity,
            created: NOW,
            refreshed: NOW,
            expires: NOW + 3_600_000,
        };
        self.server.stores.directory.put_session(session).await.unwrap();
    }
}

fn as_expected(status: u16, expected: u16, said: &str) -> Result<(), String> {
    if status == expected {
        return Ok(());
    }
    Err(format!("got {status}, expected {expected}: {said}"))
}
