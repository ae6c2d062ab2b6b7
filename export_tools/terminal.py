"""Stages and the closing table on a terminal: this package's door to rich. Piped, the same text, no control codes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text

from edge_runtime.units import count, duration, size
from export_tools.graph_file import GraphSize
from export_tools.pipeline import Exported
from export_tools.stages import Stage


@contextmanager
def stages(*, stream: TextIO, color: bool, quiet: bool) -> Iterator[Callable[[Stage], None]]:
    """Yield what an export is to tell its stages to: a line for each when it is done, a spinner meanwhile."""
    if quiet:
        yield lambda _: None
        return
    console = _console(stream, color=color)
    with console.status("starting") as spinner:

        def told(stage: Stage) -> None:
            if stage.seconds is None:
                step = "" if stage.step is None else f" [{stage.step[0]}/{stage.step[1]}]"
                spinner.update(Text(f"{stage.name}{step}: {stage.detail}"))
                return
            taken = duration(stage.seconds * 1e9)
            parts = (stage.detail, *_effect(stage.before, stage.after))
            console.print(Text(f"{stage.name:<8} {taken:>7}  {'; '.join(parts)}"), soft_wrap=True)

        yield told


def show(exported: Exported, *, stream: TextIO, color: bool) -> None:
    """Print the table: what was asked and written, by whom and why, how it was proven, how large it is."""
    console = _console(stream, color=color)
    console.print()
    for name, value in facts(exported):
        # no rich table: it would fold long values to a pipe's 80 columns
        console.print(Text.assemble((f"{name:<11}  ", "dim"), value), soft_wrap=True)


def _effect(before: GraphSize | None, after: GraphSize | None) -> Iterator[str]:
    if after is None:
        return
    if before is None:
        yield f"{count(after.nodes, 'node')}, {size(after.bytes)}"
        return
    for one, other, text in ((before.nodes, after.nodes, _nodes), (before.bytes, after.bytes, size)):
        yield f"{text(other)} as before" if one == other else f"{text(one)} → {text(other)}"


def _nodes(number: float) -> str:
    return count(int(number), "node")


def facts(exported: Exported) -> Iterator[tuple[str, str]]:
    """Yield what an export has to say of its artifact, by name."""
    manifest, conversion, proof = exported.artifact.manifest, exported.conversion, exported.verification
    variant, worst = exported.artifact.variant(), proof.worst
    yield "artifact", str(exported.artifact.path)
    yield "opset", f"{conversion.opset_asked} asked, {conversion.opset_written} written"
    turned = "lowered" if conversion.ir < conversion.ir_by_exporter else "raised"
    lowered = f", {turned} from {conversion.ir_by_exporter}" if conversion.ir != conversion.ir_by_exporter else ""
    yield "IR", f"{conversion.ir}{lowered}: runs on onnxruntime {manifest.requires_onnxruntime} and later"
    if exported.target is not None:
        how = "checked by table only" if exported.on_target is None else str(exported.on_target)
        release = f"onnxruntime {exported.target.release.name}"
        named = release if exported.target.title == release else f"{exported.target.title}, {release}"
        yield "target", f"{named}: {how}"
    yield "exporter", f"{conversion.exporter} ({conversion.why})"
    yield "operators", ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in conversion.operators)
    yield "cases", f"{proof.summary.cases}, against {proof.summary.reference}"
    yield (
        "worst error",
        (
            f"{worst.difference.max_abs:.3g} in {worst.output} of the case {worst.case}: "
            f"{worst.difference.ratio:.1%} of its tolerance (relative {worst.relative:.2g})"
        ),
    )
    yield "model", f"{size(exported.artifact.size_bytes(variant))} in {', '.join(file.path for file in variant.files)}"
    if manifest.peak_bytes is not None:
        room = None if exported.target is None else exported.target.memory_bytes
        there = "" if room is None else f"; {manifest.target} has {size(room)}"
        yield "memory", f"about {size(manifest.peak_bytes)} for the whole process at its peak{there}"
    yield "golden", f"{len(manifest.golden)} cases for edge check"


def _console(stream: TextIO, *, color: bool) -> Console:
    # rich's own no_color would still send bold and dim, and FORCE_COLOR would colour a file
    system: Literal["auto"] | None = "auto" if color else None
    return Console(file=stream, color_system=system, highlight=False, force_terminal=stream.isatty())
