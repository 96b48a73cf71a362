//! The gate over a scripted directory: who may, who may not, what is remembered and when it is forgotten.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use async_trait::async_trait;
use beep_core::bite::Digest;
use beep_core::id::{ConversationId, DeviceId, Identity, SessionId, UserId};
use beep_core::permission::{Action, Gate};
use beep_core::store::{
    Capability, Change, ChangeEntry, Conversation, ConversationPatch, Directory, Member, Membership,
    NewConversation, NewUser, Renewal, Role, Session, Standing, User, UserPatch,
};
use beep_core::{Error, ErrorKind, Result};
use futures_executor::block_on;
use futures_util::future::poll_fn;
use futures_util::poll;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

/// What the directory holds and how it behaves.
#[derive(Debug, Default)]
struct Script {
    roles: BTreeMap<(String, String), Role>,
    changes: Vec<ChangeEntry>,
    /// Calls of `role` and `members` so far.
    asked: usize,
    /// Answers are read at once, but come only when this is off again.
    slow: bool,
    /// The position of the last change comes only when this is off again.
    slow_position: bool,
    /// Nothing is answered.
    away: bool,
    /// Changes are not answered from this position on.
    broken_from: Option<u64>,
    /// The most changes of one answer, whatever was asked for.
    page: Option<usize>,
}

/// A directory of roles and changes; what the gate has no business with is not there.
#[derive(Debug, Default)]
struct Scripted(Mutex<Script>);

fn away() -> Error {
    Error::new(ErrorKind::Internal, "connection to db.internal:5432 refused")
}

impl Scripted {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().expect("no test panics with it")
    }

    fn note(script: &mut Script, change: Change) {
        let seq = script.changes.len() as u64 + 1;
        script.changes.push(ChangeEntry { seq, change });
    }

    fn put(&self, conversation: &ConversationId, user: &UserId, role: Role) {
        let mut script = self.script();
        script.roles.insert((conversation.to_string(), user.to_string()), role);
        Self::note(&mut script, Change::Member(conversation.clone(), user.clone()));
    }

    fn remove(&self, conversation: &ConversationId, user: &UserId) {
        let mut script = self.script();
        script.roles.remove(&(conversation.to_string(), user.to_string()));
        Self::note(&mut script, Change::Member(conversation.clone(), user.clone()));
    }

    fn delete(&self, conversation: &ConversationId) {
        let mut script = self.script();
        script.roles.retain(|(c, _), _| c != conversation.as_str());
        Self::note(&mut script, Change::Conversation(conversation.clone()));
    }

    fn asked(&self) -> usize {
        self.script().asked
    }

    /// Reads an answer now and gives it when the script is not slow.
    async fn answer<T>(&self, read: impl FnOnce(&Script) -> T) -> Result<T> {
        let answer = {
            let mut script = self.script();
            script.asked += 1;
            if script.away {
                return Err(away());
            }
            read(&script)
        };
        self.until(|script| !script.slow).await;
        Ok(answer)
    }

    async fn until(&self, holds: impl Fn(&Script) -> bool) {
        poll_fn(|cx| {
            if holds(&self.script()) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[async_trait]
impl Directory for Scripted {
    fn capability(&self) -> Capability {
        Capability::new(false, false)
    }
    async fn role(&self, conversation: &ConversationId, user: &UserId) -> Result<Option<Role>> {
        self.answer(|s| s.roles.get(&(conversation.to_string(), user.to_string())).copied()).await
    }
    async fn members(&self, conversation: &ConversationId) -> Result<Vec<Member>> {
        let member = |((_, user), role): (&(String, String), &Role)| Member {
            user: user.parse().expect("a user"),
            role: *role,
        };
        self.answer(|s| s.roles.iter().filter(|((c, _), _)| c == conversation.as_str()).map(member).collect())
            .await
    }
    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>> {
        let membership = |((conversation, _), role): (&(String, String), &Role)| Membership {
            conversation: Conversation {
                id: conversation.parse().expect("a conversation"),
                title: String::new(),
                picture: String::new(),
            },
            role: *role,
            pinned: false,
            last_heard: 0,
        };
        self.answer(|s| s.roles.iter().filter(|((_, u), _)| u == user.as_str()).map(membership).collect())
            .await
    }
    async fn changes(&self, after: u64, limit: usize) -> Result<Vec<ChangeEntry>> {
        let script = self.script();
        if script.away || script.broken_from.is_some_and(|seq| after >= seq) {
            return Err(away());
        }
        let limit = limit.min(script.page.unwrap_or(limit));
        Ok(script.changes.iter().filter(|c| c.seq > after).take(limit).cloned().collect())
    }
    async fn last_change(&self) -> Result<u64> {
        self.until(|script| !script.slow_position).await;
        let script = self.script();
        if script.away { Err(away()) } else { Ok(script.changes.len() as u64) }
    }

    async fn create_user(&self, _: NewUser) -> Result<User> {
        unreachable!("not the gate's business")
    }
    async fn user(&self, _: &UserId) -> Result<Option<User>> {
        unreachable!("not the gate's business")
    }
    async fn user_by_phone(&self, _: &str) -> Result<Option<User>> {
        unreachable!("not the gate's business")
    }
    async fn user_by_username(&self, _: &str) -> Result<Option<User>> {
        unreachable!("not the gate's business")
    }
    async fn patch_user(&self, _: &UserId, _: UserPatch) -> Result<User> {
        unreachable!("not the gate's business")
    }
    async fn delete_user(&self, _: &UserId) -> Result<bool> {
        unreachable!("not the gate's business")
    }
    async fn users(&self, _: Option<&UserId>, _: usize) -> Result<Vec<User>> {
        unreachable!("not the gate's business")
    }
    async fn create_conversation(&self, _: NewConversation) -> Result<Conversation> {
        unreachable!("not the gate's business")
    }
    async fn conversation(&self, _: &ConversationId) -> Result<Option<Conversation>> {
        unreachable!("not the gate's business")
    }
    async fn patch_conversation(&self, _: &ConversationId, _: ConversationPatch) -> Result<Conversation> {
        unreachable!("not the gate's business")
    }
    async fn delete_conversation(&self, _: &ConversationId) -> Result<bool> {
        unreachable!("not the gate's business")
    }
    async fn conversations(&self, _: Option<&ConversationId>, _: usize) -> Result<Vec<Conversation>> {
        unreachable!("not the gate's business")
    }
    async fn put_member(&self, _: &ConversationId, _: &UserId, _: Role) -> Result<()> {
        unreachable!("not the gate's business")
    }
    async fn remove_member(&self, _: &ConversationId, _: &UserId) -> Result<bool> {
        unreachable!("not the gate's business")
    }
    async fn set_pinned(&self, _: &ConversationId, _: &UserId, _: bool) -> Result<()> {
        unreachable!("not the gate's business")
    }
    async fn set_last_heard(&self, _: &ConversationId, _: &UserId, _: u64) -> Result<()> {
        unreachable!("not the gate's business")
    }
    async fn put_contact(&self, _: &UserId, _: &UserId) -> Result<()> {
        unreachable!("not the gate's business")
    }
    async fn remove_contact(&self, _: &UserId, _: &UserId) -> Result<bool> {
        unreachable!("not the gate's business")
    }
    async fn contacts(&self, _: &UserId) -> Result<Vec<User>> {
        unreachable!("not the gate's business")
    }
    async fn put_session(&self, _: Session) -> Result<()> {
        unreachable!("not the gate's business")
    }
    async fn renew_session(&self, _: &SessionId, _: &Digest, _: &Digest, _: u64, _: u64) -> Result<Renewal> {
        unreachable!("not the gate's business")
    }
    async fn sessions(&self, _: &UserId) -> Result<Vec<Session>> {
        unreachable!("not the gate's business")
    }
    async fn end_session(&self, _: &Identity) -> Result<bool> {
        unreachable!("not the gate's business")
    }
    async fn standing(&self, _: &Identity) -> Result<Standing> {
        unreachable!("not the gate's business")
    }
    async fn ready(&self) -> Result<()> {
        unreachable!("not the gate's business")
    }
}

const ACTIONS: [Action; 3] = [Action::Listen, Action::Speak, Action::Moderate];
const ROLES: [Role; 4] = [Role::Listener, Role::Member, Role::Admin, Role::Owner];

fn user(name: &str) -> UserId {
    name.parse().expect("a user")
}

fn identity(name: &str) -> Identity {
    Identity { user: user(name), device: DeviceId::parse("phone").expect("a device") }
}

fn room() -> ConversationId {
    "c-room".parse().expect("a conversation")
}

/// A gate that follows a directory with one room, where each role has a user of its name.
fn gate() -> (Arc<Scripted>, Gate) {
    let directory = Arc::new(Scripted::default());
    ROLES.iter().for_each(|role| directory.put(&room(), &user(role.as_str()), *role));
    let gate = Gate::new(directory.clone());
    block_on(gate.begin()).expect("the directory answers");
    (directory, gate)
}

async fn may(gate: &Gate, name: &str, action: Action) -> bool {
    match gate.check(&identity(name), &room(), action).await {
        Ok(grant) => {
            assert_eq!(
                (grant.identity(), grant.conversation(), grant.action()),
                (&identity(name), &room(), action)
            );
            true
        }
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Denied, "{e}");
            false
        }
    }
}

#[test]
fn each_role_may_what_it_may_and_no_more() {
    let (_, gate) = gate();
    block_on(async {
        // listener, member, admin, owner
        for (action, may_do) in [
            (Action::Listen, [true, true, true, true]),
            (Action::Speak, [false, true, true, true]),
            (Action::Moderate, [false, false, true, true]),
        ] {
            for (role, expected) in ROLES.into_iter().zip(may_do) {
                // Twice: the second answer is the remembered one.
                for time in ["asked", "remembered"] {
                    assert_eq!(
                        may(&gate, role.as_str(), action).await,
                        expected,
                        "{role:?} {action:?} {time}"
                    );
                }
            }
            assert!(!may(&gate, "stranger", action).await, "a stranger may not {action:?}");
            assert!(!may(&gate, "stranger", action).await, "a remembered stranger may not {action:?}");
        }
    });
}

#[test]
fn grant_allows_what_the_role_does() {
    let (_, gate) = gate();
    block_on(async {
        for role in ROLES {
            let grant = gate.check(&identity(role.as_str()), &room(), Action::Listen).await.unwrap();
            for action in ACTIONS {
                assert_eq!(grant.allows(action), role >= action.needs(), "{role:?} {action:?}");
            }
        }
    });
    let grant = Gate::operator(&room(), Gate::operator_identity().unwrap(), Action::Listen);
    assert!(ACTIONS.into_iter().all(|action| grant.allows(action)));
    assert_eq!((grant.conversation(), grant.identity().user.as_str()), (&room(), "operator"));
}

#[test]
fn unknown_conversations_are_denied_like_foreign_ones() {
    let (_, gate) = gate();
    block_on(async {
        let unknown =
            gate.check(&identity("member"), &"c-nowhere".parse().unwrap(), Action::Listen).await.unwrap_err();
        let foreign = gate.check(&identity("stranger"), &room(), Action::Listen).await.unwrap_err();
        assert_eq!((unknown.kind(), unknown.to_string()), (ErrorKind::Denied, foreign.to_string()));
        // A member of one room is nobody in another, also with both remembered.
        assert!(may(&gate, "member", Action::Speak).await);
        assert!(gate.check(&identity("member"), &"c-roo".parse().unwrap(), Action::Listen).await.is_err());
    });
}

/// Neither somebody with a role nor somebody without gets in while the directory is away, and the reason stays inside.
#[test]
fn directory_error_is_no() {
    let (directory, gate) = gate();
    block_on(async {
        directory.script().away = true;
        for name in ["owner", "stranger"] {
            let e = gate.check(&identity(name), &room(), Action::Listen).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Unavailable);
            assert!(e.is_temporary());
            assert!(!e.message().contains("db.internal"), "{}", e.message());
        }
        assert_eq!(gate.audience(&room()).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(gate.hears(&user("owner")).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(gate.begin().await.is_err());
        // An error is not an answer, so it is not remembered.
        directory.script().away = false;
        assert!(may(&gate, "owner", Action::Listen).await);
        assert!(!may(&gate, "stranger", Action::Listen).await);
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);
    });
}

#[test]
fn remembered_answers_do_not_ask_again() {
    let (directory, gate) = gate();
    block_on(async {
        for _ in 0..10 {
            assert!(may(&gate, "member", Action::Speak).await);
            assert!(!may(&gate, "member", Action::Moderate).await);
            assert!(!may(&gate, "stranger", Action::Listen).await);
        }
        assert_eq!(directory.asked(), 2, "one question per user");
        for _ in 0..10 {
            assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);
        }
        assert_eq!(directory.asked(), 3, "one question for the audience");
        // Nothing changed: nothing is forgotten.
        assert_eq!(gate.follow().await.unwrap(), []);
        assert!(may(&gate, "member", Action::Speak).await);
        assert_eq!(directory.asked(), 3);
    });
}

/// B14: removed, seen, out. And the other way round: added, seen, in.
#[test]
fn follow_ends_and_begins_access() {
    let (directory, gate) = gate();
    block_on(async {
        assert!(may(&gate, "member", Action::Speak).await);
        assert!(may(&gate, "admin", Action::Speak).await);
        assert!(!may(&gate, "stranger", Action::Listen).await);
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);

        directory.remove(&room(), &user("member"));
        assert_eq!(gate.follow().await.unwrap(), [Change::Member(room(), user("member"))]);
        assert!(!may(&gate, "member", Action::Listen).await);
        assert!(gate.audience(&room()).await.unwrap().iter().all(|u| *u != user("member")));
        let before = directory.asked();
        assert!(may(&gate, "admin", Action::Speak).await, "somebody else's change");
        assert_eq!(directory.asked(), before, "others stay remembered");

        directory.put(&room(), &user("stranger"), Role::Listener);
        gate.follow().await.unwrap();
        assert!(may(&gate, "stranger", Action::Listen).await);
        assert!(gate.audience(&room()).await.unwrap().contains(&user("stranger")));

        directory.put(&room(), &user("admin"), Role::Listener);
        gate.follow().await.unwrap();
        assert!(!may(&gate, "admin", Action::Speak).await, "a lower role counts at once");
        assert!(may(&gate, "admin", Action::Listen).await);
    });
}

#[test]
fn a_deleted_conversation_lets_nobody_in() {
    let (directory, gate) = gate();
    block_on(async {
        let other: ConversationId = "c-other".parse().unwrap();
        directory.put(&other, &user("member"), Role::Member);
        gate.follow().await.unwrap();
        for role in ROLES {
            assert!(may(&gate, role.as_str(), Action::Listen).await);
        }
        assert!(gate.check(&identity("member"), &other, Action::Speak).await.is_ok());
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);
        directory.delete(&room());
        assert_eq!(gate.follow().await.unwrap(), [Change::Conversation(room())]);
        for role in ROLES {
            assert!(!may(&gate, role.as_str(), Action::Listen).await, "{role:?}");
        }
        assert!(gate.audience(&room()).await.unwrap().is_empty());
        assert!(gate.check(&identity("member"), &other, Action::Speak).await.is_ok(), "the other one stands");
    });
}

/// The answer was read before the removal and arrives after it: it may serve the call that asked, and no later one.
#[test]
fn an_answer_overtaken_by_a_removal_is_not_remembered() {
    let (directory, gate) = gate();
    block_on(async {
        directory.script().slow = true;
        let who = identity("member");
        let place = room();
        let mut check = pin!(gate.check(&who, &place, Action::Speak));
        let mut audience = pin!(gate.audience(&place));
        assert!(poll!(&mut check).is_pending() && poll!(&mut audience).is_pending());
        assert_eq!(directory.asked(), 2, "both were read");

        directory.remove(&room(), &user("member"));
        assert_eq!(gate.follow().await.unwrap().len(), 1);
        directory.script().slow = false;
        assert!(check.await.is_ok(), "asked before the removal");
        assert_eq!(audience.await.unwrap().len(), 4);

        assert!(!may(&gate, "member", Action::Listen).await, "asked after it");
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 3);
        assert_eq!(directory.asked(), 4, "both were read again");
    });
}

/// The same where what overtakes is not a change but the loss of the changes, or a new beginning.
#[test]
fn an_answer_overtaken_by_forgetting_is_not_remembered() {
    for begins in [false, true] {
        let (directory, gate) = gate();
        block_on(async {
            directory.script().slow = true;
            let (who, place) = (identity("member"), room());
            let mut check = pin!(gate.check(&who, &place, Action::Speak));
            assert!(poll!(&mut check).is_pending());
            directory.remove(&room(), &user("member"));
            if begins {
                gate.begin().await.unwrap();
            } else {
                directory.script().broken_from = Some(0);
                assert!(gate.follow().await.is_err());
            }
            directory.script().slow = false;
            assert!(check.await.is_ok());
            assert!(!may(&gate, "member", Action::Listen).await, "begins: {begins}");
        });
    }
}

/// What is looked up while a new beginning asks where it is may be older than where it then begins.
#[test]
fn what_is_asked_during_a_new_beginning_is_not_remembered() {
    let (directory, gate) = gate();
    block_on(async {
        directory.script().slow_position = true;
        let mut begin = pin!(gate.begin());
        assert!(poll!(&mut begin).is_pending());
        assert!(may(&gate, "member", Action::Listen).await);
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);
        directory.remove(&room(), &user("member"));
        directory.script().slow_position = false;
        begin.await.unwrap();
        assert_eq!(gate.follow().await.unwrap(), [], "the removal lies before where it begins");
        assert!(!may(&gate, "member", Action::Listen).await);
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 3);
    });
}

#[test]
fn when_changes_cannot_be_read_everything_is_forgotten() {
    let (directory, gate) = gate();
    block_on(async {
        for role in ROLES {
            assert!(may(&gate, role.as_str(), Action::Listen).await);
        }
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 4);
        assert_eq!(directory.asked(), 5);
        directory.remove(&room(), &user("member"));
        directory.script().broken_from = Some(0);
        assert!(gate.follow().await.is_err());
        assert!(!may(&gate, "member", Action::Listen).await);
        for role in [Role::Listener, Role::Admin, Role::Owner] {
            assert!(may(&gate, role.as_str(), Action::Listen).await, "{role:?}");
        }
        assert_eq!(gate.audience(&room()).await.unwrap().len(), 3);
        assert_eq!(directory.asked(), 10, "every answer was asked for again");
        // What could not be read is read when it can be.
        directory.script().broken_from = None;
        assert_eq!(gate.follow().await.unwrap(), [Change::Member(room(), user("member"))]);
        assert_eq!(gate.follow().await.unwrap(), []);
    });
}

#[test]
fn follow_reads_every_page() {
    let (directory, gate) = gate();
    block_on(async {
        directory.script().page = Some(3);
        assert!(may(&gate, "member", Action::Speak).await);
        (0..10).for_each(|n| directory.put(&room(), &user(&format!("u{n}")), Role::Member));
        directory.remove(&room(), &user("member"));
        let changed = gate.follow().await.unwrap();
        assert_eq!(changed.len(), 11);
        assert_eq!(changed.last(), Some(&Change::Member(room(), user("member"))));
        assert!(!may(&gate, "member", Action::Listen).await);
        assert_eq!(gate.follow().await.unwrap(), [], "nothing twice");
    });
}

#[test]
fn begin_forgets_and_starts_at_the_end() {
    let (directory, gate) = gate();
    block_on(async {
        assert!(may(&gate, "member", Action::Speak).await);
        directory.remove(&room(), &user("member"));
        gate.begin().await.unwrap();
        assert!(!may(&gate, "member", Action::Listen).await);
        assert_eq!(gate.follow().await.unwrap(), [], "what was before the beginning is not told");
        directory.put(&room(), &user("member"), Role::Member);
        assert_eq!(gate.follow().await.unwrap().len(), 1);
        assert!(may(&gate, "member", Action::Speak).await);
    });
}

#[test]
fn hears_lists_own_conversations() {
    let (directory, gate) = gate();
    block_on(async {
        directory.put(&"c-a".parse().unwrap(), &user("member"), Role::Listener);
        directory.put(&"c-b".parse().unwrap(), &user("owner"), Role::Owner);
        let heard = gate.hears(&user("member")).await.unwrap();
        assert_eq!(heard.iter().map(ConversationId::as_str).collect::<Vec<_>>(), ["c-a", "c-room"]);
        assert_eq!(gate.hears(&user("stranger")).await.unwrap(), []);
    });
}
