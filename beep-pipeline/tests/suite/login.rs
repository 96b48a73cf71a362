//! Signing in: codes that nobody guesses, spends twice or cancels for others; limits; sessions that end when they must.

use async_trait::async_trait;
use beep_core::auth::jwt::{Algorithm, Jwt, JwtConfig, SigningKey};
use beep_core::auth::{Authenticator, SmsSender, Verified};
use beep_core::clock::{Entropy, ManualClock, System};
use beep_core::id::{DeviceId, Identity};
use beep_core::store::{Capability, Ephemeral, NewUser, Stores};
use beep_core::{Error, ErrorKind, Result};
use beep_pipeline::Beep;
use beep_pipeline::services::login::{
    CODE_LIFE, Limits, Login, LoginOptions, Names, SESSION_LIFE, SignedIn, TRIES, TestNumber,
};
use beep_storage::StorageConfig;
use bytes::Bytes;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// When the tests begin.
const NOW: u64 = 1_800_000_000_000;
const ALICE: &str = "+6591111111";
const BOB: &str = "+6592222222";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Keeps what it was to send; refuses while told to.
#[derive(Debug, Default)]
struct Phones {
    sent: Mutex<Vec<(String, String)>>,
    away: AtomicBool,
}

#[async_trait]
impl SmsSender for Phones {
    async fn send(&self, to: &str, text: &str) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the provider is away"));
        }
        self.sent.lock().unwrap().push((to.to_owned(), text.to_owned()));
        Ok(())
    }
}

/// The system's, but every code comes out the same: codes ask for four bytes.
#[derive(Debug)]
struct SameCode;

impl Entropy for SameCode {
    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        if bytes.len() == 4 {
            bytes.copy_from_slice(&123_456u32.to_ne_bytes());
            return Ok(());
        }
        System.fill(bytes)
    }
}

struct World {
    login: Login,
    beep: Beep,
    stores: Stores,
    jwt: Arc<Jwt>,
    clock: Arc<ManualClock>,
    phones: Arc<Phones>,
}

impl World {
    async fn new(limits: Limits) -> Self {
        Self::with(limits, Vec::new(), Arc::new(System)).await
    }

    async fn with(limits: Limits, test_numbers: Vec<TestNumber>, entropy: Arc<dyn Entropy>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let stores = beep_storage::open(&StorageConfig::memory(), clock.clone()).await.unwrap();
        let beep = Beep::builder(stores.clone()).clock(clock.clone()).start().await.unwrap();
        let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
        let config = JwtConfig { leeway: Duration::ZERO, ..JwtConfig::default() };
        let jwt = Arc::new(Jwt::new(vec![key], config, clock.clone(), Arc::new(System)).unwrap());
        let phones = Arc::new(Phones::default());
        let options = LoginOptions { limits, test_numbers };
        let login = Login::new(beep.clone(), jwt.clone(), Some(phones.clone()), entropy, options);
        Self { login, beep, stores, jwt, clock, phones }
    }

    /// The code that was sent last.
    fn code(&self) -> String {
        let sent = self.phones.sent.lock().unwrap();
        sent.last().unwrap().1.chars().take_while(char::is_ascii_digit).collect()
    }

    async fn asked(&self, number: &str) -> (String, String) {
        let nonce = self.login.init(number, HERE).await.unwrap();
        (self.code(), nonce)
    }

    async fn verify(&self, code: &str, nonce: &str) -> Result<SignedIn> {
        self.login.verify(code, nonce, device("phone"), HERE).await
    }

    async fn signed_in(&self, number: &str, on: &str) -> SignedIn {
        let (code, nonce) = self.asked(number).await;
        self.login.verify(&code, &nonce, device(on), HERE).await.unwrap()
    }

    fn verified(&self, token: &str) -> Arc<Verified> {
        self.jwt.verify(token).unwrap()
    }

    async fn admitted(&self, token: &str) -> bool {
        self.beep.gate().admit(&self.verified(token)).await.is_ok()
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time.as_millis() as u64);
    }
}

/// Limits that no test but those of the limits reaches.
fn generous() -> Limits {
    let most = u64::MAX;
    let pause = Duration::ZERO;
    Limits {
        pause,
        number_hour: most,
        number_day: most,
        address_hour: most,
        network_hour: most,
        countries: vec![],
    }
}

fn device(name: &str) -> DeviceId {
    name.parse().unwrap()
}

fn names(first: &str) -> Names {
    Names { first_name: first.to_owned(), last_name: "Test".to_owned(), ..Names::default() }
}

fn kind<T>(answer: Result<T>) -> Option<ErrorKind> {
    answer.err().map(|e| e.kind())
}

/// An address of its own for each number.
fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

#[tokio::test]
async fn a_number_is_one_user_on_all_its_devices() {
    let world = World::new(generous()).await;
    let first = world.signed_in(ALICE, "phone").await;
    assert_eq!(world.phones.sent.lock().unwrap()[0].0, ALICE);
    let second = world.signed_in(" +65 9111-1111", "tablet").await;
    let other = world.signed_in(BOB, "phone").await;
    assert_eq!(first.user.id, second.user.id);
    assert_ne!(first.user.id, other.user.id);
    let verified = world.verified(&second.token);
    let alice = Identity { user: first.user.id, device: device("tablet") };
    assert_eq!(verified.identity, alice);
    assert!(world.admitted(&first.token).await && world.admitted(&second.token).await);
}

/// A1: nothing but a code that was sent signs in.
#[tokio::test]
async fn a1_no_bypass() {
    let world = World::new(generous()).await;
    let (code, nonce) = world.asked(ALICE).await;
    for wrong in ["000000", "", "      ", &code[..5], &format!("{code}0"), &format!("+{code}")] {
        if *wrong != code {
            let (_, nonce) = world.asked(ALICE).await;
            assert_eq!(kind(world.verify(wrong, &nonce).await), Some(ErrorKind::NotFound), "{wrong:?}");
        }
    }
    world.verify(&code, &nonce).await.unwrap();
}

/// A2: the same code for everybody, and each one signs in as themselves.
#[tokio::test]
async fn a2_otp_collision() {
    let world = World::with(generous(), Vec::new(), Arc::new(SameCode)).await;
    let mut asked = Vec::new();
    for n in 0..1_000 {
        let number = format!("+659{n:07}");
        asked.push((world.asked(&number).await, number));
    }
    let mut users = HashSet::new();
    for (n, ((code, nonce), number)) in asked.into_iter().enumerate() {
        assert_eq!(code, "123456");
        let signed_in = world.login.verify(&code, &nonce, device("phone"), address(n as u32)).await.unwrap();
        let user = world.stores.directory.user(&signed_in.user.id).await.unwrap().unwrap();
        assert_eq!(user.phone_number, number);
        users.insert(user.id);
    }
    assert_eq!(users.len(), 1_000);
}

/// A3: five guesses, whoever makes them; then the right code is dead too. `BEEP_GUESSES=1000000` for the whole run.
#[tokio::test]
async fn a3_otp_bruteforce() {
    let guesses: u32 = std::env::var("BEEP_GUESSES").map_or(50_000, |n| n.parse().unwrap());
    let world = World::new(generous()).await;
    let (code, nonce) = world.asked(ALICE).await;
    let mut tokens = 0;
    for n in 0..guesses {
        let guess = format!("{:06}", (code.parse::<u32>().unwrap() + 1 + n) % 1_000_000);
        // From many addresses: each has a limit of its own.
        let answer = world.login.verify(&guess, &nonce, device("phone"), address(n / 100)).await;
        match kind(answer) {
            None => tokens += 1,
            kind => assert_eq!(kind, Some(ErrorKind::NotFound)),
        }
    }
    println!("goal=otp-guesses value={tokens} limit=0 guesses={guesses}");
    // A million of them come by the right one, too late.
    assert_eq!(tokens, 0);
    assert_eq!(kind(world.verify(&code, &nonce).await), Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn the_last_try_counts_and_the_one_behind_it_does_not() {
    let world = World::new(generous()).await;
    for (wrong_ones, signs_in) in [(TRIES - 1, true), (TRIES, false)] {
        let (code, nonce) = world.asked(ALICE).await;
        for _ in 0..wrong_ones {
            world.verify("wrong", &nonce).await.unwrap_err();
        }
        assert_eq!(world.verify(&code, &nonce).await.is_ok(), signs_in, "after {wrong_ones}");
    }
}

/// A4: a thousand who come at once with the right code: one gets in.
#[tokio::test(flavor = "multi_thread")]
async fn a4_otp_single_use_race() {
    let world = Arc::new(World::new(generous()).await);
    for _ in 0..3 {
        let (code, nonce) = world.asked(ALICE).await;
        let racers = (0..1_000).map(|n| {
            let (world, code, nonce) = (world.clone(), code.clone(), nonce.clone());
            tokio::spawn(async move { world.login.verify(&code, &nonce, device("phone"), address(n)).await })
        });
        let mut tokens = 0;
        for racer in racers.collect::<Vec<_>>() {
            tokens += u32::from(racer.await.unwrap().is_ok());
        }
        assert_eq!(tokens, 1);
    }
}

/// A5: guesses under another attempt take nothing from this one.
#[tokio::test]
async fn a5_otp_no_cross_cancel() {
    let world = World::with(generous(), Vec::new(), Arc::new(SameCode)).await;
    let (code, nonce) = world.asked(ALICE).await;
    let (_, other) = world.asked(BOB).await;
    for _ in 0..20 {
        world.verify("000000", &other).await.unwrap_err();
        world.verify(&code, &"0".repeat(32)).await.unwrap_err();
    }
    assert_eq!(world.verify(&code, &nonce).await.unwrap().user.phone_number.replace(' ', ""), ALICE);
}

/// A6: wrong, spent, old, unknown and unreadable attempts are one answer.
#[tokio::test]
async fn a6_otp_uniform_errors() {
    let world = World::new(generous()).await;
    let (code, nonce) = world.asked(ALICE).await;
    let wrong = if code == "000000" { "000001" } else { "000000" };
    let mut answers = vec![
        world.verify(wrong, &nonce).await.unwrap_err().to_string(),
        world.verify(&code, &"0".repeat(32)).await.unwrap_err().to_string(),
        world.verify(&code, "no nonce").await.unwrap_err().to_string(),
    ];
    world.verify(&code, &nonce).await.unwrap();
    answers.push(world.verify(&code, &nonce).await.unwrap_err().to_string());
    let (code, nonce) = world.asked(ALICE).await;
    world.pass(CODE_LIFE);
    answers.push(world.verify(&code, &nonce).await.unwrap_err().to_string());
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// A7: each limit holds at its edge, ends with its time, and is the same for known and unknown numbers.
#[tokio::test]
async fn a7_otp_send_limits() {
    let world = World::new(Limits::default()).await;
    let limited = async |number: &str, from: IpAddr| kind(world.login.init(number, from).await);
    let (refused, minute) = (Some(ErrorKind::RateLimited), Duration::from_secs(60));

    // One a minute, five an hour, ten a day for a number, whoever asks.
    for n in 0..5 {
        assert_eq!(limited(ALICE, address(n << 8)).await, None);
        assert_eq!(limited(ALICE, address((100 + n) << 8)).await, refused);
        world.pass(minute);
    }
    assert_eq!(limited(ALICE, address(200 << 8)).await, refused);
    world.pass(HOUR);
    for n in 0..5 {
        assert_eq!(limited(ALICE, address((300 + n) << 8)).await, None);
        world.pass(minute);
    }
    world.pass(HOUR);
    assert_eq!(limited(ALICE, address(400 << 8)).await, refused);
    world.pass(24 * HOUR);
    assert_eq!(limited(ALICE, address(400 << 8)).await, None);

    // Twenty an hour for an address, a hundred for its network.
    let number = |n: u32| format!("+659{n:07}");
    for n in 0..100 {
        assert_eq!(limited(&number(n), address(1 + n / 20)).await, None, "{n}");
        if n % 20 == 19 {
            assert_eq!(limited(&number(1_000 + n), address(1 + n / 20)).await, refused, "{n}");
        }
    }
    assert_eq!(limited(&number(500), address(200)).await, refused);
    assert_eq!(limited(&number(500), address(1 << 8)).await, None);
    world.pass(HOUR);
    assert_eq!(limited(&number(501), address(1)).await, None);
}

#[tokio::test]
async fn codes_go_to_the_countries_that_are_served() {
    let world = World::new(Limits { countries: vec!["sg".into(), "DE".into()], ..generous() }).await;
    assert_eq!(kind(world.login.init(ALICE, HERE).await), None);
    assert_eq!(kind(world.login.init("+4915112345678", HERE).await), None);
    assert_eq!(kind(world.login.init("+33612345678", HERE).await), Some(ErrorKind::Denied));
    assert_eq!(world.phones.sent.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_code_that_could_not_be_sent_may_be_asked_for_again_at_once() {
    let world = World::new(Limits::default()).await;
    world.phones.away.store(true, Ordering::SeqCst);
    assert_eq!(kind(world.login.init(ALICE, HERE).await), Some(ErrorKind::Unavailable));
    world.phones.away.store(false, Ordering::SeqCst);
    let (code, nonce) = world.asked(ALICE).await;
    world.verify(&code, &nonce).await.unwrap();
}

#[tokio::test]
async fn what_is_no_number_gets_no_code() {
    let world = World::new(generous()).await;
    for wrong in ["", "91111111", "+", "+65", "hello", "+6591111111; drop"] {
        let error = world.login.init(wrong, HERE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{wrong}");
    }
    assert!(world.phones.sent.lock().unwrap().is_empty());
}

/// A9: the names go to the number that was proven, and a taken name does not spend the code.
#[tokio::test]
async fn a9_register_binds_phone() {
    let world = World::new(generous()).await;
    world.signed_in(BOB, "phone").await;
    let (code, nonce) = world.asked(BOB).await;
    let bob = Names { username: Some("bobby".into()), ..names("Bob") };
    let registered = world.login.register(&code, &nonce, bob, HERE).await.unwrap();
    assert_eq!(registered.first_name, "Bob");

    let (code, nonce) = world.asked(ALICE).await;
    let taken = Names { username: Some("Bobby".into()), ..names("Alice") };
    assert_eq!(kind(world.login.register(&code, &nonce, taken, HERE).await), Some(ErrorKind::Conflict));
    assert_eq!(kind(world.login.register(&code, &nonce, names(" "), HERE).await), Some(ErrorKind::Invalid));
    let alice = world.login.register(&code, &nonce, names("Alice"), HERE).await.unwrap();
    assert_eq!(alice.phone_number.replace(' ', ""), ALICE);
    assert_ne!(alice.id, registered.id);
    let again = world.login.register(&code, &nonce, names("Eve"), HERE).await;
    assert_eq!(kind(again), Some(ErrorKind::Unauthenticated), "the code is spent");
    let bob = world.stores.directory.user(&registered.id).await.unwrap().unwrap();
    assert_eq!((bob.first_name.as_str(), bob.phone_number.as_str()), ("Bob", BOB));
}

/// A13: what is stored of an attempt does not tell its code.
#[tokio::test]
async fn a13_otp_hashed_at_rest() {
    let world = World::new(generous()).await;
    for _ in 0..1_000 {
        let (code, nonce) = world.asked(ALICE).await;
        let keys = world.stores.ephemeral.keys("code/", 10_000).await.unwrap();
        let key = keys.iter().find(|key| key.ends_with(&nonce)).unwrap();
        assert!(!key.replace(&nonce, "").contains(&code));
        let stored = world.stores.ephemeral.get(key).await.unwrap().unwrap();
        let stored = String::from_utf8_lossy(&stored).replace(ALICE, "");
        assert!(!stored.contains(&code), "{stored}");
    }
}

/// A test number has its code until its day, and is never sent one.
#[tokio::test]
async fn a_test_number_is_one_until_its_date() {
    let until = NOW + HOUR.as_millis() as u64;
    let test = TestNumber { number: ALICE.into(), code: "424242".into(), until };
    assert!(!format!("{test:?}").contains("424242") && !format!("{test:?}").contains("911"));
    let world = World::with(generous(), vec![test], Arc::new(System)).await;
    let nonce = world.login.init(ALICE, HERE).await.unwrap();
    assert!(world.phones.sent.lock().unwrap().is_empty());
    world.verify("424242", &nonce).await.unwrap();
    world.pass(HOUR);
    let (code, nonce) = world.asked(ALICE).await;
    assert_eq!(world.verify("424242", &nonce).await.is_ok(), code == "424242");
}

/// A8: a token dies with its session, at once, and only that one.
#[tokio::test]
async fn a8_logout_revokes() {
    let world = World::new(generous()).await;
    let phone = world.signed_in(ALICE, "phone").await;
    let tablet = world.signed_in(ALICE, "tablet").await;
    let identity = world.verified(&phone.token).identity.clone();
    assert_eq!(world.login.sessions(&identity.user).await.unwrap().len(), 2);
    assert!(world.login.sign_out(&identity).await.unwrap());
    assert!(!world.admitted(&phone.token).await);
    assert!(world.admitted(&tablet.token).await);
    assert_eq!(kind(world.login.refresh(&phone.refresh_token).await), Some(ErrorKind::Unauthenticated));
    assert!(!world.login.sign_out(&identity).await.unwrap());
    // Signing in again on the same device is another session.
    let again = world.signed_in(ALICE, "phone").await;
    assert!(world.admitted(&again.token).await && !world.admitted(&phone.token).await);
}

#[tokio::test]
async fn the_tokens_of_a_deleted_user_are_dead() {
    let world = World::new(generous()).await;
    let alice = world.signed_in(ALICE, "phone").await;
    world.stores.directory.delete_user(&alice.user.id).await.unwrap();
    world.beep.gate().follow().await.unwrap();
    assert!(!world.admitted(&alice.token).await);
    assert_eq!(kind(world.login.refresh(&alice.refresh_token).await), Some(ErrorKind::Unauthenticated));
    // The number may come back, as somebody else.
    assert_ne!(world.signed_in(ALICE, "phone").await.user.id, alice.user.id);
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_a_copy_ends_the_session() {
    let world = World::new(generous()).await;
    let first = world.signed_in(ALICE, "phone").await;
    let second = world.login.refresh(&first.refresh_token).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    assert!(world.admitted(&first.token).await && world.admitted(&second.token).await);
    // Somebody comes with the old one.
    assert_eq!(kind(world.login.refresh(&first.refresh_token).await), Some(ErrorKind::Unauthenticated));
    assert_eq!(kind(world.login.refresh(&second.refresh_token).await), Some(ErrorKind::Unauthenticated));
    assert!(!world.admitted(&first.token).await && !world.admitted(&second.token).await);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let world = World::new(generous()).await;
    let alice = world.signed_in(ALICE, "phone").await;
    for wrong in ["", ".", "x", "s-1.x", &alice.token, "\u{0}.\u{0}"] {
        assert_eq!(kind(world.login.refresh(wrong).await), Some(ErrorKind::Unauthenticated), "{wrong:?}");
    }
    assert!(world.admitted(&alice.token).await);
}

#[tokio::test]
async fn a_session_ends_by_itself_unless_it_is_renewed() {
    let world = World::new(generous()).await;
    let alice = world.signed_in(ALICE, "phone").await;
    world.pass(SESSION_LIFE - HOUR);
    let renewed = world.login.refresh(&alice.refresh_token).await.unwrap();
    world.pass(SESSION_LIFE - HOUR);
    let renewed = world.login.refresh(&renewed.refresh_token).await.unwrap();
    world.pass(SESSION_LIFE);
    assert_eq!(kind(world.login.refresh(&renewed.refresh_token).await), Some(ErrorKind::Unauthenticated));
    assert!(world.login.sessions(&alice.user.id).await.unwrap().is_empty());
}

/// Nothing that is secret shows in what programmers print.
#[tokio::test]
async fn nothing_secret_is_shown() {
    let world = World::new(generous()).await;
    let (code, nonce) = world.asked(ALICE).await;
    let signed_in = world.verify(&code, &nonce).await.unwrap();
    let user = world.stores.directory.user(&signed_in.user.id).await.unwrap();
    let again = world.verify(&code, &nonce).await;
    let (login, stores, beep) = (&world.login, &world.stores, &world.beep);
    let shown =
        format!("{login:?} {stores:?} {beep:?} {signed_in:?} {user:?} {:?} {again:?}", signed_in.user);
    for secret in [&code, &signed_in.token, &signed_in.refresh_token, &ALICE.to_owned()] {
        assert!(!shown.contains(secret.as_str()), "{secret} in {shown}");
    }
}

/// Two people meet: a number that somebody has as a contact becomes that very user.
#[tokio::test]
async fn a_number_known_as_a_contact_becomes_that_user() {
    let world = World::new(generous()).await;
    let contact = NewUser {
        id: "u-contact".parse().unwrap(),
        username: None,
        first_name: String::new(),
        last_name: String::new(),
        phone_number: ALICE.into(),
    };
    world.stores.directory.create_user(contact).await.unwrap();
    assert_eq!(world.signed_in(ALICE, "phone").await.user.id.as_str(), "u-contact");
}

/// Short-lived values that cannot be taken out.
#[derive(Debug)]
struct Stuck(Arc<dyn Ephemeral>);

#[async_trait]
impl Ephemeral for Stuck {
    fn capability(&self) -> Capability {
        self.0.capability()
    }
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.0.put(key, value, ttl).await
    }
    async fn put_new(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool> {
        self.0.put_new(key, value, ttl).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }
    async fn take(&self, _: &str) -> Result<Option<Bytes>> {
        Err(Error::new(ErrorKind::Unavailable, "the store is away"))
    }
    async fn remove(&self, key: &str) -> Result<bool> {
        self.0.remove(key).await
    }
    async fn count(&self, key: &str, ttl: Duration) -> Result<u64> {
        self.0.count(key, ttl).await
    }
    async fn keys(&self, prefix: &str, limit: usize) -> Result<Vec<String>> {
        self.0.keys(prefix, limit).await
    }
}

/// A store that is away is not a wrong code: who is told so would ask for another one.
#[tokio::test]
async fn a_store_that_is_away_is_no_wrong_code() {
    let world = World::new(generous()).await;
    let (code, nonce) = world.asked(ALICE).await;
    let stores =
        Stores { ephemeral: Arc::new(Stuck(world.stores.ephemeral.clone())), ..world.stores.clone() };
    let beep = Beep::builder(stores).clock(world.clock.clone()).start().await.unwrap();
    let stuck = Login::new(beep, world.jwt.clone(), None, Arc::new(System), LoginOptions::default());
    let verified = stuck.verify(&code, &nonce, device("phone"), HERE).await;
    assert_eq!(kind(verified), Some(ErrorKind::Unavailable));
    let registered = stuck.register(&code, &nonce, names("Alice"), HERE).await;
    assert_eq!(kind(registered), Some(ErrorKind::Unavailable));
    // Nothing was spent.
    world.verify(&code, &nonce).await.unwrap();
}
