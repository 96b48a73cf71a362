//! Mono samples of any rate, in pieces of any size, to 16 kHz 16-bit.
//!
//! A polyphase windowed-sinc filter instead of a crate: it is exact for every rate real devices use, streams (memory is
//! the output and one filter length), has no delay to cut off afterwards and cannot be made to plan a huge FFT by an odd
//! rate in a forged header.

use super::{AudioError, SAMPLE_RATE};

/// Rates a recording may have; outside of them a header is broken, not exotic.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;

/// Zero crossings of the sinc on each side; with `KAISER` this passes 6.8 kHz and stops 8 kHz by 80 dB.
const CROSSINGS: usize = 32;
const KAISER: f64 = 7.9;
/// Cut-off as a share of the lower rate: the middle of the transition band.
const CUTOFF: f64 = 0.4625;
/// Most coefficients a filter may have. Odd rates then use the nearest phase, some 65 dB below the signal.
const MAX_COEFFICIENTS: usize = 1 << 17;

/// Collects a recording as 16 kHz samples and refuses to grow beyond a limit.
pub(super) struct Sink {
    out: Vec<i16>,
    limit_ms: u64,
    filter: Option<Filter>,
}

impl Sink {
    pub(super) fn new(limit_ms: u64) -> Self {
        Self { out: Vec::new(), limit_ms, filter: None }
    }

    /// Adds mono samples (full scale ±1) of `rate`. The rate may change between calls.
    pub(super) fn push(&mut self, rate: u32, mono: &[f32]) -> Result<(), AudioError> {
        if !RATES.contains(&rate) {
            return Err(AudioError::Invalid(format!("{rate} samples per second")));
        }
        if self.filter.as_ref().is_some_and(|f| f.rate != rate) {
            self.flush();
        }
        let held = self.filter.as_ref().map_or(0, Filter::owed);
        let new = (mono.len() as u64 * u64::from(SAMPLE_RATE)).div_ceil(u64::from(rate));
        check_limit((self.out.len() as u64 + held + new) * 1000 / u64::from(SAMPLE_RATE), self.limit_ms)?;
        if rate == SAMPLE_RATE {
            self.out.extend(mono.iter().copied().map(to_i16));
        } else {
            self.filter.get_or_insert_with(|| Filter::new(rate)).push(mono, &mut self.out);
        }
        Ok(())
    }

    /// Adds samples that already are what the recogniser takes, bit for bit.
    pub(super) fn push_exact(
        &mut self,
        samples: impl ExactSizeIterator<Item = i16>,
    ) -> Result<(), AudioError> {
        self.flush();
        let total = (self.out.len() + samples.len()) as u64;
        check_limit(total * 1000 / u64::from(SAMPLE_RATE), self.limit_ms)?;
        self.out.extend(samples);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty() && self.filter.is_none()
    }

    pub(super) fn finish(mut self) -> Vec<i16> {
        self.flush();
        self.out
    }

    fn flush(&mut self) {
        if let Some(filter) = self.filter.take() {
            filter.finish(&mut self.out);
        }
    }
}

/// [`AudioError::TooLong`] when `ms` exceeds `limit_ms`.
pub(super) fn check_limit(ms: u64, limit_ms: u64) -> Result<(), AudioError> {
    if ms > limit_ms { Err(AudioError::TooLong { ms, limit_ms }) } else { Ok(()) }
}

/// One input rate to [`SAMPLE_RATE`]. Output `n` sits at input position `n · down / up`.
struct Filter {
    rate: u32,
    up: u64,
    down: u64,
    half: usize,
    phases: u64,
    /// `phases` rows of `2 · half` coefficients.
    table: Vec<f32>,
    /// Input not yet done with; `buffer[0]` is input sample `base - half`.
    buffer: Vec<f32>,
    base: u64,
    received: u64,
    sent: u64,
}

impl Filter {
    fn new(rate: u32) -> Self {
        let common = gcd(rate, SAMPLE_RATE);
        let (up, down) = (u64::from(SAMPLE_RATE / common), u64::from(rate / common));
        let scale = f64::from(SAMPLE_RATE.min(rate)) / f64::from(rate);
        // A multiple of four, so that a row is a multiple of the eight lanes `dot` works in.
        let half = ((CROSSINGS as f64 / scale).ceil() as usize).next_multiple_of(4);
        let phases = up.min((MAX_COEFFICIENTS / (2 * half)) as u64).max(1);
        let cutoff = 2.0 * CUTOFF * scale;
        let mut table = Vec::with_capacity(phases as usize * 2 * half);
        for phase in 0..phases {
            let start = table.len();
            for tap in 0..2 * half {
                // Input sample `tap` lies this far behind the output's position.
                let t = (tap as f64 - (half as f64 - 1.0)) - phase as f64 / phases as f64;
                table.push((sinc(cutoff * t) * kaiser(t / half as f64)) as f32);
            }
            // Every phase passes a constant unchanged; otherwise the phases beat against each other.
            let sum: f32 = table[start..].iter().sum();
            table[start..].iter_mut().for_each(|c| *c /= sum);
        }
        Self { rate, up, down, half, phases, table, buffer: vec![0.0; half], base: 0, received: 0, sent: 0 }
    }

    /// Outputs that the input so far is worth but that wait for input to come.
    fn owed(&self) -> u64 {
        (self.received * self.up).div_ceil(self.down) - self.sent
    }

    fn push(&mut self, input: &[f32], out: &mut Vec<i16>) {
        self.received += input.len() as u64;
        self.buffer.extend_from_slice(input);
        self.drain(out, u64::MAX);
    }

    fn finish(mut self, out: &mut Vec<i16>) {
        let total = self.sent + self.owed();
        self.buffer.extend(std::iter::repeat_n(0.0, self.half + 1));
        self.drain(out, total);
    }

    fn drain(&mut self, out: &mut Vec<i16>, total: u64) {
        while self.sent < total {
            let position = self.sent * self.down;
            let (mut whole, fraction) = (position / self.up, position % self.up);
            // The nearest phase; the exact one whenever there are as many phases as positions.
            let mut phase = (fraction * self.phases + self.up / 2) / self.up;
            if phase == self.phases {
                (whole, phase) = (whole + 1, 0);
            }
            // The window is input `whole - half + 1 ..= whole + half`.
            let start = (whole - self.base) as usize + 1;
            let Some(window) = self.buffer.get(start..start + 2 * self.half) else { break };
            let row = phase as usize * 2 * self.half;
            out.push(to_i16(dot(window, &self.table[row..row + 2 * self.half])));
            self.sent += 1;
        }
        let done = (self.sent * self.down / self.up - self.base) as usize;
        let done = done.min(self.buffer.len());
        self.buffer.drain(..done);
        self.base += done as u64;
    }
}

/// Eight independent sums, which the compiler can keep in one vector register. Written out, because unoptimised builds
/// run this loop too, and there an iterator costs ten times what it counts.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut s = [0f32; 8];
    for (x, y) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        s[0] += x[0] * y[0];
        s[1] += x[1] * y[1];
        s[2] += x[2] * y[2];
        s[3] += x[3] * y[3];
        s[4] += x[4] * y[4];
        s[5] += x[5] * y[5];
        s[6] += x[6] * y[6];
        s[7] += x[7] * y[7];
    }
    s.iter().sum()
}

fn to_i16(x: f32) -> i16 {
    // `as` saturates and turns a NaN into 0, which is what a forged float file deserves.
    (x * 32_768.0).round() as i16
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) }
}

/// Kaiser window over -1..1, 0 outside; its height does not matter, every row is scaled afterwards.
fn kaiser(x: f64) -> f64 {
    if x.abs() > 1.0 { 0.0 } else { bessel_i0(KAISER * (1.0 - x * x).sqrt()) }
}

fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-9 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: u32, input: &[f32], piece: usize) -> Vec<i16> {
        let mut sink = Sink::new(1_000_000);
        for part in input.chunks(piece) {
            sink.push(rate, part).unwrap();
        }
        sink.finish()
    }

    fn sine(rate: u32, hz: f64, seconds: f64) -> Vec<f32> {
        let n = (f64::from(rate) * seconds) as usize;
        (0..n)
            .map(|i| (0.5 * (std::f64::consts::TAU * hz * i as f64 / f64::from(rate)).sin()) as f32)
            .collect()
    }

    fn energy(x: impl Iterator<Item = f64>) -> f64 {
        x.map(|v| v * v).sum::<f64>().max(1e-9)
    }

    #[test]
    fn a_tone_keeps_its_shape_and_place() {
        for rate in
            [4_000, 8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000, 383_987]
        {
            let hz = 1_100.0;
            let out = run(rate, &sine(rate, hz, 0.5), 997);
            assert_eq!(out.len(), 8_000, "{rate}");
            let wanted = |i: usize| 16_384.0 * (std::f64::consts::TAU * hz * i as f64 / 16_000.0).sin();
            // Away from the ends, where the signal starts out of nothing.
            let inner = 400..7_600;
            let signal = energy(inner.clone().map(wanted));
            let error = energy(inner.map(|i| wanted(i) - f64::from(out[i])));
            let snr = 10.0 * (signal / error).log10();
            assert!(snr > 64.0, "{rate}: {snr} dB");
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_does_not_fold_back() {
        for (rate, hz) in [(48_000, 8_100.0), (48_000, 12_000.0), (44_100, 9_000.0), (96_000, 40_000.0)] {
            let out = run(rate, &sine(rate, hz, 0.5), 4_096);
            let rest = energy(out[400..7_600].iter().map(|s| f64::from(*s)));
            let suppressed = 10.0 * (16_384f64.powi(2) / 2.0 * 7_200.0 / rest).log10();
            assert!(suppressed > 66.0, "{rate} {hz}: {suppressed} dB");
        }
    }

    #[test]
    fn the_pieces_do_not_matter() {
        let input = sine(44_100, 700.0, 0.3);
        let whole = run(44_100, &input, usize::MAX);
        for piece in [1, 7, 441, 5_000] {
            assert_eq!(run(44_100, &input, piece), whole, "{piece}");
        }
    }

    #[test]
    fn sixteen_khz_passes_untouched() {
        let input: Vec<f32> = (-32_768..=32_767).map(|v| v as f32 / 32_768.0).collect();
        assert!(run(16_000, &input, 1_000).into_iter().eq((-32_768..=32_767i32).map(|v| v as i16)));
    }

    #[test]
    fn the_limit_holds_before_anything_is_stored() {
        let mut sink = Sink::new(1_000);
        sink.push(48_000, &vec![0.0; 48_000]).unwrap();
        assert_eq!(sink.push(48_000, &[0.0; 48]), Err(AudioError::TooLong { ms: 1_001, limit_ms: 1_000 }));
        assert!(matches!(sink.push(3_999, &[0.0]), Err(AudioError::Invalid(_))));
    }
}
