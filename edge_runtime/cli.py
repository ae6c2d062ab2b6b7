"""The `edge` command: the table of verbs, and the one place that turns errors into text and exit codes."""

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from itertools import takewhile
from types import FrameType
from typing import NamedTuple, NoReturn

from edge_runtime import __version__
from edge_runtime.errors import (
    INTERRUPTED,
    EdgeError,
    InputError,
    UnsupportedSystem,
    UsageError,
    out_of_memory,
    short_of_memory,
    to_document,
)
from edge_runtime.logs import log_to_stderr
from edge_runtime.units import visible

OUR_BUG = 70


class Verb(NamedTuple):
    """One command: what it does in a line, where its function is, and the extra that brings it ("" on a board)."""

    summary: str
    function: str
    extra: str = ""


# In the order of a user's work. Functions take the arguments after the verb. Host verbs are named as text only, so
# that nothing here imports, or makes import-linter see, a package that a board doesn't have.
VERBS = {
    "export": Verb("PyTorch module to verified artifact", "export_tools.cli:export", "export"),
    "verify": Verb("the whole proof again, against the source or the goldens", "export_tools.cli:verify", "export"),
    "view": Verb("open an artifact's graph in netron", "export_tools.cli:view", "export"),
    "info": Verb("what is in an artifact", "edge_runtime.commands.info:info"),
    "run": Verb("one inference, or --repeat N", "edge_runtime.commands.run:run"),
    "check": Verb("integrity, then the golden cases, on this machine", "edge_runtime.commands.check:check"),
    "measure": Verb("latency and memory on this machine", "edge_runtime.commands.measure:measure"),
    "profile": Verb("time by operator and node, share of the peak", "edge_runtime.commands.profile:profile"),
    "doctor": Verb("is this machine fit to run, and fit to measure", "edge_runtime.commands.doctor:doctor"),
    "cache": Verb("graphs compiled for this machine: info, clear, warm", "edge_runtime.commands.cache:cache"),
    "bench": Verb("contenders side by side, against PyTorch", "bench.cli:bench", "bench"),
    "compare": Verb("two records: what changed, and is it more than noise", "bench.cli:compare", "bench"),
    "gate": Verb("records against a budget, for CI: exit 1 where it is broken", "bench.commands.gate:gate", "bench"),
    "history": Verb("the line of a figure over records, with its steps", "bench.commands.history:history", "bench"),
    "report": Verb("records as an offline page with charts, Markdown, CSV", "bench.commands.report:report", "bench"),
}

# Verbs that import numpy and onnxruntime, here or in workers
ENGINE_VERBS = {"run", "check", "measure", "profile", "bench", "cache"}
# Numpy 2.4 and onnxruntime 1.32 map 195 MB with one thread; below this numpy's OpenBLAS, which we have no use for,
# hangs, crashes or interrupts the process by itself when it can't allocate.
MIN_ADDRESS_SPACE = 192 * 2**20

# What is said when not even an error's text finds room
NO_MEMORY = b"edge: not enough memory to say more; give the process more\n"
NO_MEMORY_JSON = (
    b'{"kind": "edge-error", "schema": 1, "code": "UnsupportedSystem", "exit": 5, "what": "not enough memory", '
    b'"where": "edge", "hint": "give the process more memory", "transient": false}\n'
)

# Flags that every verb takes: they may stand before it too, as with git and docker
COMMON = {"--json", "-v", "--verbose", "-q", "--quiet", "--no-color"}

# What an extra's verbs can't start without, by import name
NEEDS = {
    "export": ("export_tools", "torch", "onnx", "onnxscript", "rich"),
    "bench": ("bench", "psutil", "rich", "altair", "vl_convert"),
}

EXAMPLES = """\
examples:
  edge export model.py:build -o digits.edge     PyTorch to a verified artifact
  edge check digits.edge                        does it still answer right, here?
  edge measure digits.edge                      latency and memory of this machine
  edge bench digits.edge --against torch        is it faster than PyTorch, and how sure?

edge VERB --help tells more about one of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit code that `errors` documents."""
    try:
        return _run(argv)
    except MemoryError:  # while an error was told: nothing here may need memory
        if argv is None and "--json" in sys.argv:
            os.write(1, NO_MEMORY_JSON)
        os.write(2, NO_MEMORY)
        return UnsupportedSystem.exit_code


def _run(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    early = [*takewhile(COMMON.__contains__, words)]
    words = [*words[len(early) :][:1], *early, *words[len(early) + 1 :]]
    # a closed descriptor (>&-) leaves no stream at all; what we say then goes nowhere
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal's encoding must not fail what we say
    # a service manager stops us with SIGTERM: leave as on Ctrl-C, so that workers end and temporary files go
    # and a closed terminal or ssh connection with SIGHUP
    for wish in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(wish) is not signal.SIG_IGN:  # whoever said nohup meant it
            signal.signal(wish, _stop)
    try:
        status = _dispatch(words)
        sys.stdout.flush()  # here a reader that left is expected; at exit Python would call it an error
    except EdgeError as error:
        return _told(error, words)
    except KeyboardInterrupt:
        _answer_json(words, "Interrupted", INTERRUPTED, "interrupted")
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output (head, less) left; Python would print a second error at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as problem:  # noqa: BLE001 - whatever we can't explain is our bug: told as one
        return _failed(problem, words)
    return status


def _failed(problem: Exception, words: list[str]) -> int:
    if short_of_memory(problem):  # in whichever class: of Python, numpy, the loader of libraries
        return _told(out_of_memory(problem, f"edge {words[0]}"), words)
    if isinstance(problem, OSError):
        # no space, no permission, a name too long: the system's no, wherever it was met, is no bug of ours
        where, what = str(problem.filename or f"edge {words[0]}"), (problem.strerror or str(problem)).lower()
        return _told(InputError(what, where, "check the path, its permissions and free space"), words)
    return _our_bug(words)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0 if words else UsageError.exit_code
    if words[0] in {"-V", "--version"}:
        print(f"edge {__version__}")
        return 0
    name = words[0]
    verb = VERBS.get(name)
    if verb is None:
        raise UsageError(f"no verb {name!r}", "edge", "see: edge --help")
    missing = _missing(verb) if verb.extra else []
    if missing:
        raise UnsupportedSystem(
            f"edge {name} is a host verb and needs {', '.join(missing)}",
            sys.executable,
            f"install it: {_pip_line(verb)}",
        )
    if name in ENGINE_VERBS:
        _refuse_tiny_address_space(name)
        # numpy's OpenBLAS would start a thread for each CPU, each with memory of its own, and we multiply nothing
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        log_to_stderr(verbose={"-v", "--verbose"} & {*words} != set(), quiet={"-q", "--quiet"} & {*words} != set())
    module, function = verb.function.split(":")
    try:
        status: int = getattr(importlib.import_module(module), function)(words[1:])
    except SystemExit as done:  # argparse leaves this way after --help
        return int(done.code or 0)
    return status


def _refuse_tiny_address_space(name: str) -> None:
    import resource  # noqa: PLC0415 - not on every system that could show the help

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < MIN_ADDRESS_SPACE:
        raise UnsupportedSystem(
            f"this process may map {soft} bytes, numpy and onnxruntime alone need more than {MIN_ADDRESS_SPACE}",
            f"edge {name}",
            "raise the limit: ulimit -v",
        )


def _help() -> str:
    lines = [
        f"edge {__version__} – a PyTorch model on a small board: exported, verified, measured",
        "",
        "usage: edge VERB ...",
    ]
    lines.append("")
    for name, verb in VERBS.items():
        if _missing(verb):
            lines.append(_grey(f"  {name:<9} {verb.summary}  (not installed: {_pip_line(verb)})"))
        else:
            lines.append(f"  {name:<9} {verb.summary}")
    return "\n".join([*lines, "", EXAMPLES])


def _missing(verb: Verb) -> list[str]:
    from importlib.util import find_spec  # noqa: PLC0415 - 7 ms that the board's verbs need not pay

    return [name for name in NEEDS.get(verb.extra, ()) if find_spec(name) is None]


def _pip_line(verb: Verb) -> str:
    return f'pip install "edge-runtime[{verb.extra}]"'


def _grey(text: str) -> str:
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[90m{text}\x1b[0m" if color else text


def _told(error: EdgeError, words: list[str]) -> int:
    if "-v" in words or "--verbose" in words:
        sys.excepthook(type(error), error, error.__traceback__)
    if "--json" in words:
        from edge_runtime.decode import as_json  # noqa: PLC0415 - 10 ms that only this way out needs

        with contextlib.suppress(OSError):  # a full disk behind stdout may be the very error we tell
            sys.stdout.write(as_json(to_document(error)))
            sys.stdout.flush()
    one_line = str(error).replace("\n", "\\n")  # a name in a file may hold anything, an error is one paragraph
    print(f"edge: {visible(one_line)}", file=sys.stderr)
    return error.exit_code


def _our_bug(words: list[str]) -> int:
    import tempfile  # noqa: PLC0415 - costs 10 ms, needed once in a blue moon
    import traceback  # noqa: PLC0415 - as above

    with tempfile.NamedTemporaryFile("w", prefix="edge-bug-", suffix=".txt", delete=False, encoding="utf-8") as report:
        report.write(f"edge {__version__}, Python {sys.version}\nwords: {words!r}\n\n{traceback.format_exc()}")
    if "-v" in words or "--verbose" in words:
        traceback.print_exc()
    error = sys.exception()
    what = f"a bug of ours: {type(error).__name__}: {str(error)[:500]}"
    _answer_json(words, type(error).__name__, OUR_BUG, what)
    print(f"edge: {what} – {report.name} – please report it with that file", file=sys.stderr)
    return OUR_BUG


def _answer_json(words: list[str], code: str, status: int, what: str) -> None:
    """Keep the promise of --json on the two ways out that are no EdgeError."""
    if "--json" in words:
        from edge_runtime.decode import as_json  # noqa: PLC0415 - as in `_told`

        document = {"kind": "edge-error", "schema": 1, "code": code, "exit": status, "what": what}
        with contextlib.suppress(OSError):
            sys.stdout.write(as_json({**document, "where": "edge", "hint": "", "transient": False}))
            sys.stdout.flush()


def _stop(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
