//! `beep-cli`: Beep's command line. This file: parse, log, run until done or interrupted, exit code.

mod args;
mod cmd;
mod failure;
mod local;
mod output;
mod remote;
mod time;

use crate::cmd::Context;
use crate::failure::{Failure, Outcome, Result};
use crate::output::Output;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

/// What a shell expects of a program that ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let (cli, place) = match args::parse() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let global = cli.global;
    let out = Output::new(global.json, global.quiet, global.verbose);
    log(&out, global.quiet, global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return end(&out, Err(Failure::new("io", "cannot start").because(&e))),
    };
    let code = runtime.block_on(async {
        tokio::select! {
            ended = cmd::run(cli.command, Context { place, out: out.clone() }) => end(&out, ended),
            Ok(()) = tokio::signal::ctrl_c() => {
                out.progress("interrupted; what was reported as stored is stored");
                ExitCode::from(INTERRUPTED)
            }
        }
    });
    // A thread that waits for standard input must not keep the program from ending.
    runtime.shutdown_background();
    code
}

fn end(out: &Output, ended: Result<Outcome>) -> ExitCode {
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::FAILURE,
        Err(failure) => {
            if !failure.is_broken_pipe() {
                out.error(&failure);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The libraries' own words, on stderr.
fn log(out: &Output, quiet: bool, verbose: u8) {
    let level = match verbose {
        _ if quiet => LevelFilter::OFF,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(out.log_writer());
    if out.json() {
        log.json().init();
    } else {
        log.with_ansi(output::coloured(&std::io::stderr())).init();
    }
}
