"""The files that libvosk loads: final.mdl (Kaldi nnet3), the lookahead graphs, words and configuration.

What is not obvious, all found by loading it: transition-ids of phone p (from 1) are 2p-1 for its self-loop and 2p for
leaving it; graphs are in Kaldi's reordered form (forward arc first, self-loop on its destination); an empty <Priors>
means that scores are used as they are; word times count frames of 30 ms, so the subsampling factor must be 3.
"""
import struct
import subprocess
from pathlib import Path

import numpy as np

from .lexicon import LEXICON, PHONE_ID, PHONES, SIL, UNKNOWN, WORDS, pdfs
from .network import CONTEXT, OFFSETS
from .sequence import SILENCE_COST, word_costs

# Decoding weights of the committed model, chosen for it when it was made. `train.py tune` chooses for another.
ACOUSTIC_SCALE, WORD_COST, UNKNOWN_COST = 0.55, -1.0, 9.0

MFCC_CONF = """--sample-frequency=16000
--use-energy=false
--num-mel-bins=40
--num-ceps=40
--low-freq=20
--high-freq=7600
--dither=0
--allow-upsample=true
"""
MODEL_CONF = """--min-active=200
--max-active=3000
--beam=13.0
--lattice-beam=6.0
--acoustic-scale={scale}
--frame-subsampling-factor=3
--endpoint.silence-phones=1
--endpoint.rule2.min-trailing-silence=0.5
--endpoint.rule3.min-trailing-silence=0.75
--endpoint.rule4.min-trailing-silence=1.0
"""
# Debian's fstconvert has no olabel_lookahead, so the few lines that make one are compiled against libfst-dev.
LOOKAHEAD = r"""
#include <fst/fstlib.h>
#include <fst/matcher-fst.h>
int main(int argc, char **argv) {
  FLAGS_save_relabel_opairs = argv[3];
  std::unique_ptr<fst::StdVectorFst> f(fst::StdVectorFst::Read(argv[1]));
  fst::ArcSort(f.get(), fst::StdOLabelCompare());
  fst::StdOLabelLookAheadFst lookahead(*f);
  return lookahead.Write(argv[2]) ? 0 : 1;
}
"""


class Writer:
    """Kaldi's binary tokens."""

    def __init__(self, file):
        self.file = file

    def raw(self, data):
        self.file.write(data)

    def tokens(self, *names):
        self.raw(b"".join(n.encode() + b" " for n in names))

    def ints(self, *values):
        self.raw(b"".join(b"\x04" + struct.pack("<i", v) for v in values))

    def float(self, v):
        self.raw(b"\x04" + struct.pack("<f", v))

    def int_list(self, v):
        self.ints(len(v))
        self.raw(np.asarray(v, "<i4").tobytes())

    def vector(self, v):
        self.tokens("FV")
        self.ints(len(v))
        self.raw(np.asarray(v, "<f4").tobytes())

    def matrix(self, m):
        self.tokens("FM")
        self.ints(*m.shape)
        self.raw(np.ascontiguousarray(m, "<f4").tobytes())


def write_transitions(k):
    """One topology for all phones: a single emitting state with a self-loop."""
    n = len(PHONES)
    k.tokens("<TransitionModel>", "<Topology>")
    k.int_list(range(1, n + 1))
    k.int_list([-1] + [0] * n)
    k.ints(1, 2)
    k.ints(0, 2, 0)  # state 0 emits and has two ways on: to itself
    k.float(0.5)
    k.ints(1)  # and to the end
    k.float(0.5)
    k.ints(-1, 0)
    k.tokens("</Topology>", "<Triples>")
    k.ints(n)
    for p in range(1, n + 1):
        k.ints(p, 0, p - 1)
    k.tokens("</Triples>", "<LogProbs>")
    k.vector([0.0] + [np.log(0.5)] * (2 * n))
    k.tokens("</LogProbs>", "</TransitionModel>")


def write_network(k, layers, out):
    """layers: (offsets, weights, bias) each; the network ends in the affine `out`."""
    nodes, parts, before = ["input-node name=input dim=40"], [], "input"
    for i, (offsets, weights, bias) in enumerate(layers, 1):
        taps = ", ".join(before if o == 0 else f"Offset({before}, {o})" for o in offsets)
        name = f"tdnn{i}"
        nodes.append(f"component-node name={name}.affine component={name}.affine input=Append({taps})")
        nodes.append(f"component-node name={name}.relu component={name}.relu input={name}.affine")
        parts += [(f"{name}.affine", weights, bias), (f"{name}.relu", weights.shape[0], None)]
        before = f"{name}.relu"
    nodes.append(f"component-node name=output.affine component=output.affine input={before}")
    nodes.append("output-node name=output input=output.affine objective=linear")
    parts.append(("output.affine", *out))
    k.tokens("<Nnet3>")
    k.raw(("\n" + "\n".join(nodes) + "\n\n").encode())
    k.tokens("<NumComponents>")
    k.ints(len(parts))
    for name, weights, bias in parts:
        k.tokens("<ComponentName>", name)
        if bias is not None:
            k.tokens("<AffineComponent>", "<LearningRate>")
            k.float(0.001)
            k.tokens("<LinearParams>")
            k.matrix(weights)
            k.tokens("<BiasParams>")
            k.vector(bias)
            k.tokens("</AffineComponent>")
            continue
        k.tokens("<RectifiedLinearComponent>", "<Dim>")
        k.ints(weights)
        for statistic in ("<ValueAvg>", "<DerivAvg>", "<Count>", "<OderivRms>", "<OderivCount>",
                          "<NumDimsSelfRepaired>", "<NumDimsProcessed>"):
            k.tokens(statistic)
            if statistic in ("<ValueAvg>", "<DerivAvg>", "<OderivRms>"):
                k.vector([])
            else:
                k.raw(b"\x08" + struct.pack("<d", 0.0))
        k.tokens("</RectifiedLinearComponent>")
    k.tokens("</Nnet3>", "<LeftContext>")
    k.ints(CONTEXT)
    k.tokens("<RightContext>")
    k.ints(CONTEXT)
    k.tokens("<Priors>")
    k.vector([])


def folded(net):
    """(layers, output) with the input normalisation and batch norms folded into the affines that follow them."""
    scale, shift = net.istd[:, 0].numpy(), (-net.mean * net.istd)[:, 0].numpy()
    layers = []
    for conv, norm, offsets in zip(net.conv, net.norm, OFFSETS):
        weights = conv.weight.detach().numpy()  # out x in x taps
        bias = conv.bias.detach().numpy() + np.einsum("oik,i->o", weights, shift)
        weights = weights * scale[None, :, None]
        layers.append((offsets, np.concatenate(list(np.moveaxis(weights, 2, 0)), 1), bias))
        scale = 1 / np.sqrt(norm.running_var.numpy() + norm.eps)
        shift = -norm.running_mean.numpy() * scale
    weights = net.out.weight.detach().numpy()[:, :, 0]
    return layers, (weights * scale[None], net.out.bias.detach().numpy() + weights @ shift)


def compile_fst(arcs, finals, path):
    """Arcs (from, to, in, out, cost) as an OpenFst file."""
    import kaldifst
    text = "".join(f"{s} {d} {i} {o} {c:.5f}\n" for s, d, i, o, c in arcs)
    text += "".join(f"{s} {c:.5f}\n" for s, c in finals)
    kaldifst.compile(text, acceptor=False, fst_type="vector").write(str(path))


def word_loop(ids):
    """Any words with optional silence between, as transition-ids to word ids, without costs of words."""
    def enter(pdf):
        return 2 * (pdf + 1)

    def stay(pdf):
        return 2 * (pdf + 1) - 1

    START, BOUNDARY, SILENCE, free = 0, 1, 2, 3
    arcs = [(START, BOUNDARY, 0, 0, SILENCE_COST), (START, SILENCE, enter(SIL), 0, SILENCE_COST),
            (SILENCE, SILENCE, stay(SIL), 0, 0), (SILENCE, BOUNDARY, 0, 0, 0)]
    for word, number in ids.items():
        at, out = BOUNDARY, number
        for pdf in pdfs(word):
            arcs += [(at, free, enter(pdf), out, 0), (free, free, stay(pdf), 0, 0)]
            at, free, out = free, free + 1, 0
        arcs += [(at, BOUNDARY, 0, 0, SILENCE_COST), (at, SILENCE, enter(SIL), 0, SILENCE_COST)]
    return arcs, [(BOUNDARY, 0.0)]


def write_graph(graph, work, word_cost, unknown_cost):
    """HCLr.fst (the word loop) and Gr.fst (what words cost); libvosk composes them, and grammars, while decoding."""
    ids = {w: i + 1 for i, w in enumerate(WORDS + [UNKNOWN])}
    plain, tool = work / "HCL.fst", (work / "lookahead").resolve()
    compile_fst(*word_loop(ids), plain)
    tool.with_suffix(".cc").write_text(LOOKAHEAD)
    subprocess.run(["g++", "-O1", "-std=c++17", f"{tool}.cc", "-o", str(tool), "-lfst", "-ldl"], check=True)
    subprocess.run([str(tool), str(plain), str(graph / "HCLr.fst"), str(work / "relabel.txt")], check=True)
    # The lookahead graph renumbers the words, so words.txt and Gr.fst are written in its numbers.
    renumbered = dict(tuple(map(int, line.split())) for line in (work / "relabel.txt").open())
    ids = {w: renumbered[i] for w, i in ids.items()}
    listed = [("<eps>", 0), *sorted(ids.items(), key=lambda x: x[1]), ("#0", len(ids) + 1)]
    (graph / "words.txt").write_text("".join(f"{w} {i}\n" for w, i in listed))
    cost = word_costs(word_cost, unknown_cost)
    compile_fst(sorted((0, 0, i, i, cost[w]) for w, i in ids.items()), [(0, 0.0)], graph / "Gr.fst")
    subprocess.run(["fstconvert", "--fst_type=const", str(graph / "Gr.fst"), str(graph / "Gr.fst")], check=True)
    (graph / "disambig_tid.int").write_text("")


def export(net, out, work, scale=ACOUSTIC_SCALE, word_cost=WORD_COST, unknown_cost=UNKNOWN_COST):
    """Writes the whole model folder."""
    out, work = Path(out), Path(work)
    for folder in ("am", "conf", "graph/phones"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    net.eval()
    with open(out / "am/final.mdl", "wb") as file:
        k = Writer(file)
        k.raw(b"\0B")
        write_transitions(k)
        write_network(k, *folded(net))
    (out / "conf/mfcc.conf").write_text(MFCC_CONF)
    (out / "conf/model.conf").write_text(MODEL_CONF.format(scale=scale))
    (out / "graph/phones.txt").write_text("<eps> 0\n" + "".join(f"{p} {i}\n" for p, i in PHONE_ID.items()))
    kinds = ["nonword", "singleton"]  # SIL, SPN
    for phones in map(str.split, LEXICON.values()):
        kinds += ["begin"] + ["internal"] * (len(phones) - 2) + ["end"]
    (out / "graph/phones/word_boundary.int").write_text("".join(f"{i} {k}\n" for i, k in enumerate(kinds, 1)))
    write_graph(out / "graph", work, word_cost, unknown_cost)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 1024:.0f} KiB", flush=True)
