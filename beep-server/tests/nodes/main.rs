//! Several servers as one, on real services: whoever speaks at any of them is heard at all, whatever dies meanwhile.
//!
//! Clients and listeners move between the servers all the time, and a client whose server fails goes to another with the
//! same bite. At the end nothing that was acknowledged is lost, doubled or out of order, for any listener.
//! `BEEP_OUTAGES` sets how often something dies (2; nightly 20).
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

#[allow(dead_code)] // the bench uses the rest
mod cluster;
mod listener;
#[allow(dead_code)] // the storage crate's tests use the rest
#[path = "../../../beep-storage/tests/services/mod.rs"]
mod services;
mod speaker;
#[path = "../support/mod.rs"]
mod support;

use beep_pipeline::samples::SAMPLES;
use cluster::Cluster;
use listener::Listener;
use speaker::{Load, Speaking};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use support::http::Client;
use support::{libvosk, required, setting, skipped};

const NODES: usize = 3;
const SPEAKERS: usize = 6;
const LISTENERS: usize = 4;
/// How long after everything is well again every listener must have everything.
const HEALED: Duration = Duration::from_secs(5);

/// They load both cores and measure times: one after the other.
static TURN: Mutex<()> = Mutex::new(());

/// What may fail while something is away.
#[derive(Clone, Copy, PartialEq)]
enum Refusals {
    /// Every bite is taken at some server.
    None,
    /// 503 until everything is back, and this much longer.
    Until(Duration),
}

/// Speaks and listens at all servers while `harm` does its worst, as often as asked, and then accounts for everything.
fn account(goal: &str, refusals: Refusals, harm: impl Fn(&mut Cluster)) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = setting("BEEP_OUTAGES", 2);
    let Some(mut cluster) = Cluster::start(NODES, SPEAKERS.max(LISTENERS), &[]) else { return };
    let load = Load::default();
    let mut late = Vec::new();
    let (people, room) = (cluster.installation.people.clone(), cluster.installation.conversation.clone());
    thread::scope(|scope| {
        let doors = cluster.doors();
        let speakers: Vec<_> = people[..SPEAKERS]
            .iter()
            .enumerate()
            .map(|(n, person)| {
                let (load, doors) = (&load, doors.clone());
                let room = room.clone();
                scope.spawn(move || {
                    Speaking { load, doors, room, person: person.clone(), seed: n as u64 }.go_on()
                })
            })
            .collect();
        let listeners: Vec<_> = (0..LISTENERS)
            .map(|n| Listener::begin(scope, doors.clone(), &people[n].token, n as u64))
            .collect();
        for _ in 0..rounds {
            thread::sleep(Duration::from_millis(500)); // the load that is to be disturbed
            let begun = Instant::now();
            harm(&mut cluster);
            let over = Instant::now();
            load.disturbed(begun, over);
            // Everything that was acknowledged until now has to come through.
            let known = load.acknowledged();
            let deadline = over + HEALED;
            for (n, listener) in listeners.iter().enumerate() {
                let missing = listener.wait_for(&known, deadline);
                if !missing.is_empty() {
                    late.push(format!("listener {n} misses {} of {} bites", missing.len(), known.len()));
                }
            }
        }
        load.end();
        speakers.into_iter().for_each(|speaker| speaker.join().unwrap());
        let known = load.acknowledged();
        let deadline = Instant::now() + HEALED;
        for (n, listener) in listeners.into_iter().enumerate() {
            let missing = listener.wait_for(&known, deadline);
            let heard = listener.end();
            if !missing.is_empty() {
                late.push(format!("at the end listener {n} misses {} of {}", missing.len(), known.len()));
            }
            assert!(
                heard.windows(2).all(|pair| pair[0].0 < pair[1].0),
                "listener {n} heard something twice or out of order"
            );
        }
    });
    let refused = match refusals {
        Refusals::None => load.refused(|_| true),
        Refusals::Until(grace) => load.refused(|at| !load.was_disturbed(at, grace)),
    };
    let acknowledged = load.acknowledged_digests();
    let (lost, doubled) = cluster.check(&acknowledged);
    let acknowledged = acknowledged.len();
    println!(
        "goal={goal} pass={} fail={} rounds={rounds} acknowledged={acknowledged} lost={lost} doubled={doubled} \
         refused={} late={} moved={}",
        rounds - (late.len() as u64).min(rounds),
        late.len() + lost + doubled + refused.len(),
        refused.len(),
        late.len(),
        load.moves(),
    );
    assert_eq!((lost, doubled), (0, 0));
    assert_eq!(late, [""; 0], "not everything came within {HEALED:?}");
    assert_eq!(refused, [""; 0], "refused without need");
    assert!(acknowledged as u64 > 20 * rounds, "hardly anything was acknowledged: the run proves nothing");
}

#[test]
fn rolling_restarts_lose_no_event() {
    account("rolling-restart", Refusals::None, |cluster| {
        for node in 0..NODES {
            cluster.restart_gracefully(node);
        }
    });
}

#[test]
fn a_node_killed_mid_ingest_loses_nothing() {
    account("node-kill", Refusals::None, |cluster| {
        let victim = cluster.next_victim();
        cluster.kill(victim);
        thread::sleep(Duration::from_millis(300)); // the others carry on without it
        cluster.start_node(victim);
    });
}

#[test]
fn nats_away_costs_no_bite_and_no_event() {
    account("R6", Refusals::None, |cluster| {
        cluster.nats.kill();
        thread::sleep(Duration::from_secs(1)); // the outage
        cluster.nats.wipe();
        cluster.nats.restart();
    });
}

#[test]
fn postgres_restarted_at_once_loses_nothing() {
    account("R7-postgres", Refusals::Until(HEALED), |cluster| cluster.postgres.restart());
}

#[test]
fn redis_killed_costs_no_bite_and_no_event() {
    account("R7-redis", Refusals::None, |cluster| cluster.restart_redis(Duration::from_secs(1)));
}

/// The permission that another node remembers ends when the directory rings, not at the next look.
#[test]
fn who_is_removed_at_one_node_is_out_at_all() {
    const OUT: Duration = Duration::from_millis(100);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(cluster) = Cluster::start(2, 2, &[]) else { return };
    let room = &cluster.installation.conversation;
    let [owner, member] = &cluster.installation.people[..] else { panic!("there are two") };
    let mut here = Client::connect(cluster.doors()[0].address()).unwrap();
    let mut there = Client::connect(cluster.doors()[1].address()).unwrap();
    let members = format!("/core/user/conversation/{room}/member");
    let mut until = |status: u16| {
        let begun = Instant::now();
        loop {
            let path = format!("/bite/conversation/{room}?limit=1");
            if there.get(&path, &member.token).unwrap().status == status {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < HEALED, "no {status} at the other node");
        }
    };
    let mut took = Vec::new();
    for _ in 0..20 {
        let body = format!(r#"{{"id":"{}"}}"#, member.identity.user);
        assert_eq!(here.send("POST", &members, &owner.token, body.as_bytes()).unwrap().status, 200);
        until(200);
        let path = format!("{members}/{}", member.identity.user);
        let removed = here.send("DELETE", &path, &owner.token, b"").unwrap();
        assert!(removed.status < 300, "{}", String::from_utf8_lossy(&removed.body));
        took.push(until(403));
    }
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "goal=removed-elsewhere value={:.1} limit={} unit=ms longest={:.1}",
        median.as_secs_f64() * 1e3,
        OUT.as_millis(),
        longest.as_secs_f64() * 1e3
    );
    assert!(median <= OUT, "{took:?}");
}

#[test]
fn each_bite_is_transcribed_once_whichever_node_does_it() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(library) = libvosk() else {
        assert!(!required("vosk"), "BEEP_REQUIRE asks for vosk, but there is no libvosk: set VOSK_LIB");
        skipped("transcription on several nodes: no libvosk; `beep-cli speech install`, VOSK_LIB");
        return;
    };
    let library = library.display().to_string();
    let settings = [("BEEP_TRANSCRIBE_ENABLED", "true"), ("BEEP_TRANSCRIBE_LIBRARY", library.as_str())];
    let Some(mut cluster) = Cluster::start(2, 1, &settings) else { return };
    let (room, token) =
        (cluster.installation.conversation.clone(), cluster.installation.people[0].token.clone());
    let mut said = Vec::new();
    for (n, sample) in SAMPLES.iter().cycle().take(SAMPLES.len() * 3).enumerate() {
        let mut client = Client::connect(cluster.doors()[n % 2].address()).unwrap();
        let path = format!("/publish/conversation/{room}/start/{}", n + 1);
        assert_eq!(client.send("PUT", &path, &token, sample.wav).unwrap().status, 201);
        said.push((n as u64 + 1, sample.text));
    }
    // One of the two dies with work in hand; the other has everything in the end.
    cluster.kill(0);
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut client = Client::connect(cluster.doors()[1].address()).unwrap();
    for (start, text) in &said {
        let path = format!("/transcription/conversation/{room}/start/{start}");
        loop {
            let answer = client.get(&path, &token).unwrap();
            match answer.status {
                200 => {
                    assert_eq!(String::from_utf8(answer.body).unwrap(), *text, "at {start}");
                    break;
                }
                202 if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
                status => panic!("no transcript at {start}: {status}"),
            }
        }
    }
    cluster.kill(1);
    let times = cluster.transcripts();
    assert!(said.iter().all(|(start, _)| times.get(start) == Some(&1)), "{times:?}");
    println!("goal=transcribed-once pass={} fail=0", said.len());
}
