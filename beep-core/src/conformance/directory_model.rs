//! Random calls on two directories, of which one is believed.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::directory::{Store, changed, cid, uid};
use super::run::Dice;
use crate::bite::Digest;
use crate::id::{ConversationId, DeviceId, Identity, SessionId, UserId};
use crate::store::{ConversationPatch, NewConversation, NewUser, Role, Session, UserPatch};

/// Does `steps` random things to both and compares every answer: `oracle` is one that is believed, such as
/// `beep-storage`'s memory directory. Both must be empty.
pub async fn agrees_with(store: Store, oracle: Store, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut deaths = [0; 6];
    let mut seen = (0, 0);
    for step in 0..steps {
        let does = Step::random(&mut dice, &mut deaths);
        let (ours, theirs) = (does.run(&store).await, does.run(&oracle).await);
        assert_eq!(ours, theirs, "seed {seed}, step {step}: {does:?}");
        let (changes, expected) = (changed(&store, seen.0).await, changed(&oracle, seen.1).await);
        assert_eq!(changes, expected, "changes of seed {seed}, step {step}: {does:?}");
        seen = (store.last_change().await.unwrap(), oracle.last_change().await.unwrap());
    }
}

#[derive(Debug)]
struct Step {
    call: u64,
    a: UserId,
    b: UserId,
    c: ConversationId,
    device: DeviceId,
    session: SessionId,
    text: Option<String>,
    number: u64,
}

impl Step {
    /// Few names, so that they meet. `deaths` counts how often each user was to be deleted: their id is tried again
    /// after the first time, and another one takes its place after the second.
    fn random(dice: &mut Dice, deaths: &mut [u64; 6]) -> Self {
        let (call, number) = (dice.roll(27), dice.roll(4));
        let (a, b) = (dice.roll(6) as usize, dice.roll(6) as usize);
        let user = |slot: usize| uid(&format!("u{slot}-{}", deaths[slot] / 2));
        let (user_a, user_b) = (user(a), user(b));
        if (call, number) == (3, 0) {
            deaths[a] += 1;
        }
        let text = ["", "x", "X", "y", "ÿ"][dice.roll(5) as usize];
        Self {
            call,
            a: user_a,
            b: user_b,
            c: cid(&format!("c{}", dice.roll(4))),
            device: DeviceId::parse(dice.pick(&["d", "D"])).unwrap(),
            session: SessionId::parse(dice.pick(&["s1", "s2", "s3", "s4"])).unwrap(),
            text: (dice.roll(3) > 0).then(|| text.to_owned()),
            number,
        }
    }

    /// The answer as text, an error as its kind.
    async fn run(&self, on: &Store) -> String {
        fn shown<T: std::fmt::Debug>(result: crate::Result<T>) -> String {
            match result {
                Ok(value) => format!("{value:?}"),
                Err(e) => e.kind().code().to_owned(),
            }
        }
        let Self { a, b, c, text, number, session, .. } = self;
        let filled = text.clone().unwrap_or_default();
        let identity = Identity { user: a.clone(), device: self.device.clone() };
        let refresh = Digest::of(filled.as_bytes());
        match self.call {
            0 | 1 => {
                let (first_name, last_name) = (filled.clone(), String::new());
                let phone_number = if *number == 0 { "+0".into() } else { format!("+{a}") };
                let new =
                    NewUser { id: a.clone(), username: text.clone(), first_name, last_name, phone_number };
                shown(on.create_user(new).await)
            }
            2 => {
                let username = (*number > 1).then(|| text.clone());
                let patch = UserPatch { username, bio: text.clone(), ..UserPatch::default() };
                shown(on.patch_user(a, patch).await)
            }
            3 if *number == 0 => shown(on.delete_user(a).await),
            4 | 5 => {
                let new = NewConversation {
                    id: c.clone(),
                    title: filled,
                    picture: String::new(),
                    owner: a.clone(),
                };
                shown(on.create_conversation(new).await)
            }
            6 => {
                let patch = ConversationPatch { title: text.clone(), picture: None };
                shown(on.patch_conversation(c, patch).await)
            }
            7 if *number == 0 => shown(on.delete_conversation(c).await),
            8..=10 => {
                let role = [Role::Listener, Role::Member, Role::Admin, Role::Owner][*number as usize];
                shown(on.put_member(c, a, role).await)
            }
            11 => shown(on.remove_member(c, a).await),
            12 => shown(on.set_pinned(c, a, *number > 1).await),
            13 => shown(on.set_last_heard(c, a, *number).await),
            14 => shown(on.put_contact(a, b).await),
            15 => shown(on.remove_contact(a, b).await),
            16 => shown(on.user_by_username(&filled).await),
            17 => shown(on.users(Some(a), *number as usize).await),
            18 => shown(on.conversations(None, *number as usize).await),
            19 | 20 => {
                let (id, created, refreshed, expires) = (session.clone(), 1, *number, *number + 2);
                shown(on.put_session(Session { identity, id, refresh, created, refreshed, expires }).await)
            }
            21 | 22 => {
                let new = Digest::of(if *number % 2 == 0 { b"" } else { b"x" });
                shown(on.renew_session(session, &refresh, &new, *number, *number + 2).await)
            }
            23 => shown(on.end_session(&identity).await),
            24 | 25 => {
                format!("{} {}", shown(on.sessions(a).await), shown(on.standing(&identity).await))
            }
            _ => {
                let people = (on.user(a).await, on.contacts(a).await, on.memberships(a).await);
                let place = (on.conversation(c).await, on.members(c).await, on.role(c, a).await);
                format!("{} {} {}", shown(people.0), shown(people.1), shown(people.2))
                    + &format!(" {} {} {}", shown(place.0), shown(place.1), shown(place.2))
            }
        }
    }
}
