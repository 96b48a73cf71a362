"""Sequence training (LF-MMI): maximises P(words | audio) over the whole decoding graph.

Cross-entropy judges frames one by one; this judges the sentence, which is what keeps "five" from becoming "four five".
"""
import random
import time

import numpy as np
import torch

from .lexicon import LEXICON, UNKNOWN, WORDS, pdfs
from .network import batches_of, chain_of, cosine, stacked

NEVER = -1e4
SILENCE_COST = 0.7  # of entering silence and of going past it: a half each


def word_costs(word, unknown):
    """Cost of entering each word: a uniform unigram, a word penalty and what [unk] costs more."""
    names = WORDS + [UNKNOWN]
    return {w: float(np.log(len(names))) + word + (unknown if w == UNKNOWN else 0) for w in names}


def all_sentences():
    """The word loop as (pdf per state, transition matrix, start, final), as probabilities. State 0 is silence."""
    cost = word_costs(1.0, 2.0)
    pdf, first, last = [0], {}, {}
    for w in cost:
        first[w] = len(pdf)
        pdf += pdfs(w)
        last[w] = len(pdf) - 1
    n, half = len(pdf), np.exp(-SILENCE_COST)
    move = np.eye(n)
    start, final = np.zeros(n), np.zeros(n)
    start[0], final[0] = half, 1
    for w in cost:
        for j in range(first[w], last[w]):
            move[j, j + 1] = 1
        move[last[w], 0] = half
        for v in cost:
            move[last[w], first[v]] += half * np.exp(-cost[v])
        move[0, first[w]] = np.exp(-cost[w])
        start[first[w]], final[last[w]] = half * np.exp(-cost[w]), half
    return tuple(torch.tensor(x) for x in (np.array(pdf), move.astype(np.float32), start.astype(np.float32),
                                           final.astype(np.float32)))


def said_chain(words, cost):
    """The states of what was really said, with the cost of entering each."""
    states = chain_of(words)
    costs, i = [0.0] * len(states), 1
    for w in words:
        costs[i] = cost[w if w in LEXICON else UNKNOWN]
        i += len(pdfs(w)) + 1
    return states, costs


def score_of_all(x, lens, graph):
    """log P of any sentence of the graph. x: B x T x pdf"""
    pdf, move, start, final = graph
    peak = x.max(2, keepdim=True).values.detach()
    emit = torch.exp((x - peak)[:, :, pdf])
    alpha = start * emit[:, 0]
    total = peak[:, 0, 0]
    for t in range(1, x.shape[1]):
        after = (alpha @ move) * emit[:, t]
        z = after.sum(1)
        alive = t < lens
        alpha = torch.where(alive[:, None], after / z[:, None], alpha)
        total = total + torch.where(alive, torch.log(z) + peak[:, t, 0], torch.zeros_like(z))
    return total + torch.log((alpha * final).sum(1) + 1e-30)


def score_of_said(x, lens, chains):
    """log P of the sentences that were said, over all their alignments."""
    B, N = len(chains), max(len(c[0]) for c in chains)
    pdf = torch.zeros(B, N, dtype=torch.long)
    enter, skip, final, first = (torch.full((B, N), NEVER) for _ in range(4))
    first[:, 0] = -SILENCE_COST
    for b, (states, costs) in enumerate(chains):
        n = len(states)
        pdf[b, :n] = torch.tensor([p for p, _ in states])
        for j in range(1, n):
            enter[b, j] = -SILENCE_COST if states[j][1] else -costs[j]
            if j >= 2 and states[j - 1][1]:
                skip[b, j] = -SILENCE_COST - costs[j]
        final[b, n - 1] = 0
        if n > 1:
            final[b, n - 2] = -SILENCE_COST
            first[b, 1] = -SILENCE_COST - costs[1]
    emit = torch.gather(x, 2, pdf[:, None].expand(-1, x.shape[1], -1))
    alpha = first + emit[:, 0]
    one, two = torch.full((B, 1), NEVER), torch.full((B, 2), NEVER)
    for t in range(1, x.shape[1]):
        stepped = torch.cat([one, alpha[:, :-1]], 1) + enter
        skipped = torch.cat([two, alpha[:, :-2]], 1)[:, :N] + skip
        after = torch.logsumexp(torch.stack([alpha, stepped, skipped]), 0) + emit[:, t]
        alpha = torch.where((t < lens)[:, None], after, alpha)
    return torch.logsumexp(alpha + final, 1)


def train(net, prior, data, count, rate, after_epoch):
    """Goes on training the network in place; `after_epoch(net)` is called after each epoch."""
    torch.manual_seed(1)
    random.seed(1)
    with torch.no_grad():  # begin where a hybrid model decodes: at scores divided by (most of) the prior
        net.out.bias -= 0.8 * torch.tensor(np.log(prior), dtype=torch.float32)
    graph = all_sentences()
    cost = word_costs(1.0, 2.0)
    chains = [said_chain(d[1], cost) for d in data]
    frames = [(len(d[2]) + 2) // 3 for d in data]
    fits = [i for i in range(len(data)) if frames[i] > sum(not s[1] for s in chains[i][0]) + 2]
    batches = batches_of(data, fits)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-2)
    step = 0
    for epoch in range(count):
        net.train()
        random.shuffle(batches)
        begun, loss_sum, seen, bad = time.time(), 0.0, 0, 0
        for batch in batches:
            phase = random.randrange(3)
            lens = torch.tensor([(len(data[i][2]) - phase + 2) // 3 for i in batch])
            x = net(stacked(data, batch, phase)).transpose(1, 2)
            loss = (score_of_all(x, lens, graph) - score_of_said(x, lens, [chains[i] for i in batch])) / lens
            good = torch.isfinite(loss) & (loss.abs() < 50)
            bad += int((~good).sum())
            objective = loss[good].mean() + 3e-4 * (x ** 2).mean()
            cosine(optimiser, rate, rate * 0.02, step / (count * len(batches)))
            optimiser.zero_grad()
            objective.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            step += 1
            loss_sum += float(loss.detach()[good].sum())
            seen += int(good.sum())
        print(f"  sequence epoch {epoch}: loss per frame {loss_sum / seen:.4f}, {bad} not finite, "
              f"{time.time() - begun:.0f} s", flush=True)
        after_epoch(net)
