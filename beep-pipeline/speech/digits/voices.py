"""Speech out of text: espeak-ng and flite voices, invented voices for training, held-out ones for measuring."""
import io
import random
import shutil
import subprocess
import tempfile
import wave
from concurrent.futures import ThreadPoolExecutor
from math import gcd
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from .lexicon import DIGITS, FILLER, WORDS

RATE = 16000
# "en" is British English; by its other name, en-gb, espeak ignores the variant without a word.
ACCENTS = ["en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"]
# Effects and whispers rather than people.
NOT_VOICES = {"whisper", "whisperf", "croak", "Demonic", "UniRobot", "anikaRobot", "robosoft", "robosoft2",
              "robosoft3", "robosoft4", "robosoft5", "robosoft6", "robosoft7", "robosoft8", "Tweaky", "fast",
              "klatt5", "klatt6"}
FLITE_PITCH = {"kal": 105, "kal16": 105, "awb": 125, "rms": 100, "slt": 170}
INVENTED = 220  # espeak reads at most 349 voices and then silently speaks with its own


def espeak_data():
    """The folder espeak-ng reads its voices from."""
    for base in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/share", "/usr/lib"):
        if (Path(base) / "espeak-ng-data/voices/!v").is_dir():
            return Path(base) / "espeak-ng-data"
    raise SystemExit("espeak-ng-data not found: apt-get install espeak-ng")


def variants():
    """(voices for training, voices held out): every sixth of espeak's own variants is never trained on."""
    names = sorted(f.name for f in (espeak_data() / "voices/!v").iterdir()
                   if f.name not in NOT_VOICES and " " not in f.name)
    held = names[3::6]
    return [n for n in names if n not in held], held


def invent(rng, name):
    """A speaker who does not exist: random formants, pitch, breath and room, in espeak's variant format."""
    u, r = rng.uniform, rng.randint
    base = r(65, 250)
    scale = min(1.5, max(0.8, rng.gauss(1.05, 0.15)))
    thin = rng.random() < 0.35  # a voice with its upper formants cut away
    out = ["language variant", f"name {name}", f"pitch {base} {base + r(5, 150)}"]
    for n in range(9):
        gain, width = r(60, 150), r(65, 165)
        if thin and n >= 3 and rng.random() < 0.5:
            gain, width = r(0, 40), r(10, 80)
        out.append(f"formant {n} {int(100 * scale * u(0.92, 1.08))} {gain} {width}")
    if rng.random() < 0.5:
        out.append(f"voicing {r(30, 190)}")
    if rng.random() < 0.5:
        out.append(f"consonants {r(50, 130)} {r(40, 130)}")
    if rng.random() < 0.3:
        out.append(f"roughness {r(0, 6)}")
    if rng.random() < 0.3:
        out.append(f"flutter {r(0, 12)}")
    if rng.random() < 0.25:
        out.append(f"echo {r(20, 220)} {rng.choice([10, 30, 60, 120, 400])}")
    if rng.random() < 0.35:
        out.append(f"tone {r(60, 600)} {r(140, 255)} {r(700, 1400)} {r(20, 255)} {r(2000, 3500)} {r(20, 160)}")
    if rng.random() < 0.3:
        out.append("stressAdd " + " ".join(str(r(-30, 200)) for _ in range(8)))
    if rng.random() < 0.3:
        out.append("stressAmp " + " ".join(str(r(12, 38)) for _ in range(8)))
    if rng.random() < 0.15:
        out.append(f"intonation {rng.choice([1, 2, 3, 4, 10])}")
    if rng.random() < 0.12:
        out.append(f"klatt {r(1, 4)}")
    return "\n".join(out) + "\n"


def espeak_home(work):
    """espeak's English data with the invented voices added, below the work folder."""
    home = Path(work) / "espeak"
    data = home / "espeak-ng-data"
    if not data.is_dir():
        shutil.copytree(espeak_data(), data)
        for other in [f for f in (data / "lang").rglob("*") if f.is_file() and not f.name.startswith("en")]:
            other.unlink()
        shutil.rmtree(data / "voices/mb", ignore_errors=True)
        rng = random.Random(4711)
        for i in range(INVENTED):
            (data / f"voices/!v/beep{i:03}").write_text(invent(rng, f"beep{i:03}"))
    for accent in ACCENTS:  # espeak speaks with its own voice where it does not know one: see that it knows the last
        plain, last = (speak(home, "espeak", accent + v, 150, 50, "hello") for v in ("", f"+beep{INVENTED - 1:03}"))
        if np.array_equal(plain, last):
            raise SystemExit(f"espeak-ng does not know the invented voices with {accent}")
    return home


def read_wav(data):
    """(samples in [-1, 1], rate). espeak's --stdout writes a bogus length, so the header's is not believed."""
    with wave.open(io.BytesIO(data)) as w:
        rate = w.getframerate()
    body = data[44:44 + (len(data) - 44) // 2 * 2]
    return np.frombuffer(body, dtype="<i2").astype(np.float32) / 32768, rate


def trimmed(x, pad=0.02):
    """Without the silence at both ends."""
    level = np.abs(x)
    loud = np.nonzero(level > 0.01 * level.max() + 1e-5)[0]
    if len(loud) == 0:
        return x
    p = int(pad * RATE)
    return x[max(0, loud[0] - p): loud[-1] + p]


def speak(home, engine, voice, speed, pitch, text):
    """One utterance as int16 at 16 kHz, or None where the voice has nothing to say. No home: espeak's own data."""
    if engine == "espeak":
        path = [f"--path={home}"] if home else []
        data = subprocess.run(["espeak-ng", *path, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text],
                              capture_output=True, check=True).stdout
    else:
        with tempfile.NamedTemporaryFile(suffix=".wav") as f:
            subprocess.run(["flite", "-voice", voice, "--setf", f"duration_stretch={speed}", "--setf",
                            f"int_f0_target_mean={pitch}", "-t", text, "-o", f.name], check=True,
                           capture_output=True)
            data = Path(f.name).read_bytes()
    if len(data) < 1000:
        return None
    x, rate = read_wav(data)
    if len(x) < rate // 20 or np.abs(x).max() < 1e-3:
        return None
    g = gcd(rate, RATE)
    x = trimmed(resample_poly(x, RATE // g, rate // g).astype(np.float32))
    return (np.clip(x, -1, 1) * 32767).astype(np.int16)


def speak_all(home, jobs, threads):
    """[(split, kind, words, how)] -> [(split, kind, words, samples)]"""
    with ThreadPoolExecutor(threads) as pool:
        sounds = list(pool.map(lambda j: speak(home, *j[3]), jobs))
    return [(*j[:3], s) for j, s in zip(jobs, sounds) if s is not None]


def training_voice(rng, voices, text):
    """A random voice that may be trained on, saying text."""
    r = rng.random()
    if r < 0.15:
        v = rng.choice(list(FLITE_PITCH))
        return "flite", v, round(rng.uniform(0.75, 1.7), 2), int(FLITE_PITCH[v] * rng.uniform(0.8, 1.3)), text
    name = rng.choice(voices) if r < 0.55 else f"beep{rng.randrange(INVENTED):03}"
    speed = rng.randint(80, 110) if rng.random() < 0.15 else rng.randint(110, 235)
    return "espeak", f"{rng.choice(ACCENTS)}+{name}", speed, rng.randint(15, 85), text


def phrase(rng, n, filler, digit):
    """n words, with the given shares of filler and of digits; repeats ("nine nine") on purpose."""
    out = []
    for _ in range(n):
        r = rng.random()
        if out and filler and rng.random() < 0.15:
            out.append(out[-1])
        elif r < filler:
            out.append(rng.choice(FILLER))
        elif r < filler + (1 - filler) * digit:
            out.append(rng.choice(DIGITS))
        else:
            out.append(rng.choice(WORDS[10:]))
    return out


def training_jobs(isolated, connected):
    """What is said for training: words alone (the flat start needs them), then digit strings and mixed phrases."""
    rng = random.Random(1)
    voices, _ = variants()
    jobs = []
    for w in WORDS * isolated + [rng.choice(FILLER) for _ in range(isolated * 5)]:
        jobs.append(("train", "iso", [w], training_voice(rng, voices, w)))
    for i in range(connected):
        if i % 2:
            words = phrase(rng, rng.randint(2, 7), 0.02, 1.0)
        else:
            words = phrase(rng, rng.choice([2, 2, 3, 3, 4, 5, 6]), 0.14, 0.5)
        text = rng.choice([" ", " ", " ", ", "]).join(words)
        jobs.append(("train", "conn", words, training_voice(rng, voices, text)))
    return jobs


def measuring_jobs(seed, count):
    """Unseen strings by the held-out voices: `count` of three to seven digits, half as many of commands."""
    rng = random.Random(seed)
    _, held = variants()

    def voice(text):
        return ("espeak", f"{rng.choice(ACCENTS)}+{rng.choice(held)}", rng.randint(110, 230), rng.randint(20, 80),
                text)

    jobs = []
    for _ in range(count):
        words = [rng.choice(DIGITS) for _ in range(rng.randint(3, 7))]
        jobs.append(("digits", "conn", words, voice(" ".join(words))))
    for _ in range(count // 2):
        words = phrase(rng, rng.randint(1, 4), 0, 0.2)
        jobs.append(("words", "conn", words, voice(" ".join(words))))
    return jobs
