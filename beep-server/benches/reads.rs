//! Reads beside bare hyper and nginx: a bite with token and membership checked, a scan, `/auth` for a gateway.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use beep_core::auth::{Scope, TokenIssuer};
use beep_core::id::ConversationId;
use bytes::Bytes;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde_json::Value;
use std::hint::black_box;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use support::figures::{Figures, Series, median};
use support::load::{self, Load, Outcome};
use support::nginx::Nginx;
use support::process::costing;
use support::raw::{PAGE, Raw};
use support::running::installation::Installation;
use support::running::server::Server;
use support::running::setting;
use support::{numbered_wav, rounds, turn};

const CONNECTIONS: usize = 16;
const BITES: u64 = 10_000;
/// Tokens that no server has seen, per round.
const TOKENS: usize = 4_000;
/// Bites of the small conversation; the large one is set by `BEEP_FIGURES_BITES`.
const FEW: u64 = 1_000;

fn main() -> ExitCode {
    if support::raw::served() {
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    let installation = Installation::create(dir.path(), 16);
    installation.fill(&installation.conversation, 1, 1, BITES, |n| Bytes::from(numbered_wav(n, PAGE)));
    let mut figures = Figures::default();
    let raw = Raw::start();
    steady(&installation, &raw, &mut figures);
    first_seen_tokens(&installation, &raw, &mut figures);
    scan_independence(&installation, &mut figures);
    figures.finish()
}

/// Everything that one server answers with warm caches, in turns with the bare engines.
fn steady(installation: &Installation, raw: &Raw, figures: &mut Figures) {
    let server = Server::start(installation.dir(), &[]);
    let nginx = Nginx::start();
    if nginx.is_none() {
        println!("SKIPPED, NOT MEASURED: nginx is not installed (apt-get install nginx-light)");
    }
    let room = &installation.conversation;
    let heads = heads(installation);
    let head = |n: u64| &heads[n as usize % heads.len()];
    // Spread over the store, so that no cache line of one bite flatters it.
    let bite = |n: u64, request: &mut Vec<u8>| {
        let start = 1 + n.wrapping_mul(7_919) % BITES;
        write!(request, "GET /bite/conversation/{room}/start/{start}{}", head(n)).unwrap();
    };
    let scan = |n: u64, request: &mut Vec<u8>| {
        let from = 1 + n.wrapping_mul(7_919) % (BITES - 100);
        write!(request, "GET /bite/conversation/{room}/scan?from={from}&to={}{}", from + 99, head(n))
            .unwrap();
    };
    let auth = |n: u64, request: &mut Vec<u8>| write!(request, "GET /auth{}", head(n)).unwrap();
    let page = |_: u64, status: u16, body: &[u8]| status == 200 && body.len() == PAGE;
    let starts = |_: u64, status: u16, body: &[u8]| {
        status == 200 && body.iter().filter(|b| **b == b',').count() == 101
    };
    let ok = |_: u64, status: u16, _: &[u8]| status == 200;
    let beep = (server.address, server.pid());
    let hyper = (raw.address, raw.pid());

    let [mut of_hyper, mut of_nginx, mut bites, mut scans, mut auths]: [Series; 5] = Default::default();
    for round in 0..=rounds() {
        let turns: [(&mut Series, (Outcome, Duration)); 4] = [
            (&mut of_hyper, measure(hyper, bite, page)),
            (&mut bites, measure(beep, bite, page)),
            (&mut scans, measure(beep, scan, starts)),
            (&mut auths, measure(beep, auth, ok)),
        ];
        let others = nginx.as_ref().map(|nginx| measure((nginx.address, nginx.pid()), bite, page));
        // The first one warms up.
        if round > 0 {
            turns.into_iter().for_each(|(series, (outcome, cpu))| series.add(&outcome, cpu));
            others.into_iter().for_each(|(outcome, cpu)| of_nginx.add(&outcome, cpu));
        }
    }
    let against = |series: &Series| {
        format!(
            "beep={:.0}/s {:.1}us p99={:.0}us hyper={:.0}/s {:.1}us p99={:.0}us",
            series.rate(),
            series.cpu_us(),
            series.p99_us(),
            of_hyper.rate(),
            of_hyper.cpu_us(),
            of_hyper.p99_us()
        )
    };
    figures.at_least("get-vs-hyper", bites.rate() / of_hyper.rate(), 0.6, &against(&bites));
    if nginx.is_some() {
        let detail = format!("nginx={:.0}/s {:.1}us", of_nginx.rate(), of_nginx.cpu_us());
        figures.at_least("get-vs-nginx", bites.rate() / of_nginx.rate(), 1.0, &detail);
    }
    figures.at_most("get-cpu", bites.cpu_us() / of_hyper.cpu_us(), 3.0, "");
    figures.at_most("get-p99", bites.p99_us() / of_hyper.p99_us(), 3.0, "");
    figures.at_least("scan100-vs-hyper", scans.rate() / of_hyper.rate(), 0.5, &against(&scans));
    figures.at_least("auth-seen-vs-hyper", auths.rate() / of_hyper.rate(), 0.7, &against(&auths));
    figures.at_most("auth-seen-cpu-us", auths.cpu_us(), 15.0, "");
}

/// `/auth` with tokens that need their signature checked. Each round is a new server, to which all are new.
fn first_seen_tokens(installation: &Installation, raw: &Raw, figures: &mut Figures) {
    let jwt = installation.jwt();
    let who = &installation.people[0].identity;
    let tokens: Vec<String> = (0..TOKENS).map(|_| jwt.issue(who, Scope::User).unwrap()).collect();
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwt.jwks()["keys"][0].clone()).unwrap()).unwrap();
    let mut rules = Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&["beep"]);
    rules.set_issuer(&["beep"]);
    let make = |n: u64, request: &mut Vec<u8>| {
        let token = &tokens[n as usize];
        write!(request, "GET /auth HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\n\r\n").unwrap();
    };
    let load =
        |address| Load { most: TOKENS as u64, ..Load::new(address, CONNECTIONS, Duration::from_secs(60)) };
    let (mut beep, mut hyper, mut bare) = (Series::default(), Series::default(), Vec::new());
    for _ in 0..rounds() {
        let server = Server::start(installation.dir(), &[]);
        let (outcome, cpu) =
            costing(server.pid(), || load::run(load(server.address), 0, make, |_, status, _| status == 200));
        beep.add(&outcome, cpu);
        let (outcome, cpu) =
            costing(raw.pid(), || load::run(load(raw.address), 0, make, |_, status, _| status == 200));
        hyper.add(&outcome, cpu);
        let begun = support::process::thread_cpu();
        for token in &tokens {
            drop(black_box(decode::<Value>(token, &key, &rules).unwrap()));
        }
        bare.push((support::process::thread_cpu() - begun).as_secs_f64() * 1e6 / TOKENS as f64);
    }
    let limit = median(&bare) + hyper.cpu_us();
    let detail = format!(
        "beep={:.1}us verify={:.1}us hyper={:.1}us rate={:.0}/s",
        beep.cpu_us(),
        median(&bare),
        hyper.cpu_us(),
        beep.rate()
    );
    figures.at_most("auth-first-seen-cpu", beep.cpu_us() / limit, 1.3, &detail);
}

/// A page of 100 from a short and from a long conversation: what lies outside the page must not count.
fn scan_independence(installation: &Installation, figures: &mut Figures) {
    let many = setting("BEEP_FIGURES_BITES", 1_000_000);
    let rooms: [(ConversationId, u64); 2] =
        [("c-few".parse().unwrap(), FEW), ("c-many".parse().unwrap(), many)];
    let begun = Instant::now();
    for (room, count) in &rooms {
        installation.open_room(room, 16);
        installation.fill(room, 1, 1, *count, |n| Bytes::from(numbered_wav(n, 100)));
    }
    println!("filled with {many} bites in {:.1} s", begun.elapsed().as_secs_f64());
    let server = Server::start(installation.dir(), &[]);
    let heads = heads(installation);
    let mut series: [Series; 2] = Default::default();
    for round in 0..=rounds() {
        for ((room, count), series) in rooms.iter().zip(&mut series) {
            let make = |n: u64, request: &mut Vec<u8>| {
                let from = 1 + n.wrapping_mul(104_729) % (count - 100);
                let head = &heads[n as usize % heads.len()];
                write!(request, "GET /bite/conversation/{room}/scan?from={from}&to={}{head}", from + 99)
                    .unwrap();
            };
            let load = Load::new(server.address, 4, turn());
            let (outcome, cpu) =
                costing(server.pid(), || load::run(load, 0, make, |_, status, _| status == 200));
            if round > 0 {
                series.add(&outcome, cpu);
            }
        }
    }
    let [few, many] = &series;
    let detail = format!(
        "few: p99={:.0}us {:.1}us CPU, many: p99={:.0}us {:.1}us CPU",
        few.p99_us(),
        few.cpu_us(),
        many.p99_us(),
        many.cpu_us()
    );
    figures.at_most("scan-independence-p99", many.p99_us() / few.p99_us(), 1.5, &detail);
}

fn measure(
    (address, pid): (SocketAddr, u32),
    make: impl Fn(u64, &mut Vec<u8>),
    expected: impl FnMut(u64, u16, &[u8]) -> bool,
) -> (Outcome, Duration) {
    costing(pid, || load::run(Load::new(address, CONNECTIONS, turn()), 0, make, expected))
}

/// What follows the path in a GET, for each person.
fn heads(installation: &Installation) -> Vec<String> {
    let head = |token: &str| format!(" HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\n\r\n");
    installation.people.iter().map(|person| head(&person.token)).collect()
}
