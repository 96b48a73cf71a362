//! `--server`: what is asked of a server, and what its answers mean, against a stub that answers from a list.

use crate::support::{Ran, args, beep_cli, finish, wav};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the stub was asked.
#[derive(Clone, Debug)]
struct Asked {
    /// Method, path and query.
    line: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// Status, further headers and body.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A server that answers by a function and remembers what it was asked.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    fn new(answer: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &seen, &*answer));
            }
        });
        Self { url, asked }
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        let mut command = beep_cli();
        command.env("BEEP_SERVER", &self.url).env("BEEP_TOKEN", "secret-token").args(args);
        let ran = finish(command);
        assert!(
            !ran.err.contains("secret-token") && !String::from_utf8_lossy(&ran.out).contains("secret-token")
        );
        ran
    }

    fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap().clone();
        for one in &asked {
            assert_eq!(one.headers["authorization"], "Bearer secret-token", "{}", one.line);
            assert!(!one.line.contains("secret-token"), "{}", one.line);
        }
        asked
    }

    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked, usize) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
    let header = |line: &String| line.split_once(':').map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
    let headers: HashMap<_, _> = head[1..].iter().filter_map(header).collect();
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let asked = Asked { line, headers, body };
    let before = {
        let mut seen = seen.lock().unwrap();
        seen.push(asked.clone());
        seen.len() - 1
    };
    let (status, headers, body) = answer(&asked, before);
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
}

fn json(status: u16, text: &str) -> Answer {
    (status, vec![("content-type", "application/json".to_owned())], text.as_bytes().to_vec())
}

fn problem(status: u16, code: &str, detail: &str) -> Answer {
    let body = format!(
        r#"{{"type":"about:blank","title":"x","status":{status},"code":"{code}","detail":"{detail}"}}"#
    );
    (status, vec![("content-type", "application/problem+json".to_owned())], body.into_bytes())
}

#[test]
fn ingest_puts_and_walks_past_conflicts() {
    let files = crate::support::Installation::new();
    let store: Mutex<HashMap<String, Vec<u8>>> = Mutex::default();
    let live = "PUT /publish/conversation/c-1/start/1000";
    store.lock().unwrap().insert(live.to_owned(), wav(99));
    let server = Stub::new(move |asked, _| {
        let mut store = store.lock().unwrap();
        match store.get(&asked.line) {
            Some(there) if *there == asked.body => json(200, "{}"),
            Some(_) => problem(409, "conflict", "something else is there"),
            None => {
                store.insert(asked.line.clone(), asked.body.clone());
                json(201, "{}")
            }
        }
    });
    files.write("in/a.wav", &wav(1), 1_000);
    files.write("in/b.wav", &wav(2), 1_000);
    files.write("in/c.wav", &wav(3), 5_000);
    files.write("in/junk", b"no audio whatsoever", 5_000);
    let ingest = args([&"ingest", &files.file("in"), &"-c", &"c-1"]);
    assert_eq!(server.run(&ingest).ok().text(), "stored 3, already there 0, skipped 1, failed 0\n");
    assert_eq!(server.run(&ingest).ok().text(), "stored 0, already there 3, skipped 1, failed 0\n");
    let first = server.asked().into_iter().find(|asked| asked.line.ends_with("/5000")).unwrap();
    assert!(first.headers["content-type"].starts_with("audio/"), "{first:?}");
    assert_eq!(first.body, wav(3));
    let before = server.asked().len();
    let dry = server.run([&ingest[..], &["--dry-run".into()]].concat()).ok();
    assert_eq!(dry.text(), "would store 3, already there 0, skipped 1, failed 0\n");
    assert_eq!(server.asked().len(), before, "a dry run sends nothing");
    server.run([&ingest[..], &["--user".into(), "u-1".into()]].concat()).fails(2);
}

#[test]
fn a_file_that_the_server_refuses_does_not_stop_the_others() {
    let files = crate::support::Installation::new();
    files.write("in/a.wav", &wav(1), 1_000);
    files.write("in/b.wav", &wav(2), 2_000);
    let server = Stub::new(|asked, _| {
        if asked.line.ends_with("/1000") {
            problem(413, "too_large", "at most 3 bytes")
        } else {
            json(201, "{}")
        }
    });
    let ran = server.run(args([&"ingest", &files.file("in"), &"-c", &"c-1"])).fails(1);
    assert_eq!(ran.text(), "stored 1, already there 0, skipped 0, failed 1\n");
    assert!(ran.err.contains("a.wav") && ran.err.contains("at most 3 bytes"), "{}", ran.err);

    let stranger = Stub::new(|_, _| problem(403, "denied", "you are not a member"));
    let ran = stranger.run(args([&"ingest", &files.file("in"), &"-c", &"c-1"])).fails(1);
    assert!(ran.err.contains("you are not a member") && ran.err.contains("conversation add"), "{}", ran.err);
}

#[test]
fn a_busy_server_is_asked_again() {
    let files = crate::support::Installation::new();
    let path = files.write("a.wav", &wav(1), 1_000);
    let server = Stub::new(|_, before| match before {
        0 => (503, vec![("retry-after", "0".to_owned())], Vec::new()),
        1 => (429, vec![("retry-after", "0".to_owned())], Vec::new()),
        _ => json(201, "{}"),
    });
    server.run(args([&"ingest", &path, &"-c", &"c-1"])).ok();
    assert_eq!(server.lines(), ["PUT /publish/conversation/c-1/start/1000"; 3]);
    let away = Stub::new(|_, _| (503, vec![("retry-after", "0".to_owned())], Vec::new()));
    let ran = away.run(["--json", "scan", "c-1"]).fails(1);
    assert_eq!(ran.json_err()[0]["code"], "unavailable");
    assert_eq!(away.asked().len(), 5);
}

#[test]
fn scan_pages() {
    let server = Stub::new(|asked, _| {
        if asked.line.contains("from=0") {
            json(200, r#"{"previous":0,"starts":[1,2],"next":7}"#)
        } else if asked.line.contains("from=3") {
            json(200, r#"{"previous":2,"starts":[7],"next":0}"#)
        } else {
            json(200, r#"{"previous":7,"starts":[],"next":0}"#)
        }
    });
    assert_eq!(server.run(["scan", "c-1"]).ok().text(), "1\n2\n7\n");
    assert_eq!(server.lines()[0], "GET /store/bite/c-1/scan?from=0&to=18446744073709551615&limit=1000");
    assert_eq!(server.lines().len(), 3);
    assert_eq!(
        server.run(["scan", "c-1", "--limit", "2", "--label", "user", "--json"]).ok().json()[1]["start"],
        2
    );
    assert_eq!(server.lines()[3], "GET /store/user/c-1/scan?from=0&to=18446744073709551615&limit=2");
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn get_streams_the_bytes() {
    let server = Stub::new(|asked, _| {
        if asked.line == "GET /store/bite/c-1/start/7" {
            (200, vec![("content-type", "audio/wav".to_owned())], wav(7))
        } else {
            problem(404, "not_found", "no such bite")
        }
    });
    assert_eq!(server.run(["get", "c-1", "7"]).ok().out, wav(7));
    let missing = server.run(["--json", "get", "c-1", "8"]).fails(1);
    assert!(missing.out.is_empty());
    assert_eq!(missing.json_err()[0]["code"], "not_found");
    assert_eq!(missing.json_err()[0]["message"], "no such bite");
}

#[test]
fn transcripts() {
    let server = Stub::new(|asked, _| match asked.line.rsplit('/').next().unwrap() {
        "1" => json(200, r#"{"text":"send help","words":[],"language":"en","model":"m"}"#),
        "2" => (202, Vec::new(), Vec::new()),
        "3" => problem(404, "not_found", "none"),
        scan if scan.starts_with("scan?from=0") => json(200, r#"{"previous":0,"starts":[1,2,3],"next":0}"#),
        _ => json(200, r#"{"previous":3,"starts":[],"next":0}"#),
    });
    assert_eq!(server.run(["transcript", "c-1", "1"]).ok().text(), "send help\n");
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "GET /transcription/conversation/c-1/start/1");
    assert_eq!(asked.headers["accept"], "application/json");
    assert!(server.run(["transcript", "c-1", "2"]).fails(1).err.contains("not transcribed yet"));
    server.run(["transcript", "c-1", "3"]).fails(1);
    let all = server.run(["transcript", "c-1"]).ok();
    assert!(all.lines().len() == 1 && all.text().ends_with("  send help\n"));
    assert!(all.err.contains("1 not transcribed yet"));
}

#[test]
fn search_pages_and_marks() {
    let server = Stub::new(|asked, _| {
        if asked.line.contains("cursor=9") {
            json(
                200,
                r#"{"hits":[{"conversation":"c-1","start":1,"user":"u-1","highlighted":"no <mark>help</mark>"}],"next":null}"#,
            )
        } else {
            let hit =
                r#"{"conversation":"c-1","start":2,"user":"u-1","highlighted":"send <mark>help</mark> now"}"#;
            json(200, &format!(r#"{{"hits":[{hit}],"next":"9"}}"#))
        }
    });
    let found = server.run(["search", "a b&c", "help", "-c", "c-1", "--json"]).ok().json();
    assert_eq!(
        (found.len(), &found[0]["snippet"], &found[0]["highlights"][0]),
        (2, &"send help now".into(), &"help".into())
    );
    assert_eq!(server.lines()[0], "GET /transcription/search?q=a+b%26c+help&limit=20&conversation=c-1");
}

#[test]
fn users_and_conversations() {
    let server = Stub::new(|asked, _| match asked.line.as_str() {
        "POST /core/user" => json(200, r#"{"id":"u-7","first_name":"Eve"}"#),
        "GET /core/user/id/u-7" => json(200, r#"{"id":"u-7","first_name":"Eve"}"#),
        "POST /core/user/conversation" => {
            json(200, r#"{"id":"c-7","title":"Duo","picture":"","pinned":false}"#)
        }
        "GET /core/user/conversation" => json(200, r#"[{"id":"c-7","title":"Duo"}]"#),
        "POST /core/user/conversation/c-7/member" => (200, Vec::new(), b"c-7".to_vec()),
        "GET /core/user/conversation/c-7/member" => {
            json(200, r#"[{"id":"u-7","first_name":"Eve","last_name":""}]"#)
        }
        "DELETE /core/user/conversation/c-7/member/u-7" => (204, Vec::new(), Vec::new()),
        _ => problem(404, "not_found", "no such thing"),
    });
    let eve = server.run(["user", "create", "--phone", "+65 0000 0007", "--first", "Eve"]).ok().alone();
    assert_eq!(eve, "u-7");
    let body: serde_json::Value = serde_json::from_slice(&server.asked()[0].body).unwrap();
    assert_eq!((&body["phone_number"], &body["first_name"]), (&"+6500000007".into(), &"Eve".into()));
    assert!(server.run(["user", "show", "u-7"]).ok().text().contains("Eve"));
    let made = server.run(["conversation", "create", "--title", "Duo", "--member", "u-7"]).ok().alone();
    assert_eq!(made, "c-7");
    server.run(["conversation", "add", "c-7", "u-7"]).ok();
    server.run(["conversation", "add", "c-7", "u-7", "--role", "admin"]).ok();
    let body: serde_json::Value = serde_json::from_slice(&server.asked().pop().unwrap().body).unwrap();
    assert_eq!(body, serde_json::json!({ "id": "u-7", "role": "admin" }));
    server.run(["conversation", "remove", "c-7", "u-7"]).ok();
    assert_eq!(server.run(["conversation", "list"]).ok().text(), "c-7  Duo\n");
    assert_eq!(server.run(["conversation", "members", "c-7"]).ok().text(), "u-7    Eve\n");
    assert!(server.run(["user", "show", "u-8"]).fails(1).err.contains("no such thing"));
    for args in [
        &["user", "list"][..],
        &["verify"],
        &["transcribe"],
        &["speech", "list"],
        &["conversation", "list", "--user", "u-7"],
        &["conversation", "create", "--title", "x", "--owner", "u-7"],
    ] {
        server.run(args).fails(2);
    }
}

#[test]
fn what_goes_wrong_is_said() {
    let server = Stub::new(|_, _| (401, vec![("www-authenticate", "Bearer".to_owned())], Vec::new()));
    let ran = server.run(["scan", "c-1"]).fails(1);
    assert!(ran.err.contains("401") && ran.err.contains("beep-cli token"), "{}", ran.err);
    let page = Stub::new(|_, _| (200, Vec::new(), b"<html>".to_vec()));
    assert!(page.run(["scan", "c-1"]).fails(1).err.contains("is there a Beep server"));
    // A token is not carried on to where a server points.
    let elsewhere = Stub::new(|_, _| json(200, r#"{"starts":[]}"#));
    let target = format!("{}/x", elsewhere.url);
    let moved = Stub::new(move |_, _| (302, vec![("location", target.clone())], Vec::new()));
    moved.run(["scan", "c-1"]).fails(1);
    assert!(elsewhere.asked().is_empty());
    let mut gone = beep_cli();
    gone.args([
        "--server",
        "http://127.0.0.1:1",
        "--token",
        "secret-token",
        "user",
        "create",
        "--phone",
        "+6500000001",
        "--first",
        "A",
    ]);
    let ran = finish(gone).fails(1);
    assert!(ran.err.contains("http://127.0.0.1:1") && ran.err.contains("caused by"), "{}", ran.err);
    assert!(!ran.err.contains("secret-token"));
}
