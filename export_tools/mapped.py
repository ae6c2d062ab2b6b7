"""Weights of a module in files that are mapped: in memory while they are used, and given back in between. A torch door.

The reference answers some cases and then waits, with a float64 copy that is twice the module, while other processes
need the memory.
"""

import ctypes
import mmap
from pathlib import Path

import torch

LEAST_BYTES = 2**20  # smaller tensors stay where they are
_DONTNEED = 4  # MADV_DONTNEED of a shared file mapping: its pages stay in the file; source: man 2 madvise


class Mapped:
    """The large parameters and buffers of a module, moved to files of a folder."""

    def __init__(self, module: torch.nn.Module, folder: Path) -> None:
        self._tensors: list[torch.Tensor] = []
        tensors = [*module.parameters(), *module.buffers()]
        places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
        for index, tensor in enumerate(tensors):
            whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
            # what two tensors share stays shared
            if tensor.nbytes < LEAST_BYTES or not whole or places.count(places[index]) > 1:
                continue
            path = folder / f"{id(module)}-{index}.weights"
            kept = torch.from_file(str(path), shared=True, size=tensor.numel(), dtype=tensor.dtype)
            kept.copy_(tensor.detach().reshape(-1))
            tensor.data = kept.reshape(tensor.shape)
            path.unlink()  # the mapping keeps it, and nothing else has to remember it
            self._tensors.append(kept)
        self.give_back()

    def give_back(self) -> None:
        """Let the pages go; the next use reads them again."""
        libc = ctypes.CDLL(None)
        for tensor in self._tensors:
            # the mapping begins on a page, and so does the tensor
            length = -(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
            libc.madvise(ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(length), _DONTNEED)
