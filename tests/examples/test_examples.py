"""The examples work as their READMEs and `make demo` say, each in processes of its own."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def run(*words: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_articles_walk_works_word_for_word(tmp_path: Path) -> None:
    told = run(ROOT / "examples/linear_model/walk.py", tmp_path / "walk", folder=tmp_path)
    assert "model correct (opset 11, IR 6)" in told
    assert "11 asked, 11 written" in told
    assert "answers: Netron" in told
    assert re.findall(r"batch +(\d+): allclose (\w+)", told) == [
        ("64", "True"),
        *((size, "True") for size in ("1", "2", "7", "64", "333")),
    ]


def test_a_trained_network_classifies_every_held_back_digit_alike_everywhere(tmp_path: Path) -> None:
    digits = ROOT / "examples/digits"
    run(digits / "train.py", tmp_path, folder=tmp_path)
    names = ("--dynamic", "image:0=batch", "--output-names", "scores")
    source = (f"{digits / 'model.py'}:build", "--weights", "digits.pt", "--data", "real.npz")
    run("-m", "edge_runtime", "export", *source, *names, "-o", "digits.edge", folder=tmp_path)
    told = run(digits / "evaluate.py", tmp_path, folder=tmp_path)
    rights = [int(right) for right in re.findall(r"^(?:torch|onnxruntime|edge.*?) +(\d+) +450", told, re.MULTILINE)]
    assert len(rights) == 4, told
    assert len(set(rights)) == 1
    assert rights[0] > 430  # of 450: a network that learnt nothing gets 45
    assert "0 samples are classified differently" in told
    units = ("--preprocess", f"{digits / 'units.toml'}", "--range", "image=0..16", "--postprocess", "softmax,top3")
    named = ("--labels", f"{digits / 'labels.txt'}", "--dynamic", "image:0=batch", "--output-names", "scores,digits")
    weights = (f"{digits / 'model.py'}:build", "--weights", "digits.pt")
    run("-m", "edge_runtime", "export", *weights, *units, *named, "-o", "bytes.edge", folder=tmp_path)
    told = run(digits / "raw_bytes.py", tmp_path, folder=tmp_path)
    assert "256 bytes a digit as floats, 64 as they come\n0 of 450 digits are named differently" in told
    np.save(tmp_path / "one.npy", np.rint(np.load(tmp_path / "held-back.npz")["image"][0] * 16).astype("u1"))
    told = run("-m", "edge_runtime", "run", "bytes.edge", "--input", "image=one.npy", "--top", "1", folder=tmp_path)
    label = int(np.load(tmp_path / "held-back.npz")["label"][0])
    assert told.split()[-1] == (digits / "labels.txt").read_text().split()[label]


def test_the_demo_refuses_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.tex").write_text("years of work")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/demo.py"), str(precious)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "was not made by this demo" in done.stderr
    assert (precious / "chapter1.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["Makefile", ".ci/run", "tests/system-packages.sh"])
def test_the_shell_of_the_frame_parses(name: str) -> None:
    shell = "make" if name == "Makefile" else "sh" if name.endswith(".sh") else "bash"
    words = ["make", "-n", "-f", str(ROOT / name), "help"] if shell == "make" else [shell, "-n", str(ROOT / name)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
