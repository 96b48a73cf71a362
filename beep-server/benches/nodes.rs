//! What a second and a third server cost: CPU of all servers per bite, on Postgres, Redis and NATS of the bench's own.
//!
//! Each bite is put at one server and followed by all. One, two and three servers take turns in one run.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

#[allow(dead_code)] // the tests use the rest
#[path = "../tests/nodes/cluster.rs"]
mod cluster;
#[allow(dead_code)] // the tests use the rest
#[path = "../../beep-storage/tests/services/mod.rs"]
mod services;
#[path = "support/mod.rs"]
mod shared;

use cluster::Cluster;
use shared::figures::{Figures, median};
use shared::load::{self, Load};
use shared::process::cpu;
use shared::running as support;
use shared::running::installation::Person;
use shared::{numbered_wav, renumber, rounds, turn};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

const SIZE: usize = 4 << 10;
const NODES: usize = 3;
const CONNECTIONS: usize = 16;

fn main() -> ExitCode {
    let Some(mut cluster) = Cluster::start(NODES, CONNECTIONS, &[]) else { return ExitCode::SUCCESS };
    let mut next = 1;
    let mut turns: [Vec<(f64, f64)>; NODES] = Default::default();
    // The first round is not counted: caches fill, plans are made, tokens are seen for the first time.
    for round in 0..=rounds() {
        for nodes in (1..=NODES).rev() {
            if cluster.running().len() > nodes {
                cluster.kill(nodes);
            }
            let figures = measure(&cluster, &mut next);
            if round > 0 {
                turns[nodes - 1].push(figures);
            }
        }
        (1..NODES).for_each(|node| cluster.start_node(node));
    }
    let medians = turns.map(|turns| {
        let (cpu, rate): (Vec<f64>, Vec<f64>) = turns.into_iter().unzip();
        (median(&cpu), median(&rate))
    });
    let mut figures = Figures::default();
    for (nodes, (cpu, rate)) in medians.iter().enumerate().skip(1) {
        let detail = format!(
            "cpu_us={cpu:.1} one_node_cpu_us={:.1} rate={rate:.0}/s one_node_rate={:.0}/s",
            medians[0].0, medians[0].1
        );
        figures.at_most(&format!("cpu-per-bite-{}-nodes", nodes + 1), cpu / medians[0].0, 1.15, &detail);
    }
    figures.finish()
}

/// CPU in microseconds per bite of all servers together, and bites per second.
fn measure(cluster: &Cluster, next: &mut u64) -> (f64, f64) {
    let servers = cluster.running();
    let spent = || servers.iter().map(|server| cpu(server.pid())).sum::<Duration>();
    let before = spent();
    let (mut good, mut seconds) = (0, 0.0);
    for server in &servers {
        let time = turn() / servers.len() as u32;
        let load = Load::new(server.address, CONNECTIONS, time);
        let outcome = load::run(load, *next, requests(cluster), |_, status, _| status == 201);
        assert_eq!((outcome.wrong, outcome.broken), (0, 0), "{:?}", outcome.statuses);
        *next += outcome.good;
        good += outcome.good;
        seconds += outcome.seconds;
    }
    ((spent() - before).as_secs_f64() * 1e6 / good as f64, good as f64 / seconds)
}

/// The n-th PUT: a bite at start n.
fn requests(cluster: &Cluster) -> impl Fn(u64, &mut Vec<u8>) {
    let body = numbered_wav(0, SIZE);
    let room = &cluster.installation.conversation;
    let tokens: Vec<&str> =
        cluster.installation.people.iter().map(|person: &Person| person.token.as_str()).collect();
    move |n, request| {
        let token = tokens[n as usize % tokens.len()];
        write!(
            request,
            "PUT /publish/conversation/{room}/start/{n} HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {token}\r\n\
             content-type: audio/wav\r\ncontent-length: {SIZE}\r\n\r\n"
        )
        .unwrap();
        let at = request.len();
        request.extend_from_slice(&body);
        renumber(&mut request[at..], n);
    }
}
