"""The acoustic network (a small TDNN) and its first training: flat start, realignment, cross-entropy."""
import random
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .lexicon import PHONES, SIL, pdfs
from .sound import COEFFICIENTS

CONTEXT = 21  # frames of input on either side of an output frame
# (kernel, dilation, stride). After the second layer everything runs at a third of the rate: dilation 1 there is 3 here.
LAYERS = [(5, 1, 1), (3, 1, 3), (3, 1, 1), (3, 1, 1), (3, 2, 1), (3, 2, 1)]
# The same as offsets at the full frame rate, which is how Kaldi writes them.
OFFSETS = [[-2, -1, 0, 1, 2], [-1, 0, 1], [-3, 0, 3], [-3, 0, 3], [-6, 0, 6], [-6, 0, 6]]
BATCH = 48


class Net(nn.Module):
    """B x 40 x (T + 2 CONTEXT) features -> B x phones x T/3 scores"""

    def __init__(self, dim):
        super().__init__()
        self.conv, self.norm = nn.ModuleList(), nn.ModuleList()
        width = COEFFICIENTS
        for kernel, dilation, stride in LAYERS:
            self.conv.append(nn.Conv1d(width, dim, kernel, dilation=dilation, stride=stride))
            self.norm.append(nn.BatchNorm1d(dim, affine=False))
            width = dim
        self.drop = nn.Dropout(0.1)
        self.out = nn.Conv1d(dim, len(PHONES), 1)
        self.register_buffer("mean", torch.zeros(COEFFICIENTS, 1))
        self.register_buffer("istd", torch.ones(COEFFICIENTS, 1))

    def forward(self, x):
        x = (x - self.mean) * self.istd
        for conv, norm in zip(self.conv, self.norm):
            x = self.drop(norm(torch.relu(conv(x))))
        return self.out(x)


def padded(f, right=0):
    """Features with the first and last frame repeated, as Kaldi's online decoding does."""
    return np.concatenate([np.repeat(f[:1], CONTEXT, 0), f, np.repeat(f[-1:], CONTEXT + right, 0)])


def stacked(data, batch, phase):
    """A batch of unequal utterances as one tensor, all begun `phase` frames late (a cheap augmentation)."""
    longest = max(len(data[i][2]) for i in batch)
    x = [padded(data[i][2][phase:], longest - len(data[i][2])) for i in batch]
    return torch.tensor(np.stack(x)).transpose(1, 2)


def batches_of(data, indices):
    """Batches of about equal length, so that little is padding."""
    indices = sorted(indices, key=lambda i: len(data[i][2]))
    return [indices[k:k + BATCH] for k in range(0, len(indices), BATCH)]


def cosine(optimiser, high, low, part):
    """Sets the learning rate for this part (0..1) of the training."""
    for g in optimiser.param_groups:
        g["lr"] = low + (high - low) * 0.5 * (1 + np.cos(np.pi * part))


def chain_of(words):
    """The states an utterance passes through, left to right: (pdf, may be skipped). Silence is optional everywhere."""
    states = [(SIL, True)]
    for w in words:
        states += [(p, False) for p in pdfs(w)] + [(SIL, True)]
    return states


def viterbi(logp, states):
    """The best state per frame, or None where there are too few frames."""
    T, N = len(logp), len(states)
    pdf = np.array([s[0] for s in states])
    may_skip = np.zeros(N, bool)
    may_skip[2:] = [s[1] for s in states][1:-1]
    emit = logp[:, pdf]
    worst = -1e30
    score = np.full(N, worst)
    score[:2] = emit[0, :2]
    back = np.zeros((T, N), np.int8)
    for t in range(1, T):
        c = np.full((3, N), worst)
        c[0] = score
        c[1, 1:] = score[:-1]
        c[2, 2:] = np.where(may_skip[2:], score[:-2], worst)
        back[t] = c.argmax(0)
        score = c[back[t], np.arange(N)] + emit[t]
    j = N - 1 if N == 1 or score[N - 1] >= score[N - 2] else N - 2
    if score[j] < worst / 2:
        return None
    best = np.zeros(T, np.int64)
    for t in range(T - 1, -1, -1):
        best[t] = pdf[j]
        j -= back[t, j]
    return best


def flat_start(data):
    """Labels for what needs no alignment: silence, and words alone, cut into equal parts where they sound."""
    labels = [None] * len(data)
    for i, (kind, words, f, start, end) in enumerate(data):
        T = (len(f) + 2) // 3
        if kind != "conn":
            labels[i] = np.full(T, SIL, np.int64)
        if kind == "iso":
            states = pdfs(words[0])
            a = int(round(start / 3))
            b = max(int(round(end / 3)), a + len(states))
            for t in range(a, min(b, T)):
                labels[i][t] = states[min(len(states) - 1, (t - a) * len(states) // (b - a))]
    return labels


def align(net, data, labels):
    """New labels by the network itself; returns how many utterances have one."""
    net.eval()
    counts = np.bincount(np.concatenate([l for l in labels if l is not None]), minlength=len(PHONES)) + 10.0
    prior = np.log(counts / counts.sum())
    with torch.no_grad():
        for i, (kind, words, f, start, end) in enumerate(data):
            if kind == "sil":
                continue
            logp = F.log_softmax(net(torch.tensor(padded(f).T[None]))[0].T, 1).numpy() - prior
            logp = np.maximum(logp, -20)
            if kind == "iso":  # where the silence is, is known
                logp[:max(int(start / 3) - 2, 0), SIL] += 10
                logp[int(end / 3) + 4:, SIL] += 10
            labels[i] = viterbi(logp, chain_of(words))
    return sum(l is not None for l in labels)


def epochs(net, data, labels, count, high, low, kinds):
    """Cross-entropy on the labels of these kinds of utterance."""
    batches = batches_of(data, [i for i, d in enumerate(data) if labels[i] is not None and d[0] in kinds])
    optimiser = torch.optim.AdamW(net.parameters(), lr=high, weight_decay=1e-2)
    step = 0
    for epoch in range(count):
        net.train()
        random.shuffle(batches)
        begun, loss_sum, right, frames = time.time(), 0.0, 0, 0
        for batch in batches:
            phase = random.randrange(3)
            out = net(stacked(data, batch, phase))
            y = np.full((len(batch), out.shape[2]), -100)
            for row, i in enumerate(batch):
                label = np.repeat(labels[i], 3)[phase + 1::3][: (len(data[i][2]) - phase + 2) // 3]
                y[row, :len(label)] = label[:out.shape[2]]
            y = torch.tensor(y)
            loss = F.cross_entropy(out, y, ignore_index=-100, label_smoothing=0.03)
            cosine(optimiser, high, low, step / (count * len(batches)))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            step += 1
            known = y >= 0
            n = int(known.sum())
            frames += n
            loss_sum += loss.item() * n
            right += int((out.argmax(1)[known] == y[known]).sum())
        print(f"  epoch {epoch}: loss {loss_sum / frames:.3f} frames right {right / frames:.3f} "
              f"{time.time() - begun:.0f} s", flush=True)


def train(data, dim, last_epochs):
    """(a network from nothing, the share of each state): words alone first, then everything, realigned in between."""
    torch.manual_seed(0)
    random.seed(0)
    net = Net(dim)
    some = np.concatenate([d[2] for d in data[:: max(1, len(data) // 2000)]])
    net.mean[:, 0] = torch.tensor(some.mean(0))
    net.istd[:, 0] = torch.tensor(1 / some.std(0))
    labels = flat_start(data)
    everything = ("iso", "conn", "sil")
    print("flat start on words alone", flush=True)
    epochs(net, data, labels, 3, 3e-3, 1e-3, ("iso", "sil"))
    for count, high, low in [(1, 2e-3, 1e-3), (1, 2e-3, 1e-3), (last_epochs, 2e-3, 1e-4)]:
        print("aligned", align(net, data, labels), flush=True)
        epochs(net, data, labels, count, high, low, everything)
    counts = np.bincount(np.concatenate([l for l in labels if l is not None]), minlength=len(PHONES)) + 1.0
    return net, counts / counts.sum()
