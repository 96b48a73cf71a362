//! Ingest beside bare hyper and bare LMDB: durable bites per second, CPU per bite, and nothing lost under overload.
//!
//! Every bite is on disk before its 201. Beep and the bare engines take turns in one run; medians are compared.
#![allow(clippy::unwrap_used)] // whatever fails here fails the run

mod support;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use support::figures::{Figures, Series, median};
use support::lmdb::{Puts, fdatasyncs, puts};
use support::load::{self, Load, Outcome};
use support::process::{costing, peak_anon_kib, raise_file_limit};
use support::raw::Raw;
use support::running::installation::{Installation, Person};
use support::running::server::Server;
use support::running::setting;
use support::{numbered_wav, renumber, rounds, turn};

const SMALL: usize = 4 << 10;
const LARGE: usize = 32 << 10;
const SPEAKERS: usize = 16;

fn main() -> ExitCode {
    if support::raw::served() {
        return ExitCode::SUCCESS;
    }
    raise_file_limit();
    let scratch = tempfile::tempdir().unwrap();
    let installation = Installation::create(&scratch.path().join("data"), SPEAKERS);
    let bench = Bench {
        server: Server::start(installation.dir(), &[]),
        raw: Raw::start(),
        installation,
        scratch: scratch.path(),
        next: Cell::new(1),
    };
    let mut figures = Figures::default();
    println!("fdatasync/s at the beginning: {:.0}", fdatasyncs(scratch.path(), turn()));
    // Not counted: caches fill, files grow, tokens are seen for the first time.
    bench.beep(SMALL, 16);
    bench.hyper(SMALL, 16);

    bench.many_connections(&mut figures);
    bench.one_connection(&mut figures);
    bench.sixteen_connections(&mut figures, SMALL, "4k");
    bench.sixteen_connections(&mut figures, LARGE, "32k");
    println!("fdatasync/s at the end: {:.0}", fdatasyncs(scratch.path(), turn()));
    bench.overload(&mut figures);
    figures.finish()
}

struct Bench<'a> {
    installation: Installation,
    server: Server,
    raw: Raw,
    scratch: &'a Path,
    /// The start of the next bite: each is new.
    next: Cell<u64>,
}

impl Bench<'_> {
    fn many_connections(&self, figures: &mut Figures) {
        let (mut beep, mut hyper, mut lmdb) = (Series::default(), Series::default(), Vec::new());
        for _ in 0..rounds() {
            let (outcome, cpu) = self.beep(SMALL, 64);
            beep.add(&outcome, cpu);
            let (outcome, cpu) = self.hyper(SMALL, 64);
            hyper.add(&outcome, cpu);
            lmdb.push(self.lmdb(SMALL, 64, true).per_s);
        }
        let slower = hyper.rate().min(median(&lmdb));
        let detail = format!(
            "beep={:.0}/s hyper={:.0}/s lmdb64={:.0}/s beep_p99_us={:.0}",
            beep.rate(),
            hyper.rate(),
            median(&lmdb),
            beep.p99_us()
        );
        figures.at_least("ingest-4k-64conn", beep.rate() / slower, 0.5, &detail);
    }

    fn one_connection(&self, figures: &mut Figures) {
        let (mut beep, mut lmdb) = (Series::default(), Vec::new());
        for _ in 0..rounds() {
            let (outcome, cpu) = self.beep(SMALL, 1);
            beep.add(&outcome, cpu);
            lmdb.push(self.lmdb(SMALL, 1, true).per_s);
        }
        let detail = format!("beep={:.0}/s lmdb1={:.0}/s", beep.rate(), median(&lmdb));
        figures.at_least("ingest-4k-1conn", beep.rate() / median(&lmdb), 0.7, &detail);
    }

    fn sixteen_connections(&self, figures: &mut Figures, size: usize, name: &str) {
        let (mut beep, mut hyper) = (Series::default(), Series::default());
        let (mut batches, mut nosync) = (Vec::new(), Vec::new());
        for _ in 0..rounds() {
            let (outcome, cpu) = self.beep(size, 16);
            beep.add(&outcome, cpu);
            let (outcome, cpu) = self.hyper(size, 16);
            hyper.add(&outcome, cpu);
            nosync.push(self.lmdb(size, 1, false).cpu_us);
            if size == LARGE {
                batches.push(self.lmdb(size, 64, true).per_s);
            }
        }
        let bare = hyper.cpu_us() + median(&nosync);
        let detail = format!(
            "beep={:.1}us hyper={:.1}us lmdb_nosync={:.1}us rate={:.0}/s",
            beep.cpu_us(),
            hyper.cpu_us(),
            median(&nosync),
            beep.rate()
        );
        figures.at_most(&format!("ingest-{name}-cpu"), beep.cpu_us() / bare, 3.0, &detail);
        if size == LARGE {
            let detail = format!("beep={:.0}/s lmdb64={:.0}/s", beep.rate(), median(&batches));
            figures.at_least("ingest-32k-16conn", beep.rate() / median(&batches), 0.3, &detail);
        }
    }

    /// More than it can take: each request is stored or told to come back, and what was taken can all be read.
    fn overload(&self, figures: &mut Figures) {
        let seconds = setting("BEEP_FIGURES_OVERLOAD_S", 12);
        let mut accepted = Vec::new();
        let mut refused = 0u64;
        let load = Load::new(self.server.address, 256, Duration::from_secs(seconds));
        let first = self.next.get();
        let (outcome, peak) = peak_anon_kib(self.server.pid(), || {
            load::run(load, first, self.requests(SMALL), |n, status, _| {
                match status {
                    201 => accepted.push(n),
                    429 | 503 => refused += 1,
                    _ => return false,
                }
                true
            })
        });
        self.next.set(first + outcome.good + outcome.wrong + outcome.broken);
        let load = Load {
            most: accepted.len() as u64,
            ..Load::new(self.server.address, 16, Duration::from_secs(600))
        };
        let mut wanted = numbered_wav(0, SMALL);
        let read = load::run(
            load,
            0,
            |i, request| {
                let person = &self.installation.people[0];
                let (room, start) = (&self.installation.conversation, accepted[i as usize]);
                *request = format!(
                    "GET /bite/conversation/{room}/start/{start} HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {}\r\n\r\n",
                    person.token
                )
                .into_bytes();
            },
            |i, status, body| {
                renumber(&mut wanted, accepted[i as usize]);
                status == 200 && body == wanted
            },
        );
        let lost = accepted.len() as u64 - read.good;
        let detail = format!(
            "accepted={} refused={refused} rate={:.0}/s seconds={seconds}",
            accepted.len(),
            accepted.len() as f64 / outcome.seconds
        );
        figures.at_most("overload-lost", lost as f64, 0.0, &detail);
        let other = (outcome.wrong + outcome.broken) as f64;
        figures.at_most("overload-unclear-answers", other, 0.0, &format!("statuses={:?}", outcome.statuses));
        println!("overload: private memory of the server at most {:.1} MiB", peak as f64 / 1024.0);
    }

    fn beep(&self, size: usize, connections: usize) -> (Outcome, Duration) {
        self.puts(self.server.address, self.server.pid(), size, connections, 201)
    }

    fn hyper(&self, size: usize, connections: usize) -> (Outcome, Duration) {
        self.puts(self.raw.address, self.raw.pid(), size, connections, 200)
    }

    fn puts(
        &self,
        to: SocketAddr,
        pid: u32,
        size: usize,
        connections: usize,
        answer: u16,
    ) -> (Outcome, Duration) {
        let (load, first) = (Load::new(to, connections, turn()), self.next.get());
        let (outcome, cpu) =
            costing(pid, || load::run(load, first, self.requests(size), |_, status, _| status == answer));
        self.next.set(first + outcome.good + outcome.wrong + outcome.broken);
        (outcome, cpu)
    }

    /// The n-th PUT: a bite of this size at start n.
    fn requests(&self, size: usize) -> impl Fn(u64, &mut Vec<u8>) {
        let body = numbered_wav(0, size);
        let room = &self.installation.conversation;
        let heads: Vec<String> = self.installation.people.iter().map(|p: &Person| {
            format!(
                " HTTP/1.1\r\nhost: beep\r\nauthorization: Bearer {}\r\ncontent-type: audio/wav\r\ncontent-length: {size}\r\n\r\n",
                p.token
            )
        }).collect();
        move |n, request| {
            use std::io::Write as _;
            let head = &heads[n as usize % heads.len()];
            write!(request, "PUT /publish/conversation/{room}/start/{n}{head}").unwrap();
            let at = request.len();
            request.extend_from_slice(&body);
            renumber(&mut request[at..], n);
        }
    }

    fn lmdb(&self, size: usize, batch: u64, sync: bool) -> Puts {
        puts(self.scratch, size, batch, sync, turn())
    }
}
