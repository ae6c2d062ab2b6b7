"""A worker that speaks the protocol at once: what it answers is scripted by its job's options.

options: p50 (nanoseconds, one for each round, comma-separated; the last repeats), levels (instead: "1300x60,1000x240",
how many samples of each), rate (of the scenario server, one for each round), wrong ("memory" or "time": where it
answers wrongly), lost (the blocks in which it is killed, from 0, comma-separated), skip and die (the kind of launch in
which it says that it can't run here, or is killed), look (write the states of the parent's other children into the
ledger in each slice), wrong_from and die_from (the first launch of that kind), layout
(its configuration), faults (the blocks in which a page comes from disk, from 0), probes and temperatures (around each
block, comma-separated; the last repeats), hang (the block in which it never answers), ledger (a file that notes begin
and end, so that a test can see that one process lives at a time), windows (how many a sustained run tells), sustained
("dies": it is killed after them).
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

job = json.loads(sys.stdin.readline())
options = job["options"]
ledger = Path(options["ledger"])
with ledger.open("a") as lines:
    fcntl.flock(lines, fcntl.LOCK_EX)  # of several at once, each has a turn of its own
    lines.write(f"begin {options['name']} {job['kind']}\n")
    lines.flush()
    begun = ledger.read_text().splitlines()
turn = begun.count(f"begin {options['name']} time") - 1
of_kind = begun.count(f"begin {options['name']} {job['kind']}")
p50s = options.get("p50", "1000").split(",")
p50 = int(p50s[min(turn, len(p50s) - 1)])
time.sleep(0.01)  # long enough for an overlap to show
CONDITIONS = """governor frequency_khz frequency_floor_khz frequency_limit_khz temperature_millicelsius throttled_bits
cooling_steps undervoltage load_1m_hundredths uptime_ms busy_ms steal_ms own_ms pressure_cpu_us pressure_memory_us
involuntary_switches major_faults swapped_bytes"""
conditions: dict[str, object] = dict.fromkeys(CONDITIONS.split())
memory = {"resident": 100, "proportional": 80, "private": 60, "peak": 120}
wrong = options.get("wrong") == job["kind"] and of_kind >= int(options.get("wrong_from", 1))


def of_turn(option: str) -> int | None:
    values = [int(value) for value in options.get(option, "").split(",") if value]
    return values[min(turn, len(values) - 1)] if values else None


def send(event: str, **told: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **told}) + "\n")


def siblings() -> str:
    """Return the states of this parent's other children, one letter each."""
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children").read_text().split()
    stats = [Path(f"/proc/{child}/stat").read_text() for child in children if int(child) != os.getpid()]
    return "".join(stat.rpartition(")")[2].split()[0] for stat in stats)


send("hello", protocol=1)
if options.get("skip") == job["kind"]:
    error = {"code": "UnsupportedModel", "exit": 5, "what": "no operator Foo", "where": "it", "hint": "leave it out"}
    sys.stdout.write(json.dumps({"kind": "edge-error", "schema": 1, **error, "transient": False}) + "\n")
    sys.exit(5)
if options.get("die") == job["kind"] and of_kind >= int(options.get("die_from", 1)):
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGSEGV)
configuration = {"layout": options["layout"]} if "layout" in options else {}
phases_ns = {"spawn": 1, "import": 2, "load": 3, "first": 4}
send("loaded", engine="scripted 1", phases_ns=phases_ns, configuration=configuration)
if job["kind"] in {"warm", "start", "files"}:
    if job["kind"] == "files":
        send("files", paths=[str(Path(__file__))])
    send("end")
    sys.exit()
send("answers", agree=not wrong, max_abs=0.0, max_rel=0.0, problem="is off" if wrong else "")
if not wrong and job["kind"] == "time":
    samples = [p50 - 1, p50, p50 + 1]
    if "levels" in options:
        levels = [level.split("x") for level in options["levels"].split(",")]
        samples = [int(ns) for ns, count in levels for _ in range(int(count))]
    block = {"warmup_ns": [9], "calls_per_sample": 1}
    told: dict[str, object] = {
        "probe_before_ns": of_turn("probes"),
        "probe_after_ns": of_turn("probes"),
        "rate_per_s": None,
        "proportional_bytes": 5_000 if job.get("barrier") else None,
    }
    if job["scenario"]["target_ns"] is not None:
        told["rate_per_s"] = float(options["rate"].split(",")[min(turn, options["rate"].count(","))])
    if job.get("batch") is not None:
        # a call costs 500 and every sample 500 more, until memory runs short above 4
        cost = 500 + 500 * job["batch"] * (3 if job["batch"] > 4 else 1)
        samples = [cost - 1, cost, cost + 1]
    if str(turn) in options.get("hang", "").split(","):
        time.sleep(60)
    conditions["temperature_millicelsius"] = of_turn("temperatures")
    faults = {"major_faults": 7 + (str(turn) in options.get("faults", "").split(","))}
    environment = {"before": {**conditions, "major_faults": 7}, "after": {**conditions, **faults}}
    slices: list[int] = []
    if job.get("lockstep"):
        send("ready")
        sys.stdout.flush()
        count = job["block"]["slices"]
        for _ in range(count):
            sys.stdin.readline()
            with ledger.open("a") as lines:
                lines.write(f"slice {options['name']}\n")
                if "look" in options:
                    lines.write(f"others {siblings()}\n")
            slices.append(len(samples))
            send("slice")
            sys.stdout.flush()
        sys.stdin.readline()
        samples *= count
    send("timing", block_ns=samples, slices=slices, **block, **told, environment=environment)
elif not wrong and job["kind"] == "sustained":
    terms = job["sustained"]
    for index in range(int(options.get("windows", "3"))):
        figures = {"p50_ns": p50 + index, "p90_ns": p50 + index, "max_ns": p50 + index, "calls": 7}
        times = {"begin_ns": index * round(terms["window_s"] * 1e9), "elapsed_ns": round(terms["window_s"] * 1e9)}
        machine = {"frequency_khz": None, "temperature_millicelsius": None, "throttled": None}
        send("window", **figures, **times, **machine)
        sys.stdout.flush()
    if "dies" in options.get("sustained", ""):
        os.kill(os.getpid(), signal.SIGKILL)
elif not wrong:
    points = {name: {**memory} for name in ("base", "loaded", "first")}
    points["steady"] = {"resident": 150, "proportional": 110, "private": 90, "peak": 170}
    send("memory", points=points, load_peak_bytes=20, run_peak_bytes=70)
with ledger.open("a") as lines:
    lines.write(f"end {options['name']} {job['kind']}\n")
if job["kind"] == "time" and str(turn) in options.get("lost", "").split(","):
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
send("end")
