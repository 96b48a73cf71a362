#!/usr/bin/env python3
"""Computes the tables of SIZING.md from the inputs that stand in it, and prints the whole page."""

import pathlib
import sys

NODES = (1, 2, 3, 10, 30, 100)
BEGIN, END = "<!-- computed by sizing.py -->", "<!-- end -->"

# What limits how many bites a second are taken, and what to do when it does.
ADVICE = {
    "node CPU": "more nodes, or more cores for each",
    "log": "a disk or controller that syncs faster; larger installations in several, by crew",
    "Postgres CPU": "more cores for Postgres; fewer and larger nodes read the log less often",
    "Redis": "fewer and larger nodes: each free one asks for every lease",
    "NATS": "fewer and larger nodes; or none at all: without `bus` each node looks at the log ten times a second",
    "S3": "more S3 servers",
}


def inputs(page):
    """The rows `| name | value | unit | source |` of the page: values by name, and the names that nobody measured."""
    values, estimated = {}, []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and cells[0].startswith("`"):
            name = cells[0].strip("`")
            values[name] = float(cells[1])
            if cells[3].startswith("estimate"):
                estimated.append(name)
    return values, estimated


def capacity(i, n, transcribing):
    """Bites a second that n nodes carry, by what limits them. Formulas as in the page."""
    speech = i["bite_seconds"] * i["speech_cpu_s"] * 1e6 if transcribing else 0.0
    own = i["cpu_take_us"] + i["listeners"] * i["cpu_deliver_us"] + speech
    readers = 2 * n + 1 if transcribing else n + 1
    entries = i["entries_per_bite"] if transcribing else 1.0
    reading = entries * readers / n * i["cpu_read_entry_us"]
    # Every node reads what all recorded: that part does not shrink with more nodes.
    cpu = i["node_cores"] * i["share"] * 1e6 * n / (own + n * reading)

    batch = min(i["batch_max"], i["callers_per_node"])
    log = batch / ((i["commit_ms"] / 1e3) + batch * i["log_item_us"] / 1e6) / entries * i["share"]

    postgres = i["postgres_cores"] * i["share"] * 1e6
    postgres /= entries * (i["postgres_write_us"] + readers * i["postgres_read_us"])

    limits = {"node CPU": cpu, "log": log, "Postgres CPU": postgres}
    if n > 1:
        limits["NATS"] = i["nats_msgs"] * i["share"] / (entries * (1 + n))
        if transcribing:
            seconds = i["bite_seconds"] * i["speech_cpu_s"]
            renewals = int(seconds // i["lease_renewal_s"]) * 2
            limits["Redis"] = i["redis_ops"] * i["share"] / (3 + (n - 1) + renewals)
    if i["share_in_s3"] > 0:
        limits["S3"] = i["s3_puts"] * i["share"] / i["share_in_s3"]
    return limits


def number(x):
    """With as many digits as it deserves: two."""
    if x >= 10:
        digits = len(str(int(x))) - 2
        return f"{int(round(x, -digits)):,}"
    return f"{x:.1f}"


def carried(i, transcribing):
    """The table of what n nodes carry."""
    names = list(capacity(i, 2, transcribing))
    rows = ["| nodes | bites/s | people | " + " | ".join(names) + " | breaks first |"]
    rows.append("|" + "---:|" * (3 + len(names)) + "---|")
    for n in NODES:
        limits = capacity(i, n, transcribing)
        first = min(limits, key=limits.get)
        people = limits[first] * 3600 / i["bites_per_person_hour"]
        cells = [number(limits[name]) if name in limits else "–" for name in names]
        rows.append(f"| {n} | {number(limits[first])} | {number(people)} | {' | '.join(cells)} | {first} |")
    return rows


def connections(i):
    """The table of Postgres' connections."""
    usable = i["max_connections"] - i["reserved_connections"]
    room = int(usable // i["connections_per_node"])
    rows = [f"`max_connections` {int(i['max_connections'])}: room for {room} nodes."]
    rows += ["", "| nodes | connections | `max_connections` at least |", "|---:|---:|---:|"]
    for n in NODES:
        wanted = n * i["connections_per_node"]
        rows.append(f"| {n} | {int(wanted)} | {int(wanted + i['reserved_connections'])} |")
    return rows


def waiting(i):
    """The table of how long a bite waits for the log."""
    batch = i["commit_ms"] + i["batch_max"] * i["log_item_us"] / 1e3
    rows = ["| nodes that write at once | idle | all with full batches |", "|---:|---:|---:|"]
    for n in NODES:
        rows.append(f"| {n} | {number(i['commit_ms'])} ms | {number((n + 1) * batch)} ms |")
    return rows


def overhead(i):
    """The table of what a bite costs all nodes together, beside one node."""
    rows = ["| nodes | CPU per bite without speech | over one node |", "|---:|---:|---:|"]
    own = i["cpu_take_us"] + i["listeners"] * i["cpu_deliver_us"]
    cost = lambda n: own + i["entries_per_bite"] * (2 * n + 1) * i["cpu_read_entry_us"]
    for n in NODES:
        rows.append(f"| {n} | {number(cost(n))} µs | {(cost(n) / cost(1) - 1) * 100:+.0f} % |")
    return rows


def tables(i, estimated):
    """Everything between the marks."""
    out = []
    if estimated:
        out.append(f"**{len(estimated)} of {len(i)} inputs are estimates that nobody measured yet**, so the figures below")
        out += ["are the model at work and no promise.", ""]
    out += ["### With transcription", "", *carried(i, True), ""]
    out += ["### Without transcription", "", *carried(i, False), ""]
    carrying = [capacity(i, n, transcribing) for n in NODES for transcribing in (True, False)]
    first = {min(limits, key=limits.get) for limits in carrying}
    out += ["What to do when it breaks:", ""] + [f"- **{name}**: {ADVICE[name]}." for name in sorted(first)] + [""]
    out += ["### Connections of Postgres", "", *connections(i), ""]
    out += ["### How long a bite waits for the log", "", *waiting(i), ""]
    out += ["### What further nodes cost", "", *overhead(i)]
    return "\n".join(out)


def main():
    page = pathlib.Path(__file__).with_name("SIZING.md").read_text(encoding="utf-8")
    values, estimated = inputs(page)
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    text = f"{before}{BEGIN}\n\n{tables(values, estimated)}\n\n{END}{after}"
    sys.stdout.buffer.write(text.encode())


if __name__ == "__main__":
    main()
