//! Where recordings go: the stores of a data directory, through the pipeline, or a server.

use super::Args;
use super::slots::Landing;
use crate::cmd::{Context, Site};
use crate::failure::{Failure, Result};
use crate::local::{self, Missing};
use crate::remote::{Remote, problem};
use beep_core::ErrorKind;
use beep_core::bite::{BiteKey, Label};
use beep_core::clock::Millis;
use beep_core::id::{ConversationId, DeviceId, Identity};
use beep_core::permission::{Action, Gate, Grant};
use beep_core::store::Start;
use beep_pipeline::inbound::Accepted;
use beep_pipeline::{Beep, Utterance};
use reqwest::{Method, StatusCode};

/// The most bytes of one recording. More than servers take by default: whoever holds the data directory decides.
pub const MOST_BYTES: usize = 128 << 20;

/// Where recordings go.
pub enum Target {
    /// Into the stores, with the proof that they may.
    Local {
        /// The pipeline over the stores.
        beep: Beep,
        /// Who speaks where.
        grant: Grant,
    },
    /// To a server, which knows from the token who speaks.
    Remote {
        /// The server.
        remote: Remote,
        /// Where.
        conversation: ConversationId,
    },
}

impl Target {
    /// Opens it, and makes sure that recordings may be put there.
    pub async fn open(args: &Args, context: &Context) -> Result<Self> {
        let conversation = args.conversation.clone();
        let stores = match context.open(Missing::Refuse).await? {
            Site::Local(stores) => stores,
            Site::Remote(_) if args.user.is_some() || args.client.is_some() => {
                return Err(Failure::usage(
                    "at a server, the token says who speaks: leave --user and --client out",
                ));
            }
            Site::Remote(remote) => return Ok(Self::Remote { remote, conversation }),
        };
        local::conversation(&stores, &conversation).await?;
        let operator = Gate::operator_identity()?;
        let grant = match &args.user {
            None => Gate::operator(&conversation, operator, Action::Speak),
            Some(user) => {
                local::user(&stores, user).await?;
                let device: DeviceId = args.client.clone().unwrap_or(operator.device);
                let who = Identity { user: user.clone(), device };
                let gate = Gate::new(stores.directory.clone());
                gate.check(&who, &conversation, Action::Speak).await.map_err(|e| match e.kind() {
                    ErrorKind::Denied => {
                        Failure::new("denied", format!("{user} may not speak in {conversation}")).hint(
                            format!(
                                "`beep-cli conversation add {conversation} {user} --role member` lets them"
                            ),
                        )
                    }
                    _ => e.into(),
                })?
            }
        };
        let beep = Beep::builder(stores).max_body(MOST_BYTES).start().await?;
        Ok(Self::Local { beep, grant })
    }

    /// Stores a recording at this start if it is free; in a dry run, only says what would happen.
    pub async fn put(&self, recording: &Accepted, start: Millis, dry: bool) -> Result<Landing> {
        match self {
            Self::Local { beep, grant } => put_here(beep, grant, recording, start, dry).await,
            // What stands at a server's starts shows only when something is sent.
            Self::Remote { .. } if dry => Ok(Landing::Stored),
            Self::Remote { remote, conversation } => put_there(remote, conversation, recording, start).await,
        }
    }

    /// Ends what was started.
    pub async fn close(self) {
        if let Self::Local { beep, .. } = self {
            beep.shutdown().await;
        }
    }
}

async fn put_here(
    beep: &Beep,
    grant: &Grant,
    recording: &Accepted,
    start: Millis,
    dry: bool,
) -> Result<Landing> {
    // Looking first spares the writer what is there already.
    let key = BiteKey::new(Label::Bite, grant.conversation().clone(), start);
    if let Some(meta) = beep.stores().bites.head(&key).await? {
        let own = meta.sha256 == recording.sha256 && meta.author == *grant.identity();
        return Ok(if own { Landing::Present } else { Landing::Other });
    }
    if dry {
        return Ok(Landing::Stored);
    }
    match beep.record(grant, Utterance::new(recording.body.clone(), Start::At(start))).await {
        Ok(recorded) if recorded.seq.is_none() => Ok(Landing::Present),
        Ok(_) => Ok(Landing::Stored),
        // Somebody was faster.
        Err(e) if e.kind() == ErrorKind::Conflict => Ok(Landing::Other),
        Err(e) => Err(e.into()),
    }
}

async fn put_there(
    remote: &Remote,
    c: &ConversationId,
    recording: &Accepted,
    start: Millis,
) -> Result<Landing> {
    let start = start.to_string();
    let path = ["publish", "conversation", c.as_str(), "start", &start];
    let request = remote.request(Method::PUT, &path).bytes(recording.body.clone(), recording.media_type);
    let answer = request.send().await?;
    match answer.status() {
        StatusCode::CREATED => Ok(Landing::Stored),
        StatusCode::OK => Ok(Landing::Present),
        StatusCode::CONFLICT => Ok(Landing::Other),
        _ => Err(problem(answer).await),
    }
}
