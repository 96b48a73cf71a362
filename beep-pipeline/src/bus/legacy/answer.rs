//! What the pipeline answers to a message of the original. Every message ends in a response, whatever it is.

use super::messages::{Bite, Client, DataRequest, Response, ScanRequest, Store, key};
use super::{LegacyOptions, Subject};
use crate::outbound::TranscriptState;
use crate::{Beep, Utterance};
use beep_core::bite::{BiteKey, Label, MAX_PAGE, ScanRange};
use beep_core::clock::Millis;
use beep_core::id::Identity;
use beep_core::permission::{Action, Grant};
use beep_core::store::Start;
use beep_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use prost::Message;
use serde::Serialize;

/// The most starts in one answer: they fit into one message of NATS, and `next` leads on.
const MAX_STARTS: usize = 20 * MAX_PAGE;

/// What is said in return.
pub(super) struct Answer {
    pub(super) response: Response,
    /// Who announces what is in the log tells the same to the same client.
    pub(super) announced: bool,
    /// The message could not be read at all.
    pub(super) garbage: bool,
}

pub(super) async fn answer(beep: &Beep, options: &LegacyOptions, subject: Subject, payload: Bytes) -> Answer {
    let asked = match subject {
        Subject::NewBite => Bite::decode(payload).map(|bite| Asked::Store(Ok(Label::Bite), bite)),
        Subject::NewBiteUser => Bite::decode(payload).map(|bite| Asked::Store(Ok(Label::User), bite)),
        Subject::NewStore | Subject::Store => Store::decode(payload)
            .map(|store| Asked::Store(Label::parse(&store.r#type), store.bite.unwrap_or_default())),
        Subject::RequestStore => DataRequest::decode(payload).map(Asked::Data),
        Subject::ScanStore => ScanRequest::decode(payload).map(Asked::Scan),
        // The bridge speaks there and does not listen.
        Subject::Response => Ok(Asked::Nothing),
    };
    match asked {
        Ok(Asked::Store(label, bite)) => {
            // Never none: the original's `subscribe` dies of a response without a client.
            let client = Some(bite.client.clone().unwrap_or_default());
            let stored = store(beep, label, bite).await;
            let announced = stored.as_ref().is_ok_and(|stored| stored.is_new);
            let said = stored.map(|stored| key(&stored.key));
            Answer { response: Response { client, ..respond(said) }, announced, garbage: false }
        }
        Ok(Asked::Data(request)) => quietly(respond(data(beep, options, request).await)),
        Ok(Asked::Scan(request)) => quietly(respond(scan(beep, options, request).await)),
        Ok(Asked::Nothing) => quietly(respond(Ok(Bytes::new()))),
        Err(e) => {
            let e = Error::new(ErrorKind::Malformed, "this is no message of this subject").with_source(e);
            let client = Some(Client::default());
            Answer { response: Response { client, ..respond(Err(e)) }, announced: false, garbage: true }
        }
    }
}

enum Asked {
    Store(Result<Label>, Bite),
    Data(DataRequest),
    Scan(ScanRequest),
    Nothing,
}

fn quietly(response: Response) -> Answer {
    Answer { response, announced: false, garbage: false }
}

struct Stored {
    key: BiteKey,
    /// It was not there before.
    is_new: bool,
}

async fn store(beep: &Beep, label: Result<Label>, bite: Bite) -> Result<Stored> {
    let label = label?;
    let nobody = || Error::new(ErrorKind::Unauthenticated, "the message does not say which client sent it");
    let client = bite.client.ok_or_else(nobody)?;
    let who = Identity { user: client.key.parse()?, device: client.client.parse()? };
    let grant = beep.gate().check(&who, &bite.key.parse()?, Action::Speak).await?;
    let recorded = match label {
        Label::Bite => beep.record(&grant, Utterance::new(bite.data, Start::At(bite.start))).await?,
        Label::User => beep.attach(&grant, bite.start, bite.data).await?,
        Label::Transcription => {
            let sentence = "Beep makes the transcripts by itself: stop the old transcription service";
            return Err(Error::new(ErrorKind::Unsupported, sentence));
        }
    };
    Ok(Stored { key: recorded.key, is_new: recorded.seq.is_some() })
}

async fn data(beep: &Beep, options: &LegacyOptions, request: DataRequest) -> Result<Bytes> {
    let label = Label::parse(&request.r#type)?;
    let grant = reading(beep, options, &request.key).await?;
    if label != Label::Transcription {
        return Ok(beep.query().record(&grant, label, request.start).await?.body);
    }
    match beep.query().transcript(&grant, request.start).await? {
        TranscriptState::Ready(transcript) => Ok(transcript.text.into()),
        _ => Err(Error::new(ErrorKind::NotFound, "no bite that starts there has a transcript")),
    }
}

/// As the original wrote it: 0 stands for none.
#[derive(Default, Serialize)]
struct BitesList {
    previous: Millis,
    starts: Vec<Millis>,
    next: Millis,
}

async fn scan(beep: &Beep, options: &LegacyOptions, request: ScanRequest) -> Result<Bytes> {
    let label = Label::parse(&request.r#type)?;
    let grant = reading(beep, options, &request.key).await?;
    let mut range = Some(ScanRange::new(request.from, request.to, MAX_PAGE)?);
    let mut list = BitesList::default();
    while let Some(wanted) = range {
        let page = beep.query().scan(&grant, label, wanted).await?;
        if list.starts.is_empty() {
            list.previous = page.previous.unwrap_or_default();
        }
        list.next = page.next.unwrap_or_default();
        range = page.starts.last().filter(|_| page.continues(&wanted)).and_then(|last| wanted.after(*last));
        list.starts.extend(page.starts);
        if list.starts.len() >= MAX_STARTS {
            break;
        }
    }
    Ok(serde_json::to_vec(&list).map_err(|e| Error::internal("writing a list of bites", e))?.into())
}

/// The original's requests name nobody, so the installation says as whom the old services read.
async fn reading(beep: &Beep, options: &LegacyOptions, conversation: &str) -> Result<Grant> {
    let nobody = || {
        let sentence = "this installation does not let old services read: name a reader for them";
        Error::new(ErrorKind::Denied, sentence)
    };
    let reader = options.reader.as_ref().ok_or_else(nobody)?;
    beep.gate().check(reader, &conversation.parse()?, Action::Listen).await
}

/// A result in the words of the original; the codes are those of our HTTP.
pub(super) fn respond(said: Result<Bytes>) -> Response {
    let e = match said {
        Ok(message) => return Response { code: 200, message, client: None },
        Err(e) => e,
    };
    let code = match e.kind() {
        ErrorKind::Malformed => 400,
        ErrorKind::Unauthenticated => 401,
        ErrorKind::Denied => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::Conflict => 409,
        ErrorKind::TooLarge => 413,
        ErrorKind::UnsupportedMedia => 415,
        ErrorKind::Invalid => 422,
        ErrorKind::RateLimited => 429,
        ErrorKind::Unsupported => 501,
        ErrorKind::Unavailable => 503,
        ErrorKind::Full => 507,
        _ => 500,
    };
    if code == 500 {
        tracing::error!(error = %e, "an old service's message failed");
        return Response { code, message: "something went wrong inside the server".into(), client: None };
    }
    Response { code, message: e.message().to_owned().into(), client: None }
}
