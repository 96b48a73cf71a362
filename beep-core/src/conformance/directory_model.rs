//! Random calls on two directories, of which one is believed.

#![allow(clippy::unwrap_used)] // a check that panics tells the guarantee that is broken

use super::directory::{Store, changed, cid, uid};
use super::run::Dice;
use crate::id::{ConversationId, UserId};
use crate::store::{ConversationPatch, NewConversation, NewUser, Role, UserPatch};

/// Does `steps` random things to both and compares every answer: `oracle` is one that is believed, such as
/// `beep-storage`'s memory directory. Both must be empty.
pub async fn agrees_with(store: Store, oracle: Store, seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let mut seen = (0, 0);
    for step in 0..steps {
        let does = Step::random(&mut dice);
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
    text: Option<String>,
    number: u64,
}

impl Step {
    /// Few names, so that they meet.
    fn random(dice: &mut Dice) -> Self {
        let text = ["", "x", "X", "y", "ÿ"][dice.roll(5) as usize];
        Self {
            call: dice.roll(20),
            a: uid(&format!("u{}", dice.roll(6))),
            b: uid(&format!("u{}", dice.roll(6))),
            c: cid(&format!("c{}", dice.roll(4))),
            text: (dice.roll(3) > 0).then(|| text.to_owned()),
            number: dice.roll(4),
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
        let Self { a, b, c, text, number, .. } = self;
        let filled = text.clone().unwrap_or_default();
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
            _ => {
                let people = (on.user(a).await, on.contacts(a).await, on.memberships(a).await);
                let place = (on.conversation(c).await, on.members(c).await, on.role(c, a).await);
                format!("{} {} {}", shown(people.0), shown(people.1), shown(people.2))
                    + &format!(" {} {} {}", shown(place.0), shown(place.1), shown(place.2))
            }
        }
    }
}
