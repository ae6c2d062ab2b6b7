"""`edge cache`: the graphs that onnxruntime optimised for this machine: what is there, remove it, or make it now."""

from datetime import UTC, datetime
from pathlib import Path

from edge_runtime import graph_cache, units
from edge_runtime.artifact import open_artifact
from edge_runtime.console import Console, Parser, table, verb_parser
from edge_runtime.errors import SelfCheckFailed, UsageError

EXAMPLES = (
    "edge cache info",
    "edge cache warm digits.edge      after this, every start maps the optimised graph",
    "edge cache clear",
    "EDGE_CACHE=/mnt/ssd/edge EDGE_CACHE_BYTES=268435456 edge cache info",
)
WHATS = ("info", "clear", "warm")


def cache(argv: list[str]) -> int:
    """Show, clear or fill the cache; exit 1 when `warm` could not keep a graph, 3 when its artifact is damaged."""
    parser = _parser()
    options = parser.parse_args(argv)
    console = Console.of(options)
    if bool(options.artifacts) != (options.what == "warm"):
        wrong = "takes no artifact" if options.artifacts else "needs an artifact"
        raise UsageError(f"{options.what} {wrong}", "edge cache", "see: edge cache --help")
    if options.what == "clear":
        return _clear(console)
    if options.what == "warm":
        cold = [name for path in options.artifacts for name in _warm(path, options.threads, console)]
        _show(console, title=False)
        return SelfCheckFailed.exit_code if cold else 0
    return _show(console, title=True)


def _parser() -> Parser:
    parser = verb_parser(
        "cache",
        "Graphs that onnxruntime optimised for this machine, so that later loads map them from disk.\n"
        f"They are kept in {graph_cache.folder()}, at most {units.size(graph_cache.limit_bytes())}, "
        "those used longest ago leave first.",
        EXAMPLES,
    )
    parser.add_argument("what", choices=WHATS, help="info: list them; clear: remove them all; warm: make them now")
    parser.add_argument("artifacts", metavar="NAME.edge", type=Path, nargs="*", help="for warm: whose variants")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="for warm: threads to use (default: 1)")
    return parser


def _show(console: Console, *, title: bool) -> int:
    entries, limit = graph_cache.entries(), graph_cache.limit_bytes()
    total = sum(entry.bytes for entry in entries)
    if not console.json:
        if title:
            console.say(f"{graph_cache.folder()}: {units.size(total)} of at most {units.size(limit)}")
        if entries:
            rows = [(entry.key[:12], units.size(entry.bytes), _day(entry.used_ns), entry.model) for entry in entries]
            console.say(table([("graph", "size", "last used", "made for"), *rows], "<><<"))
        else:
            console.say("no graph is cached")
    console.answer(
        {
            "kind": "edge-cache",
            "schema": 1,
            "folder": str(graph_cache.folder()),
            "bytes": total,
            "limit_bytes": limit,
            "entries": [
                {"key": one.key, "bytes": one.bytes, "used_ns": one.used_ns, "made_for": one.model} for one in entries
            ],
        }
    )
    return 0


def _clear(console: Console) -> int:
    freed = graph_cache.clear()
    if not console.json:
        console.say(f"{units.size(freed)} freed in {graph_cache.folder()}")
    console.answer({"kind": "edge-cache-cleared", "schema": 1, "folder": str(graph_cache.folder()), "bytes": freed})
    return 0


def _warm(path: Path, threads: int, console: Console) -> list[str]:
    """Load every variant once; return the names of those that are not cached all the same."""
    from edge_runtime.model import load  # noqa: PLC0415 - `info` and `--help` must not wait for onnxruntime
    from edge_runtime.session import graph_name  # noqa: PLC0415 - as above

    artifact, cold = open_artifact(path), []
    for variant in artifact.manifest.variants:
        console.progress(f"optimising {variant.name} of {path}")
        load(path, variant=variant.name, threads=threads).close()
        console.clear_line()
        name = graph_name(variant)
        if not (name and graph_cache.contains(name)):
            cold.append(variant.name)
            console.note(f"edge: {variant.name} of {path} is not cached: see the warning above, or EDGE_CACHE_BYTES")
    return cold


def _day(used_ns: int) -> str:
    return datetime.fromtimestamp(used_ns / 1e9, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
