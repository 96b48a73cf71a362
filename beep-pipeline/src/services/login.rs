//! Signing in: whoever proves a phone number by a code is its user, on that device, until the session ends.

use super::people::{Profile, check_patch};
use super::phone;
pub use super::sms_limits::Limits;
use super::sms_limits::SmsLimits;
use crate::Beep;
use beep_core::auth::otp::{self, Sealer};
use beep_core::auth::{Scope, SmsSender, TokenIssuer};
use beep_core::bite::Digest;
use beep_core::clock::{Entropy, Millis};
use beep_core::id::{DeviceId, Identity, SessionId, UserId};
use beep_core::store::{Renewal, Session, User, UserPatch};
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a code is good.
pub const CODE_LIFE: Duration = Duration::from_secs(5 * 60);
/// How often somebody may try a code. Counted before it is compared.
pub const TRIES: u64 = 5;
/// How often one address may try codes in an hour: each try is a write.
pub const TRIES_PER_ADDRESS: u64 = 300;
/// How long a session goes on without being renewed.
pub const SESSION_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What may be chosen about signing in.
#[derive(Clone, Debug, Default)]
pub struct LoginOptions {
    /// How many codes may be sent.
    pub limits: Limits,
    /// Numbers for tests and reviews.
    pub test_numbers: Vec<TestNumber>,
}

/// A number whose code is fixed and never sent, until a date. `Debug` does not show the code.
#[derive(Clone)]
pub struct TestNumber {
    /// In E.164.
    pub number: String,
    /// Its code.
    pub code: String,
    /// From when on it is a number like any other.
    pub until: Millis,
}

impl fmt::Debug for TestNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestNumber").field("until", &self.until).finish_non_exhaustive()
    }
}

/// What a device gets that signed in.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// The token for requests.
    pub token: String,
    /// What a new pair is got with, once.
    pub refresh_token: String,
    /// How long the token is good.
    pub expires_in: Duration,
    /// Who it is.
    pub user: Profile,
}

/// What a new user tells of themselves.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Must not be empty.
    pub first_name: String,
    /// Must not be empty.
    pub last_name: String,
    /// A unique name, if chosen.
    pub username: Option<String>,
    /// A line about themselves.
    pub bio: Option<String>,
    /// The stored name of their picture.
    pub profile_pic: Option<String>,
}

/// Signs people in.
///
/// * A code is six digits, good for [`CODE_LIFE`] and once, and for [`TRIES`] tries, which are counted before they are
///   compared. It is kept sealed, under its own attempt (nonce): two people who draw the same one do not meet.
/// * Known and unknown numbers get the same answers, wrong codes and unknown attempts as well.
/// * A renewed session has a new refresh token; the old one, presented again, ends the session, as it was copied.
/// * Nothing here logs a number, a code or a token.
pub struct Login {
    beep: Beep,
    issuer: Arc<dyn TokenIssuer>,
    sms: Option<Arc<dyn SmsSender>>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    limits: SmsLimits,
    test_numbers: Vec<TestNumber>,
}

/// An attempt to sign in, as stored.
#[derive(Serialize, Deserialize)]
struct Attempt {
    number: String,
    seal: Vec<u8>,
}

impl Login {
    /// Signs in over the directory and the short-lived values of this pipeline. Without a sender only test numbers get
    /// a code.
    pub fn new(
        beep: Beep,
        issuer: Arc<dyn TokenIssuer>,
        sms: Option<Arc<dyn SmsSender>>,
        entropy: Arc<dyn Entropy>,
        options: LoginOptions,
    ) -> Self {
        let sealer = Sealer::new(&issuer.secret("login codes"));
        let limits = SmsLimits::new(beep.stores().ephemeral.clone(), options.limits);
        Self { beep, issuer, sms, entropy, sealer, limits, test_numbers: options.test_numbers }
    }

    /// Sends a code to this number for somebody at this address; answers the name of the attempt (nonce).
    ///
    /// [`ErrorKind::Malformed`] for what is no number, [`ErrorKind::RateLimited`], [`ErrorKind::Unavailable`] when the
    /// code could not be sent, [`ErrorKind::Unsupported`] when nobody is there to send it.
    pub async fn init(&self, number: &str, from: IpAddr) -> Result<String> {
        let number = phone::parse(number)?;
        let now = self.beep.clock().now();
        let test = self.test_numbers.iter().find(|t| t.number == number && now < t.until);
        if test.is_none() && self.sms.is_none() {
            let sentence = "codes cannot be sent here: set `login.sms` to `twilio`, `webhook` or `console`";
            return Err(Error::new(ErrorKind::Unsupported, sentence));
        }
        self.limits.take(&number, from).await?;
        let nonce = otp::nonce(&*self.entropy)?;
        let code = match test {
            Some(test) => test.code.clone(),
            None => otp::code(&*self.entropy)?,
        };
        let seal = self.sealer.seal(&nonce, &number, &code);
        let attempt = serde_json::to_vec(&Attempt { number: number.clone(), seal })
            .map_err(|e| Error::internal("writing an attempt to sign in", e))?;
        self.beep.stores().ephemeral.put_new(&attempt_key(&nonce), attempt.into(), CODE_LIFE).await?;
        if test.is_none()
            && let Some(sms) = &self.sms
        {
            let text = format!("{code} is your Beep code. It is good for 5 minutes. Tell it to nobody.");
            if let Err(e) = sms.send(&number, &text).await {
                // Nobody has the code, so whoever asked may ask again at once.
                self.limits.give_back(&number).await;
                return Err(e);
            }
        }
        Ok(nonce)
    }

    /// Signs in whoever has the code of this attempt, on this device. A new number becomes a new user.
    ///
    /// [`ErrorKind::NotFound`] for a wrong, spent, old or unknown one, whichever it is.
    pub async fn verify(&self, code: &str, nonce: &str, device: DeviceId, from: IpAddr) -> Result<SignedIn> {
        let number = self.proven(code, nonce, from).await?.ok_or_else(wrong_code)?;
        self.spend(nonce).await?;
        let user = self.beep.people().user_with_number(number).await?;
        self.sign_in(user, device).await
    }

    /// Names the user of the number that this code proves; a new number becomes a new user. The code is spent.
    ///
    /// [`ErrorKind::Unauthenticated`] for a wrong code, [`ErrorKind::Invalid`] for empty or long names and
    /// [`ErrorKind::Conflict`] for a taken one, which do not spend the code.
    pub async fn register(&self, code: &str, nonce: &str, names: Names, from: IpAddr) -> Result<Profile> {
        let patch = UserPatch {
            first_name: Some(names.first_name),
            last_name: Some(names.last_name),
            username: names.username.clone().map(Some),
            bio: names.bio,
            profile_pic: names.profile_pic,
        };
        check_patch(&patch)?;
        let wrong = || Error::new(ErrorKind::Unauthenticated, wrong_code().message());
        let number = self.proven(code, nonce, from).await?.ok_or_else(wrong)?;
        let directory = &self.beep.stores().directory;
        if let Some(username) = &names.username
            && let Some(owner) = directory.user_by_username(username).await?
            && owner.phone_number != number
        {
            return Err(Error::new(ErrorKind::Conflict, "this user name is taken: choose another one"));
        }
        self.spend(nonce).await.map_err(|e| if e.kind() == ErrorKind::NotFound { wrong() } else { e })?;
        let user = self.beep.people().user_with_number(number).await?;
        Ok(Profile::with_number(directory.patch_user(&user.id, patch).await?))
    }

    /// A new pair for the session of this refresh token, which is dead from then on.
    ///
    /// [`ErrorKind::Unauthenticated`] for every other token; one that was good before ends its session.
    pub async fn refresh(&self, refresh_token: &str) -> Result<SignedIn> {
        let refused =
            || Error::new(ErrorKind::Unauthenticated, "this refresh token is not valid: sign in again");
        let (session, _) = refresh_token.split_once('.').ok_or_else(refused)?;
        let session = SessionId::parse(session).map_err(|_| refused())?;
        let directory = &self.beep.stores().directory;
        let (new, now) = (self.new_refresh(&session)?, self.beep.clock().now());
        let (old_sum, new_sum) = (Digest::of(refresh_token.as_bytes()), Digest::of(new.as_bytes()));
        match directory.renew_session(&session, &old_sum, &new_sum, now, ends(now)).await? {
            Renewal::Renewed(session) => {
                let user = directory.user(&session.identity.user).await?.ok_or_else(refused)?;
                self.pair(&session, new, user)
            }
            Renewal::Reused(_) => {
                tracing::warn!("a refresh token came a second time: its session was ended");
                self.noticed().await;
                Err(refused())
            }
            Renewal::Unknown => Err(refused()),
        }
    }

    /// The devices that this user is signed in on.
    pub async fn sessions(&self, user: &UserId) -> Result<Vec<Session>> {
        let now = self.beep.clock().now();
        let mut sessions = self.beep.stores().directory.sessions(user).await?;
        sessions.retain(|session| now < session.expires);
        Ok(sessions)
    }

    /// Ends the session of a device: its tokens are dead when this returns. Whether there was one.
    pub async fn sign_out(&self, identity: &Identity) -> Result<bool> {
        let ended = self.beep.stores().directory.end_session(identity).await?;
        self.noticed().await;
        Ok(ended)
    }

    /// The number that this code proves. Counts the try first, and does the same work for what is not there.
    async fn proven(&self, code: &str, nonce: &str, from: IpAddr) -> Result<Option<String>> {
        let ephemeral = &self.beep.stores().ephemeral;
        if ephemeral.count(&format!("code/address/{from}"), HOUR).await? > TRIES_PER_ADDRESS {
            return Err(Error::new(
                ErrorKind::RateLimited,
                "too many codes were tried from here: wait an hour",
            ));
        }
        if !otp::is_nonce(nonce) {
            return Ok(None);
        }
        let tries = ephemeral.count(&format!("code/tries/{nonce}"), CODE_LIFE).await?;
        let stored = ephemeral.get(&attempt_key(nonce)).await?;
        let attempt = stored.as_deref().and_then(|bytes| serde_json::from_slice::<Attempt>(bytes).ok());
        let Attempt { number, seal } =
            attempt.unwrap_or_else(|| Attempt { number: "+".to_owned(), seal: vec![0; 32] });
        let opens = self.sealer.opens(&seal, nonce, &number, code);
        Ok((opens && tries <= TRIES).then_some(number))
    }

    /// Of several who come with the same right code, one gets past this.
    async fn spend(&self, nonce: &str) -> Result<()> {
        self.beep
            .stores()
            .ephemeral
            .take(&attempt_key(nonce))
            .await?
            .map(|_: Bytes| ())
            .ok_or_else(wrong_code)
    }

    async fn sign_in(&self, user: User, device: DeviceId) -> Result<SignedIn> {
        let now = self.beep.clock().now();
        let id = SessionId::random(&*self.entropy)?;
        let refresh_token = self.new_refresh(&id)?;
        let session = Session {
            identity: Identity { user: user.id.clone(), device },
            refresh: Digest::of(refresh_token.as_bytes()),
            id,
            created: now,
            refreshed: now,
            expires: ends(now),
        };
        self.beep.stores().directory.put_session(session.clone()).await?;
        self.noticed().await;
        self.pair(&session, refresh_token, user)
    }

    fn pair(&self, session: &Session, refresh_token: String, user: User) -> Result<SignedIn> {
        let token = self.issuer.issue_in(&session.identity, Scope::User, Some(&session.id))?;
        let user = Profile::with_number(user);
        Ok(SignedIn { token, refresh_token, expires_in: self.issuer.lifetime(), user })
    }

    /// The session's name, so that it is found by an old one too, and 256 random bits.
    fn new_refresh(&self, session: &SessionId) -> Result<String> {
        Ok(format!("{session}.{}{}", otp::nonce(&*self.entropy)?, otp::nonce(&*self.entropy)?))
    }

    /// The gate knows of the change when this returns; when it cannot, it forgets everything, which is as good.
    async fn noticed(&self) {
        if let Err(e) = self.beep.gate().follow().await {
            tracing::warn!(error = %e, "the changes of sessions cannot be read");
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn attempt_key(nonce: &str) -> String {
    format!("code/attempt/{nonce}")
}

fn wrong_code() -> Error {
    Error::new(ErrorKind::NotFound, "this code is wrong or no longer good: try again, or ask for a new one")
}

fn ends(now: Millis) -> Millis {
    now.saturating_add(SESSION_LIFE.as_millis() as Millis)
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("user", &self.user.id).finish_non_exhaustive()
    }
}
