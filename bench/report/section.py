"""One record's part of a page: the outcome in words, what it rests on, its charts, and what it was measured on."""

import shlex
from pathlib import PurePath

from bench.report import charts, evidence, sentences
from bench.report.markup import figures, folded, items, text
from bench.report.names import own_of
from edge_runtime import scenario_figures
from edge_runtime.measured import MeasuredContender
from edge_runtime.record import Record
from edge_runtime.units import count, size, visible

EVIDENCE = " (95 % interval"


def outcome(record: Record) -> str:
    """Return the outcome: a sentence, a badge of validity, the verdicts, and what they rest on."""
    own = own_of(record)
    word, style, doubts = validity(record)
    remarks = f"{count(len(doubts), 'remark')} on the conditions"
    told = "".join(f"<li>{_verdict(line)}</li>" for line in sentences.verdicts(record, contender=own))
    return (
        f'<p class="headline">{_headline(sentences.headline(record, contender=own))}</p>'
        f'<p><span class="badge {style}">{word}</span></p>'
        f'<ul class="verdicts">{told or "<li>Nothing to compare.</li>"}</ul>'
        f"{items(scenario_figures.lines(record), 'verdicts')}"
        f"{items(evidence.lines(record), 'evidence')}"
        f"{folded(remarks, doubts, 'reasons')}"
    )


def validity(record: Record) -> tuple[str, str, tuple[str, ...]]:
    """Return whether the record can be trusted in a word, the word's style, and every reason for doubt."""
    wrong = [one.name for one in record.contenders if one.answers.agree is False]
    lost = [
        f"round {one.round + 1}, {one.contender}: {'; '.join(one.reasons)}" for one in record.launches if not one.valid
    ]
    absent = [f"{one.name} {one.failure.kind}: {one.failure.reason}" for one in record.contenders if one.failure]
    told = (*(f"{name} answers wrongly" for name in wrong), *absent, *lost, *record.warnings)
    doubts = tuple(visible(line) for line in told)
    if not any(one.valid for one in record.launches) or record.stop_reason in {"invalid", "failed"}:
        return "invalid", "bad", doubts or (f"the run ended as {record.stop_reason}",)
    return ("valid, with remarks", "doubt", doubts) if doubts else ("valid", "good", ())


def drawn(index: int, record: Record, points: int) -> str:
    """Return the record's charts.   points: of each, at most about so many."""
    found = charts.figures(record, contender=own_of(record), points=points)
    return figures(f"r{index}", found)


def context(index: int, name: str, record: Record, *, held: bool) -> str:
    """Return what it was measured on and how to repeat it.   held: whether the record itself is in the page."""
    machine, config = record.machine, record.config
    facts = [
        ("measured", record.created),
        ("machine", f"{machine.model}, {count(machine.cores, 'CPU')}, key {machine.key}"),
        ("memory", "unknown" if machine.ram_bytes is None else size(machine.ram_bytes)),
        ("kernel, libc", f"{machine.kernel}, {machine.libc or 'unknown'}"),
        ("board", record.board),
        ("threads, CPUs", f"{config.threads} on CPU {', '.join(map(str, config.cpus))}"),
        ("scenario", _scenario(record)),
        (
            "shapes",
            ", ".join(f"{port} {'x'.join(map(str, shape)) or 'scalar'}" for port, shape in config.shapes.items()),
        ),
        ("rounds", _rounds(record)),
        *((one.name, _contender(one)) for one in record.contenders),
    ]
    listed = "".join(f"<dt><bdi>{text(key)}</bdi></dt><dd><bdi>{text(value)}</bdi></dd>" for key, value in facts)
    # how the interpreter was started is of this host; what to type is not
    command = shlex.join(("edge", *record.command[1:]))
    file = text(PurePath(name).name)
    kept = (
        f'<p><button type="button" data-record="record-{index}" data-name="{text(_file_name(name))}">'
        f"Download the record</button> with every sample ({file})</p>"
        if held
        else f"<p>The record with every sample is not in this page, which would be too large: keep {file}.</p>"
    )
    return (
        f'<h3 id="r{index}-context">What it was measured on</h3><dl>{listed}</dl>'
        f'<p>To repeat it:</p><pre tabindex="0" aria-label="command">{text(command)}</pre>{kept}'
    )


def _headline(sentence: str) -> str:
    """Return the sentence with what follows the verdict in smaller print."""
    verdict, _, more = sentence.partition("; ")
    return f"{text(verdict)}." + (f" <small>{text(more[0].upper() + more[1:])}.</small>" if more else "")


def _verdict(line: str) -> str:
    before, opening, after = line.partition(EVIDENCE)
    return text(before) + (f" <small>{text(opening.strip() + after)}</small>" if opening else "")


def _scenario(record: Record) -> str:
    config = record.config
    terms = (
        ("" if config.rate_per_s is None else f"{config.rate_per_s:g} calls a second"),
        ("" if config.target_ns is None else f"p99 within {config.target_ns / 1e6:g} ms"),
        ("" if config.workers is None else f"{count(config.workers, 'process')} at once"),
        (f"{config.inputs} inputs in turn" if config.inputs > 1 else ""),
    )
    return ", ".join((config.scenario, *filter(None, terms)))


def _rounds(record: Record) -> str:
    told = f"{len({one.round for one in record.launches})}, stopped by {record.stop_reason}"
    if record.confirming_from is not None:
        told += f", from round {record.confirming_from + 1} on to confirm a slower verdict"
    return told


def _contender(one: MeasuredContender) -> str:
    if one.failure:
        return f"{one.failure.kind}: {one.failure.reason}"
    settings = ", ".join(f"{key} {value}" for key, value in one.configuration.items())
    artifact = f"{one.artifact.variant}, {size(one.artifact.bytes)}, sha256 {one.artifact.sha256}"
    return "; ".join(part for part in (one.engine, artifact, settings) if part)


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in PurePath(name).name)
    return kept[-80:] or "record.json"
