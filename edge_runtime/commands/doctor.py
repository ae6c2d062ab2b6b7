"""`edge doctor`: is this machine fit to run and fit to measure, and the command that mends each thing."""

import platform
from pathlib import Path

from edge_runtime import recording, throttling, units
from edge_runtime.console import Console, table, verb_parser
from edge_runtime.diagnosis import Diagnosis, diagnose
from edge_runtime.errors import InputError, UsageError
from edge_runtime.processors import Cluster
from edge_runtime.tree import Tree

EXAMPLES = (
    "edge doctor                          what spoils measurements here, and the command that mends it",
    "edge doctor --json                   the machine, described for scripts",
    "edge doctor --record my-board        its files, for a report; no names, serial numbers or addresses",
    "edge doctor --root my-board          the same look at files that someone recorded",
)
EXIT_CODES = {"note": 0, "unfit": 1, "blocked": 5}
HEADINGS = {"blocked": "keeps it from running", "unfit": "spoils measurements", "note": "worth knowing"}
VERDICTS = {
    "note": "fit to run and to measure",
    "unfit": "it runs, but is not fit to measure",
    "blocked": "it can't run here",
}
REPLAYED = {"note": "fit to measure", "unfit": "not fit to measure", "blocked": "it can't run there"}


def doctor(argv: list[str]) -> int:
    """Examine this machine; print what was found, or the JSON document."""
    parser = verb_parser("doctor", "Is this machine fit to run, and fit to measure; what to change.", EXAMPLES)
    parser.add_argument("--record", metavar="DIR", type=Path, help="keep the files that were read, made anonymous")
    parser.add_argument("--root", metavar="DIR", type=Path, help="examine recorded files instead of this machine")
    options = parser.parse_args(argv)
    console = Console.of(options)
    if options.root is not None and not options.root.is_dir():
        raise UsageError("no such folder", str(options.root), "give a folder made by: edge doctor --record DIR")
    if options.record is not None:
        recording.refuse_filled(options.record)
    tree = Tree(options.root or Path("/"), remember=options.record is not None)
    if not tree.live and tree.text("proc/stat") is None and tree.text("proc/cpuinfo") is None:
        hint = "give a folder that edge doctor --record has written"
        raise InputError("no machine's files in it: neither proc/stat nor proc/cpuinfo", str(tree.root), hint)
    found = diagnose(tree)
    if not options.json:
        console.say(_described(found))
    console.answer(found.to_document())
    if options.record is not None:
        count = recording.save(tree, options.record, hostname=platform.node())
        console.note(f"{count} files recorded: {options.record}")
    return EXIT_CODES[found.worst]


def _described(found: Diagnosis) -> str:
    parts = [table(_facts(found))]
    for severity, heading in HEADINGS.items():
        lines = []
        for one in found.findings:
            if one.severity == severity:
                lines += [f"  - {one.what}", f"      {one.why}", *([f"      mend: {one.mend}"] if one.mend else [])]
        if lines:
            parts.append("\n".join([f"{heading}:", *lines]))
    # another machine's files tell nothing of what is installed there
    verdict = VERDICTS[found.worst] if found.software else REPLAYED[found.worst]
    return "\n\n".join([*parts, f"verdict: {verdict}"])


def _facts(found: Diagnosis) -> list[tuple[str, str]]:
    machine, state, software = found.machine, found.conditions, found.software
    facts = [
        ("machine", f"{machine.model}, {machine.cores} cores"),
        ("system", f"{found.os or 'unknown'}, Linux {machine.kernel}"),
    ]
    facts += [("cores" if at == 0 else "", _cluster(cluster)) for at, cluster in enumerate(found.clusters)]
    free = "unknown" if found.available_bytes is None else units.size(found.available_bytes)
    whole = "unknown" if machine.ram_bytes is None else units.size(machine.ram_bytes)
    swap = units.size(found.swap_bytes) if found.swap_bytes else "no"
    facts.append(("memory", f"{free} free of {whole}, {swap} swap"))
    allowed = [
        *([f"{found.limits.cpu_hundredths / 100:g} CPUs"] if found.limits.cpu_hundredths is not None else []),
        *([units.size(found.limits.memory_bytes)] if found.limits.memory_bytes is not None else []),
    ]
    facts.append(("limits", ", ".join(allowed) or "no control group limits CPU time or memory"))
    heat = state.temperature_millicelsius
    facts.append(("heat", "no thermal zone tells" if heat is None else f"{heat / 1000:.1f} °C"))
    if state.throttled_bits is not None:
        now, ever = throttling.now(state.throttled_bits), throttling.since_boot(state.throttled_bits)
        facts.append(("firmware", f"now: {', '.join(now) or 'calm'}; since start: {', '.join(ever) or 'calm'}"))
    facts.append(("energy", found.energy_rail or f"unknown: {found.energy_missing}"))
    if software is not None:
        installed = [
            f"{name} {version or 'missing'}"
            for name, version in (("numpy", software.numpy), ("onnxruntime", software.onnxruntime))
        ]
        facts.append(("software", f"{software.implementation} {software.python}, {', '.join(installed)}"))
        facts.append(("", f"{software.architecture}, {software.libc or 'no glibc'}"))
    return facts


def _cluster(cluster: Cluster) -> str:
    words = [f"{len(cluster.cpus)} × {cluster.core or 'CPU'} ({', '.join(map(str, cluster.cpus))})"]
    if cluster.current_khz is not None:
        words.append(f"at {cluster.current_khz // 1000} MHz")
    if cluster.lowest_khz is not None and cluster.highest_khz is not None:
        words.append(f"of {cluster.lowest_khz // 1000} to {cluster.highest_khz // 1000}")
    if cluster.governor is not None:
        words.append(f"by {cluster.governor}")
    return " ".join(words)
