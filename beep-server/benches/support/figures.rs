//! Figures: medians, and one line per goal that says whether it was reached.

use super::load::Outcome;
use std::process::ExitCode;
use std::time::Duration;

/// The goals of a run.
#[derive(Default)]
pub struct Figures {
    missed: Vec<String>,
}

impl Figures {
    pub fn at_least(&mut self, goal: &str, value: f64, limit: f64, detail: &str) {
        self.line(goal, value, limit, "at-least", value >= limit, detail);
    }

    pub fn at_most(&mut self, goal: &str, value: f64, limit: f64, detail: &str) {
        self.line(goal, value, limit, "at-most", value <= limit, detail);
    }

    fn line(&mut self, goal: &str, value: f64, limit: f64, which: &str, reached: bool, detail: &str) {
        let verdict = if reached { "reached" } else { "MISSED" };
        println!("goal={goal} value={value:.3} limit={limit} limit_is={which} {verdict} {detail}");
        if !reached {
            self.missed.push(goal.to_owned());
        }
    }

    /// Fails when a goal was missed, unless `BEEP_FIGURES=report`.
    pub fn finish(self) -> ExitCode {
        if self.missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("missed: {}", self.missed.join(" "));
        let report_only = std::env::var("BEEP_FIGURES").is_ok_and(|mode| mode == "report");
        if report_only { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Linear between neighbours, so that the median of an even number is the middle of both.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * q;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// One engine under one load, turn by turn.
#[derive(Default)]
pub struct Series {
    rate: Vec<f64>,
    cpu_us: Vec<f64>,
    p99_us: Vec<f64>,
}

impl Series {
    /// Adds a turn. One in which anything was not answered as expected measures something else.
    pub fn add(&mut self, outcome: &Outcome, cpu: Duration) {
        assert_eq!((outcome.wrong, outcome.broken), (0, 0), "answers: {:?}", outcome.statuses);
        self.rate.push(outcome.good as f64 / outcome.seconds);
        self.cpu_us.push(cpu.as_secs_f64() * 1e6 / outcome.good.max(1) as f64);
        self.p99_us.push(quantile(&outcome.latencies_us, 0.99));
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        median(&self.rate)
    }

    /// CPU of the server per answer.
    pub fn cpu_us(&self) -> f64 {
        median(&self.cpu_us)
    }

    pub fn p99_us(&self) -> f64 {
        median(&self.p99_us)
    }
}
