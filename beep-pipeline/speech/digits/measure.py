"""Word error rate of a model folder with the real libvosk, on held-out voices that are synthesised for it."""
import json
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from . import sound, voices
from .lexicon import UNKNOWN


def errors(said, heard):
    """Words to insert, delete or replace to get from one list to the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(before + (word != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def measuring_set(seed, count, threads=1):
    """{"digits" or "words": [(said, samples)]} by voices that are never trained on."""
    utterances = voices.speak_all(None, voices.measuring_jobs(seed, count), threads)
    rng = np.random.default_rng(seed)
    sets = {"digits": [], "words": []}
    for split, _, said, pcm in utterances:
        sets[split].append((said, (sound.as_measured(pcm, rng) * 32767).astype(np.int16)))
    return sets


def clips(folder):
    """The committed clips as [(said, samples)]"""
    out = []
    for line in (Path(folder) / "ref.txt").read_text().splitlines():
        name, *said = line.split()
        with wave.open(str(Path(folder) / name)) as w:
            assert (w.getframerate(), w.getnchannels(), w.getsampwidth()) == (voices.RATE, 1, 2), name
            out.append((said, np.frombuffer(w.readframes(w.getnframes()), "<i2")))
    return out


def through_opus(samples, kbits):
    """The same after Opus at this many kb/s, at 16 kHz again. Needs opus-tools."""
    with tempfile.TemporaryDirectory() as d:
        with wave.open(f"{d}/a.wav", "wb") as w:
            w.setnchannels(1)
            w.setsampwidth(2)
            w.setframerate(voices.RATE)
            w.writeframes(samples.tobytes())
        subprocess.run(["opusenc", "--quiet", "--bitrate", str(kbits), f"{d}/a.wav", f"{d}/a.opus"], check=True)
        subprocess.run(["opusdec", "--quiet", "--rate", "16000", f"{d}/a.opus", f"{d}/b.wav"], check=True)
        return (voices.read_wav(Path(f"{d}/b.wav").read_bytes())[0] * 32768).astype(np.int16)


def word_error_rate(model, utterances):
    """(errors, words) of a model folder; [unk] counts as nothing heard, as in Beep."""
    import vosk
    vosk.SetLogLevel(-2)
    loaded = vosk.Model(str(model))
    wrong = total = 0
    for said, samples in utterances:
        recognizer = vosk.KaldiRecognizer(loaded, voices.RATE)
        heard = []
        for k in range(0, len(samples), 8000):
            if recognizer.AcceptWaveform(samples[k:k + 8000].tobytes()):
                heard += json.loads(recognizer.Result())["text"].split()
        heard += json.loads(recognizer.FinalResult())["text"].split()
        wrong += errors(said, [w for w in heard if w != UNKNOWN])
        total += len(said)
    return wrong, total
