#!/usr/bin/env python3
"""Makes and measures model-digits: the tiny Vosk model for digits and commands that comes with Beep.

Everything is synthesised, nothing is downloaded but the tools:

    apt-get install espeak-ng flite libfst-tools libfst-dev g++ opus-tools
    pip install numpy scipy torch kaldi-native-fbank kaldifst vosk==0.3.45

    python train.py make --work /tmp/digits --out /tmp/model      # replace model-digits only with a better one
    python train.py wer --model /tmp/model --seed 1               # held-out voices, fresh strings
    python train.py tune --work /tmp/digits                       # decoding weights, on the sets for choosing

`make` runs synth, features, frames, sequence and export; each is a command of its own and goes on from the files of
the one before it in --work. `wer` prints one `goal=… value=… limit=…` line per set and ends with 1 above a limit.
Seeds 77 and 78 are for choosing; report from a seed that nothing was chosen on.
"""
import argparse
import os
import pickle
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
from digits import measure, sound, voices  # noqa: E402  (numpy reads the line above when it is loaded)

HERE = Path(__file__).parent
CHOOSING = (77, 78)


def synth(a):
    """Says every training utterance."""
    jobs = voices.training_jobs(a.isolated, a.connected)
    utterances = voices.speak_all(voices.espeak_home(a.work), jobs, a.jobs)
    save(a, "utterances", utterances)
    hours = sum(len(u[3]) for u in utterances) / voices.RATE / 3600
    print(f"{len(utterances)} utterances, {hours:.2f} h", flush=True)


def features(a):
    """Hears every utterance in different rooms."""
    data = [sound.features((kind, words, pcm, 10 * i + c))
            for i, (_, kind, words, pcm) in enumerate(load(a, "utterances")) for c in range(a.copies)]
    data += sound.silences(400)
    save(a, "features", data)
    print(f"{len(data)} items, {sum(len(d[2]) for d in data) / 360000:.2f} h", flush=True)


def frames(a):
    """Trains the network frame by frame."""
    from digits import network
    net, prior = network.train(load(a, "features"), a.dim, a.epochs)
    save(a, "frames", (a.dim, net.state_dict(), prior))


def sequence(a):
    """Goes on training it sentence by sentence."""
    from digits import network, sequence as lfmmi
    dim, state, prior = load(a, "frames")
    net = network.Net(dim)
    net.load_state_dict(state)
    lfmmi.train(net, prior, load(a, "features"), a.sequence_epochs, 1e-3,
                lambda trained: save(a, "network", (dim, trained.state_dict())))


def trained(a):
    from digits import network
    dim, state = load(a, "network")
    net = network.Net(dim)
    net.load_state_dict(state)
    return net


def export(a):
    """Writes the model folder."""
    from digits import kaldi
    kaldi.export(trained(a), a.out, a.work)


def make(a):
    """All of the above."""
    for step in (synth, features, frames, sequence, export):
        begun = time.time()
        step(a)
        print(f"{step.__name__}: {time.time() - begun:.0f} s", flush=True)


def tune(a):
    """Word error rates over decoding weights, on the sets for choosing only."""
    from digits import kaldi
    net = trained(a)
    sets = [measure.measuring_set(seed, a.count) for seed in CHOOSING]
    by_kind = {kind: [u for s in sets for u in s[kind]] for kind in ("digits", "words")}
    for scale in (0.45, 0.55, 0.7, 0.85, 1.0):
        for word_cost in (-1.0, 0.0, 1.0):
            for unknown_cost in (4.0, 6.0, 9.0):
                out = a.work / "tuned"
                kaldi.export(net, out, a.work, scale, word_cost, unknown_cost)
                rates = {k: measure.word_error_rate(out, u) for k, u in by_kind.items()}
                text = " ".join(f"{k} {100 * e / n:.2f} %" for k, (e, n) in rates.items())
                print(f"scale {scale} word {word_cost} unknown {unknown_cost}: {text}", flush=True)


def wer(a):
    """Measures a model folder: fresh strings by held-out voices, and the committed clips, also as Opus."""
    sets = measure.measuring_set(a.seed, a.count)
    clips = measure.clips(HERE / "clips")
    rows = [("wer-digits", sets["digits"], 6.5), ("wer-words", sets["words"], None), ("wer-clips", clips, 0)]
    if a.opus:
        for kbits in (24, 16, 8):
            for name, utterances, limit in (("digits", sets["digits"], None), ("clips", clips, 0)):
                rows.append((f"wer-{name}-opus-{kbits}",
                             [(said, measure.through_opus(x, kbits)) for said, x in utterances], limit))
    over = False
    for name, utterances, limit in rows:
        wrong, total = measure.word_error_rate(a.model, utterances)
        value = 100 * wrong / total
        over |= limit is not None and value > limit
        print(f"goal={name} value={value:.2f} limit={'-' if limit is None else limit} "
              f"({wrong} of {total} words, {len(utterances)} utterances)", flush=True)
    sys.exit(over)


def save(a, name, value):
    with open(a.work / f"{name}.pickle", "wb") as f:
        pickle.dump(value, f)


def load(a, name):
    with open(a.work / f"{name}.pickle", "rb") as f:
        return pickle.load(f)


def main():
    steps = {f.__name__: f for f in (make, synth, features, frames, sequence, export, tune, wer)}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("step", choices=steps)
    p.add_argument("--work", type=Path, default=Path("/tmp/digits"), help="where intermediate files go")
    p.add_argument("--out", type=Path, default=HERE / "model-digits", help="the model folder to write")
    p.add_argument("--model", type=Path, default=HERE / "model-digits", help="the model folder to measure")
    p.add_argument("--jobs", type=int, default=1, help="voices speaking at once")
    p.add_argument("--isolated", type=int, default=80, help="utterances of each word alone")
    p.add_argument("--connected", type=int, default=6500, help="utterances of several words")
    p.add_argument("--copies", type=int, default=2, help="ways of hearing each utterance")
    p.add_argument("--dim", type=int, default=112, help="width of the network")
    p.add_argument("--epochs", type=int, default=3, help="last epochs of frame training")
    p.add_argument("--sequence-epochs", type=int, default=6)
    p.add_argument("--seed", type=int, default=1, help="which strings are measured")
    p.add_argument("--count", type=int, default=300, help="how many digit strings are measured")
    p.add_argument("--opus", action="store_true", help="measure after Opus as well")
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    steps[a.step](a)


if __name__ == "__main__":
    main()
