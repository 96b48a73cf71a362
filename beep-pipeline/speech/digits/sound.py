"""Sound to features: Kaldi MFCCs, and the rooms, microphones and noise that training hears speech through."""
import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

from .voices import RATE

COEFFICIENTS = 40


def mfcc(x):
    """x in [-1, 1] -> frames x 40. Must say the same as model-digits/conf/mfcc.conf."""
    import kaldi_native_fbank as knf
    o = knf.MfccOptions()
    o.frame_opts.samp_freq = RATE
    o.frame_opts.dither = 0.0
    o.frame_opts.snip_edges = True
    o.mel_opts.num_bins = 40
    o.mel_opts.low_freq = 20
    o.mel_opts.high_freq = 7600
    o.num_ceps = COEFFICIENTS
    o.use_energy = False
    m = knf.OnlineMfcc(o)
    m.accept_waveform(RATE, (np.clip(x, -1, 1) * 32767).round().tolist())
    m.input_finished()
    return np.array([m.get_frame(i) for i in range(m.num_frames_ready)], dtype=np.float32)


def noise(rng, n, colour):
    """n samples of noise of power 1: colour 0 is white, 1 pink, 2 brown."""
    f = np.fft.rfft(rng.standard_normal(n))
    x = np.fft.irfft(f * np.arange(1, len(f) + 1) ** (-colour / 2), n)
    return (x / (x.std() + 1e-9)).astype(np.float32)


def between_silence(x, lead, tail):
    """x at peak 1 with so many seconds of silence around -> (samples, start, end)"""
    x = x / (np.abs(x).max() + 1e-6)
    a, b = int(lead * RATE), int(tail * RATE)
    y = np.concatenate([np.zeros(a, np.float32), x, np.zeros(b, np.float32)])
    return y, a, a + len(x)


def as_measured(pcm, rng):
    """How the measuring sets sound: clean, half level, some silence around."""
    y, _, _ = between_silence(pcm.astype(np.float32) / 32768, rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.7))
    return y * 0.5


def augmented(pcm, rng):
    """One way of hearing an utterance -> (samples, start, end)"""
    x = pcm.astype(np.float32) / 32768
    if rng.random() < 0.6:  # speed and formants together
        n = int(len(x) / rng.uniform(0.85, 1.18))
        x = np.interp(np.linspace(0, len(x) - 1, n), np.arange(len(x)), x).astype(np.float32)
    y, s, e = between_silence(x, rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.7))
    hard = rng.random() < 0.65  # the rest stays close to clean
    if hard and rng.random() < 0.45:  # a room
        t60 = rng.uniform(0.05, 0.4)
        n = int(t60 * RATE)
        h = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n) * rng.uniform(0.02, 0.15)
        h[0] = 1
        y = fftconvolve(y, h)[: len(y)].astype(np.float32)
    if hard and rng.random() < 0.5:  # a microphone
        if rng.random() < 0.5:
            sos = butter(1, rng.uniform(100, 1200), "hp" if rng.random() < 0.5 else "lp", fs=RATE, output="sos")
        else:
            sos = butter(2, [rng.uniform(60, 300), rng.uniform(3000, 7500)], "bp", fs=RATE, output="sos")
        y = sosfilt(sos, y).astype(np.float32)
    if hard and rng.random() < 0.35:  # a telephone
        y = sosfilt(butter(8, rng.uniform(3400, 3900), "lp", fs=RATE, output="sos"), y).astype(np.float32)
    y = y / (np.abs(y).max() + 1e-6)
    if rng.random() < (0.85 if hard else 0.5):  # noise; the rest keeps digital silence
        snr = rng.uniform(8, 45) if hard else rng.uniform(30, 60)
        rms = np.sqrt((y[s:e] ** 2).mean())
        y = y + noise(rng, len(y), rng.uniform(0, 2)) * rms * 10 ** (-snr / 20)
    y = y / (np.abs(y).max() + 1e-6) * 10 ** (rng.uniform(-28, -0.5) / 20)
    return y.astype(np.float32), s, e


def features(job):
    """(kind, words, samples, seed) -> (kind, words, mfcc, first frame of speech, last)"""
    kind, words, pcm, seed = job
    y, s, e = augmented(pcm, np.random.default_rng(seed))
    return kind, words, mfcc(y), s / 160, e / 160


def silences(count):
    """Nothing but noise or digital zero, so that the model learns that silence is not a word."""
    rng = np.random.default_rng(99)
    out = []
    for i in range(count):
        n = int(rng.uniform(0.5, 2.5) * RATE)
        y = noise(rng, n, rng.uniform(0, 2)) * 10 ** (rng.uniform(-75, -25) / 20)
        out.append(("sil", [], mfcc(y if i % 10 else np.zeros(n, np.float32)), 0, 0))
    return out
