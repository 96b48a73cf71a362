//! Text messages over HTTP, against services on this machine that answer, refuse, fail, redirect and stay silent.
#![cfg(all(feature = "sms-webhook", feature = "sms-twilio"))]

use aws_lc_rs::hmac;
use beep_core::auth::SmsSender;
use beep_core::clock::ManualClock;
use beep_core::{Error, ErrorKind};
use beep_pipeline::services::sms_console::ConsoleSms;
use beep_pipeline::services::sms_twilio::TwilioSms;
use beep_pipeline::services::sms_webhook::WebhookSms;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const TO: &str = "+6591234567";
const TEXT: &str = "Your code is 482913 & keep it";
const SECRET: &str = "a secret of the web hook";
const SID: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "an-auth-token-of-twilio";
const FROM: &str = "+15550100199";
/// What none of our own words may hold.
const SECRETS: [&str; 8] = [TO, "91234567", TEXT, "482913", SECRET, TOKEN, "hidden", "user:pass"];

/// What the service was asked.
#[derive(Clone, Debug)]
struct Asked {
    /// Method and path.
    line: String,
    headers: HashMap<String, String>,
    body: String,
    at: Instant,
}

/// What it does with a request.
#[derive(Clone)]
enum Answer {
    /// Status, further header lines, body.
    Says(u16, String, String),
    /// Takes the request and closes.
    Hangup,
    /// Takes the request and holds the connection.
    Silence,
}

fn says(status: u16) -> Answer {
    Answer::Says(status, String::new(), "{}".to_owned())
}

fn says_later(status: u16, header: &str) -> Answer {
    Answer::Says(status, format!("{header}\r\n"), String::new())
}

/// An error as Twilio words it, which repeats the number.
fn twilio_says(status: u16, code: u32) -> Answer {
    let message = format!("The 'To' number {TO} has a problem with '{TEXT}'");
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    let body = json!({"code": code, "message": message, "more_info": more, "status": status});
    Answer::Says(status, "content-type: application/json\r\n".to_owned(), body.to_string())
}

/// A service that gives its answers in turn, the last one for ever, and remembers what it was asked.
struct Service {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    async fn new(answers: impl Into<Vec<Answer>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (seen, answers) = (asked.clone(), Arc::new(answers.into()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone(), answers.clone()));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn hook(&self) -> WebhookSms {
        hook(&format!("{}/hidden/path?key=hidden", self.url))
    }

    fn twilio(&self) -> TwilioSms {
        TwilioSms::new(SID, TOKEN, FROM).unwrap().with_base(&self.url).unwrap()
    }
}

/// One connection with any number of requests.
async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Asked>>>, answers: Arc<Vec<Answer>>) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = request(&mut stream).await {
        let before = {
            let mut seen = seen.lock().unwrap();
            seen.push(asked);
            seen.len() - 1
        };
        match answers.get(before).or(answers.last()).unwrap() {
            Answer::Says(status, headers, body) => {
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Answer::Hangup => return,
            Answer::Silence => std::future::pending().await,
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |line: &String| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
    let headers: HashMap<_, _> = head[1..].iter().filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { line, headers, body: String::from_utf8(body).unwrap(), at: Instant::now() })
}

fn hook(url: &str) -> WebhookSms {
    WebhookSms::new(url, SECRET, Arc::new(ManualClock::at(1_790_000_000_999))).unwrap()
}

/// The error that sending ends with, after a look at every word of it and of the sender.
async fn fails(sender: &dyn SmsSender) -> Error {
    let error = sender.send(TO, TEXT).await.unwrap_err();
    quiet(&error);
    quiet_text(&format!("{sender:?} {sender:#?}"));
    error
}

fn quiet(error: &Error) {
    let mut words = format!("{error} {error:?} {}", error.message());
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        words += &format!(" {inner} {inner:?}");
        source = inner.source();
    }
    quiet_text(&words);
}

fn quiet_text(words: &str) {
    for secret in SECRETS {
        assert!(!words.contains(secret), "{secret:?} in {words}");
    }
}

/// Kind, whether it may work later, and a part of the sentence.
#[track_caller]
fn is(error: &Error, kind: ErrorKind, temporary: bool, advice: &str) {
    assert_eq!((error.kind(), error.is_temporary()), (kind, temporary), "{error}");
    assert!(error.message().contains(advice), "{error}");
}

/// Both senders at this service, for what they do alike.
fn both(service: &Service) -> [Box<dyn SmsSender>; 2] {
    [Box::new(service.hook()), Box::new(service.twilio())]
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn the_web_hook_gets_number_and_text_and_can_check_who_sent_them() {
    let service = Service::new([says(204)]).await;
    let hook = service.hook();
    hook.send(TO, TEXT).await.unwrap();
    hook.send(TO, TEXT).await.unwrap();
    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    for one in &asked {
        assert_eq!(one.line, "POST /hidden/path?key=hidden");
        assert_eq!(one.headers["content-type"], "application/json");
        assert_eq!(serde_json::from_str::<Value>(&one.body).unwrap(), json!({"to": TO, "text": TEXT}));
        assert_eq!(one.headers["x-beep-timestamp"], "1790000000");
        let signature = one.headers["x-beep-signature"].strip_prefix("sha256=").unwrap();
        let bytes: Vec<u8> = (0..signature.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&signature[i..i + 2], 16).unwrap())
            .collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        hmac::verify(&key, format!("1790000000.{}", one.body).as_bytes(), &bytes).unwrap();
        assert_eq!(one.headers["idempotency-key"].len(), 32);
    }
    let keys = asked.iter().map(|one| &one.headers["idempotency-key"]).collect::<Vec<_>>();
    assert_ne!(keys[0], keys[1], "another message has another key");
}

#[tokio::test]
async fn twilio_gets_a_form_from_the_account() {
    let service = Service::new([says(201)]).await;
    service.twilio().send(TO, TEXT).await.unwrap();
    let grouped =
        TwilioSms::new(SID, TOKEN, "MG77").unwrap().with_base(&format!("{}/edge/", service.url)).unwrap();
    grouped.send(TO, TEXT).await.unwrap();
    let asked = service.asked();
    let path = format!("/2010-04-01/Accounts/{SID}/Messages.json");
    assert_eq!(asked[0].line, format!("POST {path}"));
    assert_eq!(asked[1].line, format!("POST /edge{path}"));
    let form = |n: usize| -> Vec<(String, String)> {
        form_urlencoded::parse(asked[n].body.as_bytes()).into_owned().collect()
    };
    let pairs = |sender: &str, from: &str| {
        [("To", TO), (sender, from), ("Body", TEXT)].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec()
    };
    assert_eq!(form(0), pairs("From", FROM));
    assert_eq!(form(1), pairs("MessagingServiceSid", "MG77"));
    for one in asked {
        assert_eq!(one.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(one.headers["authorization"], BASIC);
    }
}

/// `SID:TOKEN` in base64.
const BASIC: &str = "Basic QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjphbi1hdXRoLXRva2VuLW9mLXR3aWxpbw==";

#[tokio::test]
async fn what_may_pass_is_tried_again_as_the_same_message() {
    for passing in [says(500), says(503), says(429), Answer::Hangup] {
        let service = Service::new([passing, says(201)]).await;
        for sender in both(&service) {
            service.asked.lock().unwrap().clear();
            sender.send(TO, TEXT).await.unwrap();
            let asked = service.asked();
            assert_eq!(asked.len(), 2);
            assert_eq!(asked[0].body, asked[1].body);
            let key = |n: usize| asked[n].headers.get("idempotency-key");
            assert_eq!(key(0), key(1));
        }
    }
}

#[tokio::test]
async fn three_tries_are_all_with_growing_pauses() {
    for failure in [says(500), says(429), Answer::Hangup] {
        let service = Service::new([failure]).await;
        for sender in both(&service) {
            service.asked.lock().unwrap().clear();
            is(&fails(&*sender).await, ErrorKind::Unavailable, true, "");
            let asked = service.asked();
            assert_eq!(asked.len(), 3);
            let pause = |n: usize| asked[n + 1].at - asked[n].at;
            assert!(pause(0) >= Duration::from_millis(250) && pause(1) >= Duration::from_secs(1));
            assert!(
                asked
                    .iter()
                    .all(|one| one.headers.get("idempotency-key") == asked[0].headers.get("idempotency-key"))
            );
        }
    }
}

#[tokio::test]
async fn a_service_says_when_to_come_back() {
    let service = Service::new([says_later(429, "retry-after: 1"), says(201)]).await;
    for sender in both(&service) {
        service.asked.lock().unwrap().clear();
        sender.send(TO, TEXT).await.unwrap();
        let asked = service.asked();
        assert!(asked.len() == 2 && asked[1].at - asked[0].at >= Duration::from_secs(1));
    }
    // Longer than anybody waits for a code: it is left alone.
    let service = Service::new([says_later(503, "retry-after: 6")]).await;
    for sender in both(&service) {
        service.asked.lock().unwrap().clear();
        is(&fails(&*sender).await, ErrorKind::Unavailable, true, "busy");
        assert_eq!(service.asked().len(), 1);
    }
    let dated = says_later(503, "retry-after: Fri, 31 Dec 2100 23:59:59 GMT");
    let service = Service::new([dated, says(201)]).await;
    service.hook().send(TO, TEXT).await.unwrap();
}

#[tokio::test]
async fn what_the_web_hook_refuses_is_not_tried_again() {
    use ErrorKind::{Invalid, Unavailable};
    for (status, kind, advice) in [
        (400, Invalid, "this number"),
        (422, Invalid, "this number"),
        (401, Unavailable, "check the secret"),
        (403, Unavailable, "check the secret"),
        (404, Unavailable, "check the address"),
        (413, Unavailable, "its log"),
    ] {
        let service = Service::new([says(status)]).await;
        is(&fails(&service.hook()).await, kind, false, advice);
        assert_eq!(service.asked().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_twilio_refuses_is_not_tried_again() {
    use ErrorKind::{Invalid, Unavailable};
    for (answer, kind, advice) in [
        (twilio_says(400, 21211), Invalid, "this number"),
        (twilio_says(400, 21214), Invalid, "this number"),
        (twilio_says(400, 21408), Invalid, "this number"),
        (twilio_says(400, 21610), Invalid, "this number"),
        (twilio_says(400, 21614), Invalid, "this number"),
        (twilio_says(400, 21606), Unavailable, "lists its codes"),
        (twilio_says(401, 20003), Unavailable, "check the account SID and auth token"),
        (says(401), Unavailable, "check the account SID and auth token"),
        (twilio_says(404, 20404), Unavailable, "lists its codes"),
        (says(404), Unavailable, "base address"),
        (says(200), Unavailable, "base address"),
        (Answer::Says(400, String::new(), "<html>".repeat(100_000)), Unavailable, "base address"),
    ] {
        let service = Service::new([answer.clone()]).await;
        let error = fails(&service.twilio()).await;
        is(&error, kind, false, advice);
        assert_eq!(service.asked().len(), 1);
        if let Answer::Says(_, _, body) = answer
            && let Ok(body) = serde_json::from_str::<Value>(&body)
            && let Some(code) = body["code"].as_u64()
        {
            assert!(error.to_string().contains(&format!("twilio_code: {code}")), "{error}");
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Service::new([says(201)]).await;
    for status in [301, 302, 307, 308] {
        let moved = Service::new([says_later(status, &format!("location: {}/", elsewhere.url))]).await;
        for sender in both(&moved) {
            is(&fails(&*sender).await, ErrorKind::Unavailable, false, "redirects are not followed");
        }
        assert_eq!(moved.asked().len(), 2, "one each");
    }
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn a_service_that_is_away_or_silent_is_unavailable() {
    let away = nobody().await;
    let gone: [Box<dyn SmsSender>; 2] = [
        Box::new(hook(&format!("{away}/hidden"))),
        Box::new(TwilioSms::new(SID, TOKEN, FROM).unwrap().with_base(&away).unwrap()),
    ];
    for sender in gone {
        let started = Instant::now();
        let error = fails(&*sender).await;
        is(&error, ErrorKind::Unavailable, true, "cannot be reached");
        assert!(error.to_string().contains("refused"), "it says why: {error}");
        assert!(started.elapsed() >= Duration::from_millis(1_250), "it was tried three times");
    }
    let silent = Service::new([Answer::Silence]).await;
    let short = Duration::from_millis(200);
    let waiting: [Box<dyn SmsSender>; 2] =
        [Box::new(silent.hook().with_timeout(short)), Box::new(silent.twilio().with_timeout(short))];
    for sender in waiting {
        silent.asked.lock().unwrap().clear();
        is(&fails(&*sender).await, ErrorKind::Unavailable, true, "in time");
        assert_eq!(silent.asked().len(), 1, "the message may be under way");
    }
}

#[tokio::test]
async fn credentials_in_an_address_are_used_and_not_shown() {
    let service = Service::new([says(200), says(403)]).await;
    let hook = hook(&service.url.replace("http://", "http://user:pass@"));
    hook.send(TO, TEXT).await.unwrap();
    assert_eq!(service.asked()[0].headers["authorization"], "Basic dXNlcjpwYXNz");
    fails(&hook).await;
    let away = nobody().await.replace("http://", "http://user:pass@");
    fails(&self::hook(&away)).await;
    let shown = format!("{hook:?}");
    assert!(shown.contains(&service.url), "{shown}");
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_once() {
    let clock = Arc::new(ManualClock::at(0));
    for url in [
        "",
        "hidden",
        "ftp://user:pass@x/hidden",
        "file:///hidden",
        "mailto:hidden@x",
        "http://",
        "//x/hidden",
    ] {
        let error = WebhookSms::new(url, SECRET, clock.clone()).unwrap_err();
        is(&error, ErrorKind::Invalid, false, "http:// or https://");
        quiet(&error);
        let error = TwilioSms::new(SID, TOKEN, FROM).unwrap().with_base(url).unwrap_err();
        is(&error, ErrorKind::Invalid, false, "http:// or https://");
        quiet(&error);
    }
    is(&WebhookSms::new("http://x", "", clock).unwrap_err(), ErrorKind::Invalid, false, "secret");
    let error = TwilioSms::new(SID, TOKEN, FROM).unwrap().with_base("http://user:pass@x").unwrap_err();
    is(&error, ErrorKind::Invalid, false, "credentials");
    quiet(&error);
    for (sid, token, from, advice) in [
        ("", TOKEN, FROM, "account SID"),
        ("SK0123", TOKEN, FROM, "account SID"),
        ("AC/../..", TOKEN, FROM, "account SID"),
        (SID, "", FROM, "auth token"),
        (SID, TOKEN, "", "sender"),
    ] {
        let error = TwilioSms::new(sid, token, from).unwrap_err();
        is(&error, ErrorKind::Invalid, false, advice);
        quiet(&error);
    }
}

#[tokio::test]
async fn the_console_takes_everything() {
    ConsoleSms.send(TO, TEXT).await.unwrap();
    quiet_text(&format!("{ConsoleSms:?}"));
}
