"""Who was measured, as a record tells it: engine, configuration, artifact, how it answered, and why it is missing.

Standard library only, as all of a record's parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_runtime import decode
from edge_runtime.errors import EdgeError, Unsupported, WorkerLost

PHASES = ("spawn", "import", "load", "first")
SKIPPED, LOST = "skipped", "lost"
MAX_SETTINGS, MAX_SETTING = 100, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredArtifact:
    """What was measured. sha256 is the model file's, bytes its variant's files."""

    name: str
    sha256: str
    variant: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Whether a contender answered the golden cases right; agree is None when it was asked none."""

    agree: bool | None
    max_abs: float | None
    max_rel: float | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a contender has no figures. kind: "skipped" when it can't run here, "lost" when its process died or hung."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredContender:
    """One engine on one artifact.

    engine: its name and version, "" when it was not reached.   configuration: the options it ran with, as it tells
    them itself after its first call.   first_start_ns: the phases of the one start that found or filled its cache
    (a graph optimised, compiled or converted), before anything was measured; None where there is nothing to keep.
    failure: None while it takes part.
    """

    name: str
    engine: str
    artifact: MeasuredArtifact
    answers: Answers
    configuration: Mapping[str, str] = field(default_factory=dict)
    first_start_ns: Mapping[str, int] | None = None
    failure: Failure | None = None

    @property
    def ranked(self) -> bool:
        """Whether it has figures that may be held against others': right, and there to the end."""
        return self.failure is None and self.answers.agree is not False


def failure_of(error: EdgeError) -> Failure:
    """Return what an error makes of a contender: unable to run here, or lost."""
    return Failure(
        kind=SKIPPED if isinstance(error, Unsupported) else LOST, reason=f"{error.what} – {error.hint}"[:4000]
    )


def unasked() -> Answers:
    """Return the answers of a contender that was never asked."""
    return Answers(agree=None, max_abs=None, max_rel=None, problem="")


def contender(fields: decode.Fields) -> MeasuredContender:
    """Read one contender of a record."""
    artifact = fields.child("artifact")
    found = MeasuredContender(
        name=fields.string("name", limit=200),
        engine=fields.string("engine", limit=500),
        artifact=MeasuredArtifact(
            name=artifact.string("name", limit=200),
            sha256=artifact.string("sha256", limit=64),
            variant=artifact.string("variant", limit=200),
            bytes=artifact.integer("bytes"),
        ),
        answers=answers(fields.child("answers")),
        configuration=configuration(fields.child("configuration")),
        first_start_ns=fields.optional("first_start_ns", lambda key: phases(fields.child(key))),
        failure=fields.optional("failure", lambda key: _failure(fields.child(key))),
    )
    artifact.finish()
    fields.finish()
    return found


def upgrade_from_2(fields: decode.Fields) -> None:
    """Add what schema 3 brought to one contender: nothing was told of it."""
    fields.supply("configuration", {})
    fields.supply("first_start_ns", None)
    fields.supply("failure", None)


def answers(fields: decode.Fields) -> Answers:
    """Read how a contender answered."""
    found = Answers(
        agree=fields.optional("agree", fields.boolean),
        max_abs=fields.optional("max_abs", fields.number),
        max_rel=fields.optional("max_rel", fields.number),
        problem=fields.string("problem"),
    )
    fields.finish()
    return found


def answers_of_worker(document: Mapping[str, Any], *, where: str) -> Answers:
    """Read how a contender answered as a worker told it; raises WorkerLost when it is not what a worker says."""
    return answers(decode.Fields(document, where, "answers", WorkerLost))


def configuration(fields: decode.Fields) -> dict[str, str]:
    """Read the options a contender ran with: names to short texts."""
    names = fields.names()
    if len(names) > MAX_SETTINGS:
        fields.refuse("configuration", f"has {len(names)} settings, at most {MAX_SETTINGS} are allowed")
    return {name: fields.string(name, limit=MAX_SETTING) for name in names}


def configuration_of_worker(document: Mapping[str, Any], *, where: str) -> dict[str, str]:
    """Read a configuration as a worker told it; raises WorkerLost when it is not what a worker says."""
    return configuration(decode.Fields(document, where, "configuration", WorkerLost))


def phases(fields: decode.Fields) -> dict[str, int]:
    """Read the phases of a start, in nanoseconds."""
    found = {name: fields.integer(name) for name in PHASES}
    fields.finish()
    return found


def phases_of_worker(document: Mapping[str, Any], *, where: str) -> dict[str, int]:
    """Read a start's phases as a worker told them; raises WorkerLost when they are not what a worker says."""
    return phases(decode.Fields(document, where, "phases_ns", WorkerLost))


def _failure(fields: decode.Fields) -> Failure:
    found = Failure(kind=fields.string("kind", choices=(SKIPPED, LOST)), reason=fields.string("reason", limit=4000))
    fields.finish()
    return found
