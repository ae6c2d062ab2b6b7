from pathlib import Path

import torch
from torch import nn

from export_tools.mapped import LEAST_BYTES, Mapped


def resident() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4096


def test_mapped_weights_answer_the_same_and_are_given_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2000, 2000), nn.BatchNorm1d(2000), nn.Linear(2000, 2000)).eval()
    x = torch.rand(2, 2000)
    with torch.no_grad():
        before = module(x)
        mapped = Mapped(module, tmp_path)
        assert torch.equal(module(x), before)
        held = resident()
        mapped.give_back()
        # both matrices are 16 MB; other threads of the process may move a little
        assert held - resident() > 24_000_000
        assert torch.equal(module(x), before)
    assert list(tmp_path.iterdir()) == []


def test_what_is_small_or_shared_stays_where_it_is(tmp_path: Path) -> None:
    table = torch.zeros(LEAST_BYTES)
    module = nn.Module()
    module.one, module.other = nn.Parameter(table[:]), nn.Parameter(table[:])
    module.small = nn.Parameter(torch.zeros(3))
    Mapped(module, tmp_path)
    assert module.one.data_ptr() == module.other.data_ptr() == table.data_ptr()
    tied = nn.Module()
    tied.one = tied.other = nn.Parameter(torch.ones(LEAST_BYTES))
    Mapped(tied, tmp_path)
    assert tied.one is tied.other
    assert tied.one.sum() == LEAST_BYTES
