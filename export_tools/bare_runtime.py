"""The child that runs a model in another onnxruntime: ``python -I -S bare_runtime.py``, a file by itself.

Nothing of this package is imported, and nothing of the host's site-packages: only the standard library, and numpy and
onnxruntime from the folder that the first command names. The commands, a line of JSON each, and their answers:

- ``open``: {folder, model, optimised, threads, memory_bytes} → {onnxruntime, numpy, outputs}
- ``run``: {inputs, outputs}, paths of .npz files; inputs by name, outputs by their place → {}

What fails answers {"failed": text}. A process of its own, because two releases can't be loaded into one.
"""

import json
import os
import resource
import sys
from typing import Any

MAX_FILE_BYTES = 2**31  # of what it writes: an answer, which its parent would read no further


class Runtime:
    """The onnxruntime of one folder, and the model that is open in it."""

    def __init__(self) -> None:
        self._session: Any = None
        self._names: list[str] = []

    def open(self, command: dict[str, Any]) -> dict[str, Any]:
        """Import the runtime at the first time, and open a model on its CPU provider."""
        if command["folder"] not in sys.path:
            _limit(resource.RLIMIT_CORE, 0)
            _limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
            _limit(resource.RLIMIT_AS, command["memory_bytes"])
            sys.path.insert(0, command["folder"])
        import numpy as np  # noqa: PLC0415 - it is there only now
        import onnxruntime as ort  # noqa: PLC0415 - as above

        options = ort.SessionOptions()
        options.intra_op_num_threads = command["threads"]
        options.log_severity_level = 4
        levels = ort.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if command["optimised"] else levels.ORT_DISABLE_ALL
        self._session = None  # one after the other: two would hold the weights twice
        self._session = ort.InferenceSession(command["model"], options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]
        return {"onnxruntime": ort.__version__, "numpy": np.__version__, "outputs": self._names}

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Run one case."""
        import numpy as np  # noqa: PLC0415 - as in `open`

        with np.load(command["inputs"], allow_pickle=False) as given:
            fed = {name: given[name] for name in given.files}
        answers = self._session.run(self._names, fed)
        np.savez(command["outputs"], **{str(place): array for place, array in enumerate(answers)})
        return {}


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(what, (value, value))


def main() -> None:
    """Serve commands until stdin ends; stdout is the answers' alone, C code included."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    runtime = Runtime()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = runtime.open(command) if command["do"] == "open" else runtime.run(command)
        except Exception as problem:  # noqa: BLE001 - onnxruntime's own have no common ancestor in all releases
            answer = {"failed": f"{type(problem).__name__}: {' '.join(str(problem).split())[:1000]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
