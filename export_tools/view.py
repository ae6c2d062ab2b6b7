"""A model's graph in netron, served on loopback."""

import signal
import socket
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_runtime.artifact import AUTO, open_artifact
from edge_runtime.errors import InputError, UnsupportedSystem, UsageError

LOOPBACK = "127.0.0.1"  # a model may be a secret: nobody else on the network is to see it
MAX_PORT = 65535


@contextmanager
def served(model: Path, *, variant: str = AUTO, port: int = 0) -> Iterator[str]:
    """Serve an artifact's model, or an .onnx file, while the context lasts; yields the address.

    port: 0 takes any free one. Raises InputError when there is no such model, UsageError for a port that can't be
    had, UnsupportedSystem without netron.
    """
    path = _model_path(model, variant)
    try:
        import netron  # noqa: PLC0415 - of all that this package does, only this needs it
    except ImportError as problem:
        raise UnsupportedSystem(
            "edge view needs netron", "this Python", 'install it: pip install "edge-runtime[export]"'
        ) from problem
    free = _free_port(port)
    netron.serve(str(path), None, address=(LOOPBACK, free))
    try:
        yield f"http://{LOOPBACK}:{free}"
    finally:
        netron.stop((LOOPBACK, free))


def open_browser(address: str) -> None:
    """Open the user's browser, if there is one."""
    webbrowser.open(address)


def wait() -> None:
    """Wait until Ctrl-C, or whatever else ends the process."""
    while True:
        signal.pause()


def _model_path(model: Path, variant: str) -> Path:
    if model.is_dir():
        artifact = open_artifact(model)
        chosen = artifact.variant(variant)
        artifact.verify_variant(chosen)
        return artifact.model_path(chosen)
    if not model.is_file() or model.suffix != ".onnx":
        problem = "neither an artifact's folder nor an .onnx file" if model.exists() else "no such file or folder"
        raise InputError(problem, str(model), "give NAME.edge or FILE.onnx")
    return model


def _free_port(port: int) -> int:
    if not 0 <= port <= MAX_PORT:
        raise UsageError(f"no port {port}", "--port", f"0 to {MAX_PORT}; 0 takes any free one")
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError as problem:
            raise UsageError(
                f"port {port} can't be had: {problem.strerror}", "--port", "leave it out, or take another"
            ) from problem
        found: int = probe.getsockname()[1]
        return found
