//! What members do at the same moment comes out as if one of them had been first: nobody who left is brought back, nobody
//! who was removed still acts, and a conversation that has members has an owner.

use beep_core::clock::System;
use beep_core::id::{ConversationId, UserId};
use beep_core::store::{NewConversation, NewUser, Role, Stores};
use beep_core::{ErrorKind, Result};
use beep_pipeline::Beep;
use beep_storage::StorageConfig;
use std::path::Path;
use std::sync::Arc;

const ROUNDS: usize = 60;

/// Real stores: what is done there takes its time, which is when others come in between.
struct World {
    beep: Beep,
    stores: Stores,
    _dir: tempfile::TempDir,
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let stores =
            beep_storage::open(&StorageConfig::embedded(dir.path()), Arc::new(System)).await.unwrap();
        let beep = Beep::builder(stores.clone()).start().await.unwrap();
        let world = Self { beep, stores, _dir: dir };
        for (n, name) in ["ann", "ben", "cat", "dan"].into_iter().enumerate() {
            world.sign_up(name, &format!("+659000000{n}")).await;
        }
        world
    }

    async fn sign_up(&self, name: &str, number: &str) {
        let new = NewUser {
            id: user(name),
            username: None,
            first_name: name.to_owned(),
            last_name: "Test".into(),
            phone_number: number.to_owned(),
        };
        self.stores.directory.create_user(new).await.unwrap();
    }

    /// A conversation of these, the first of whom makes it.
    async fn crew(&self, round: usize, members: &[(&str, Role)]) -> ConversationId {
        let id: ConversationId = format!("c-{round}").parse().unwrap();
        let owner = user(members[0].0);
        let new = NewConversation { id: id.clone(), title: String::new(), picture: String::new(), owner };
        self.stores.directory.create_conversation(new).await.unwrap();
        for (name, role) in &members[1..] {
            self.stores.directory.put_member(&id, &user(name), *role).await.unwrap();
        }
        self.beep.gate().follow().await.unwrap();
        id
    }

    async fn role(&self, crew: &ConversationId, name: &str) -> Option<Role> {
        self.stores.directory.role(crew, &user(name)).await.unwrap()
    }

    fn leave(&self, crew: &ConversationId, name: &'static str) -> tokio::task::JoinHandle<Result<()>> {
        let (beep, crew, name) = (self.beep.clone(), crew.clone(), user(name));
        tokio::spawn(async move { beep.people().remove_member(&name, &crew, &name).await })
    }

    fn give(
        &self,
        crew: &ConversationId,
        asker: &'static str,
        name: &'static str,
        role: Role,
    ) -> tokio::task::JoinHandle<Result<()>> {
        let (beep, crew, asker, name) = (self.beep.clone(), crew.clone(), user(asker), user(name));
        tokio::spawn(async move { beep.people().put_member(&asker, &crew, &name, Some(role)).await })
    }
}

fn kind(answer: &Result<()>) -> Option<ErrorKind> {
    answer.as_ref().err().map(|e| e.kind())
}

/// Two owners and a member go at once: whoever was let go is gone, and the last owner was not let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_leaves_beside_the_last_owners_is_not_brought_back() {
    let world = World::new().await;
    for round in 0..ROUNDS {
        let all = ["ann", "ben", "cat"];
        let roles = [("ann", Role::Owner), ("ben", Role::Owner), ("cat", Role::Member)];
        let crew = world.crew(round, &roles).await;
        let mut refused = Vec::new();
        for (name, going) in all.map(|name| (name, world.leave(&crew, name))) {
            let answer = going.await.unwrap();
            let there = world.role(&crew, name).await.is_some();
            assert_eq!(there, answer.is_err(), "round {round}: {name} got {answer:?}");
            if answer.is_err() {
                assert_eq!(kind(&answer), Some(ErrorKind::Conflict), "round {round}: {name}");
                refused.push(name);
            }
        }
        assert_eq!(refused.len(), 1, "round {round}: {refused:?} were the last owner");
        assert_eq!(world.role(&crew, refused[0]).await, Some(Role::Owner), "round {round}");
        for name in all {
            assert_eq!(
                world.role(&crew, name).await.is_some(),
                refused == [name],
                "round {round}: {name} came back"
            );
        }
    }
    world.beep.shutdown().await;
}

/// Two owners take each other's role: one of them does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_owners_do_not_take_each_others_role() {
    let world = World::new().await;
    for round in 0..ROUNDS {
        let crew = world.crew(round, &[("ann", Role::Owner), ("ben", Role::Owner)]).await;
        let (ann, ben) =
            (world.give(&crew, "ann", "ben", Role::Member), world.give(&crew, "ben", "ann", Role::Member));
        let mut answers = [kind(&ann.await.unwrap()), kind(&ben.await.unwrap())];
        let mut roles = [world.role(&crew, "ann").await.unwrap(), world.role(&crew, "ben").await.unwrap()];
        answers.sort_by_key(Option::is_some);
        roles.sort_unstable();
        assert_eq!(answers, [None, Some(ErrorKind::Denied)], "round {round}");
        assert_eq!(roles, [Role::Member, Role::Owner], "round {round}");
    }
    world.beep.shutdown().await;
}

/// What a removed admin was doing when they were removed is either done by then, or is not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_removed_adds_nobody_any_more() {
    let world = World::new().await;
    let (mut first, mut second) = (0, 0);
    for round in 0..ROUNDS {
        let crew = world.crew(round, &[("ann", Role::Owner), ("ben", Role::Admin)]).await;
        let adding = world.give(&crew, "ben", "dan", Role::Member);
        for _ in 0..round % 8 {
            tokio::task::yield_now().await;
        }
        world.beep.people().remove_member(&user("ann"), &crew, &user("ben")).await.unwrap();
        let by_then = world.role(&crew, "dan").await;
        let answer = adding.await.unwrap();
        assert_eq!(world.role(&crew, "dan").await, by_then, "round {round}: {answer:?}");
        match by_then {
            Some(_) => first += 1,
            None => second += 1,
        }
        assert_eq!(answer.is_ok(), by_then.is_some(), "round {round}");
    }
    println!("who was removed had added somebody in {first} rounds and was too late in {second}");
    world.beep.shutdown().await;
}

/// The last owner erases their account while the one who would inherit leaves: whoever left is not made owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_leaves_inherits_nothing() {
    let world = World::new().await;
    for round in 0..ROUNDS {
        world.sign_up(&format!("old-{round}"), &format!("+6591{round:06}")).await;
        let old: UserId = user(&format!("old-{round}"));
        let crew: ConversationId = format!("c-{round}").parse().unwrap();
        let new = NewConversation {
            id: crew.clone(),
            title: String::new(),
            picture: String::new(),
            owner: old.clone(),
        };
        world.stores.directory.create_conversation(new).await.unwrap();
        world.stores.directory.put_member(&crew, &user("cat"), Role::Member).await.unwrap();
        world.beep.gate().follow().await.unwrap();
        let going = world.leave(&crew, "cat");
        let erasing = {
            let beep = world.beep.clone();
            tokio::spawn(async move { beep.people().delete_user(&old).await })
        };
        let (left, erased) = (going.await.unwrap(), erasing.await.unwrap());
        erased.unwrap();
        let expected = match kind(&left) {
            None => None,
            // They had inherited already.
            Some(ErrorKind::Conflict) => Some(Role::Owner),
            other => panic!("round {round}: {other:?}"),
        };
        assert_eq!(world.role(&crew, "cat").await, expected, "round {round}");
        let there = world.stores.directory.conversation(&crew).await.unwrap().is_some();
        assert_eq!(there, expected.is_some(), "round {round}: a conversation without anybody");
    }
    world.beep.shutdown().await;
}
