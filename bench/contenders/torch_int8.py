"""PyTorch's own int8 for CPUs: the module with its Linear and recurrent layers quantised dynamically.

Inside the timing: the call of the quantised module. Outside: quantising, which belongs to the phase "load". Dynamic
quantisation is what torch itself offers without calibration and without rewriting a module; it touches `Linear`,
`LSTM`, `GRU` and their cells alone, so a module without them is skipped. torch calls it deprecated in favour of
torchao, which is another package. The engine is torch's own choice for the CPU, told in the configuration. Source:
PyTorch's documentation of `torch.ao.quantization.quantize_dynamic`.

Eight bits can't agree within the tolerances of 32: what is asked is a signal-to-noise ratio of 20 dB in each output,
below which int8 is no use.
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.contenders.peer import unable
from bench.contenders.torch import TorchEager
from edge_runtime.errors import UnsupportedModel

if TYPE_CHECKING:
    import torch

    from edge_runtime.contender import Contender, Job

    Layers = set[type[torch.nn.Module]]


class TorchInt8(TorchEager):
    """The module quantised dynamically, after its weights were held against the artifact's."""

    MODE = "dynamic int8, eager, inference mode"
    least_snr_db = 20.0

    def __init__(self, job: "Job") -> None:
        super().__init__(job)
        self._done = 0

    def load(self) -> None:
        """Build the module, load its weights, quantise it; raise UnsupportedModel when there is nothing to quantise."""
        import torch  # noqa: PLC0415 - the import is a measured phase

        super().load()
        self._check_weights()
        layers: Layers = {torch.nn.Linear, torch.nn.LSTM, torch.nn.GRU, torch.nn.LSTMCell, torch.nn.GRUCell}
        module = self._opened().module
        self._done = sum(type(part) in layers for part in module.modules())
        if self._done == 0:
            raise UnsupportedModel(
                "torch's dynamic int8 has nothing to quantise: no Linear, no recurrent layer",
                "this model",
                "leave it out",
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it is deprecated is known here
                torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
                    module, layers, dtype=torch.qint8, inplace=True
                )
        except Exception as problem:  # whatever its rewriting meets
            raise unable("torch's int8", "quantise", problem) from problem

    def configuration(self) -> Mapping[str, str]:
        """Return eager's, torch's engine for int8, and how much of the module it computes."""
        import torch  # noqa: PLC0415 - as above

        return {
            **super().configuration(),
            "int8 engine": str(torch.backends.quantized.engine),
            "layers quantised": str(self._done),
            "answers": f"signal-to-noise of {self.least_snr_db:.0f} dB at least",
        }


def open_contender(job: "Job") -> "Contender":
    """Return torch's dynamic int8 as a contender."""
    return TorchInt8(job)
