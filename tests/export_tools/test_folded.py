"""Raw units in, finished answers out: the steps themselves, and artifacts that have them in their graph."""

import copy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime import check, load
from edge_runtime.errors import InputError, UsageError
from export_tools import ExportRequest
from export_tools import postprocess as postprocessing
from export_tools.errors import OpsetUnavailable, SourceError
from export_tools.folded import fold_in, prepared, raw_example
from export_tools.pipeline import Exported, run
from export_tools.postprocess import Postprocess
from export_tools.preprocess import parse, parse_one
from export_tools.remembered import recall
from export_tools.request import SourceSpec
from export_tools.reverify import reverify

Requested = Callable[..., ExportRequest]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORMALISED = "mean=0.485,0.456,0.406,std=0.229,0.224,0.225"


def picture(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def by_hand(image: Tensor, *, swap: bool = False) -> Tensor:
    """What torchvision's to_tensor and normalize do, in numpy's words and float64."""
    values = image.numpy().astype("f8") / 255
    values = values[..., ::-1] if swap else values
    return torch.from_numpy(np.ascontiguousarray(((values - MEAN) / STD).transpose(2, 0, 1)[None]))


def test_an_image_is_normalised_and_turned_as_torchvision_does() -> None:
    image = picture(5, 7, 3)
    step = parse_one(f"x:uint8-hwc-rgb,{NORMALISED}")
    assert torch.allclose(prepared(image, step, torch.float64), by_hand(image), rtol=1e-12, atol=1e-12)
    assert prepared(image, step, torch.float32).dtype == torch.float32


def test_the_channels_of_a_bgr_image_are_turned_round() -> None:
    image = picture(5, 7, 3)
    got = prepared(image, parse_one(f"x:uint8-hwc-bgr,{NORMALISED}"), torch.float64)
    assert torch.allclose(got, by_hand(image, swap=True), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["bilinear", "nearest", "bilinear-antialias"])
def test_an_image_is_resized_before_it_is_normalised(method: str) -> None:
    image = picture(9, 11, 3)
    got = prepared(image, parse_one(f"x:uint8-hwc-rgb,resize=4x6:{method},{NORMALISED}"), torch.float64)
    kind = {"mode": "nearest"} if method == "nearest" else {"mode": "bilinear", "antialias": method != "bilinear"}
    wanted = functional.interpolate(by_hand(image), size=(4, 6), **kind)
    assert got.shape == (1, 3, 4, 6)
    assert torch.allclose(got, wanted, rtol=1e-12, atol=1e-12)  # both are linear, so either order serves


@pytest.mark.parametrize(
    ("form", "shape", "becomes"),
    [
        ("uint8-hwc-rgb", (5, 7, 3), (1, 3, 5, 7)),
        ("uint8-nhwc-rgb", (2, 5, 7, 3), (2, 3, 5, 7)),
        ("uint8-nhwc-bgr", (2, 5, 7, 3), (2, 3, 5, 7)),
        ("uint8-hw-gray", (5, 7), (1, 1, 5, 7)),
        ("uint8-nhw-gray", (2, 5, 7), (2, 1, 5, 7)),
    ],
)
def test_every_form_of_image_becomes_channels_first(
    form: str, shape: tuple[int, ...], becomes: tuple[int, ...]
) -> None:
    assert prepared(picture(*shape), parse_one(f"x:{form}"), torch.float32).shape == becomes


def test_sound_is_scaled_to_one_and_keeps_its_shape() -> None:
    raw = torch.tensor([[-32768, 0, 16384]], dtype=torch.int16)
    assert prepared(raw, parse_one("x:int16-mono"), torch.float32).tolist() == [[-1.0, 0.0, 0.5]]


class Two(nn.Module):
    """Gives back its two inputs, the second one first."""

    def forward(self, a: Tensor, b: Tensor | None = None) -> dict[str, Tensor]:
        assert b is not None
        return {"second": b, "first": a}


def folded(pre: list[str], post: list[str], outputs: tuple[str, ...] = ()) -> nn.Module:
    module = Two()
    fold_in(module, parse(pre), postprocessing.parse(post), inputs=["a", "b"], outputs=outputs)
    return module


def test_steps_find_their_tensor_by_name_whether_it_comes_by_place_or_by_keyword() -> None:
    module, raw = folded(["b:int16-mono"], []), torch.tensor([32], dtype=torch.int16)
    for given in (module(raw, raw), module(raw, b=raw), module(b=raw, a=raw)):
        assert given["second"].tolist() == [32 / 32768]
        assert given["first"] is raw


def test_top_gives_scores_and_classes_in_the_place_of_the_one_output() -> None:
    scores, other = torch.tensor([[0.0, 3.0, 1.0, 2.0]]), torch.zeros(1)
    second, first, classes = folded([], ["first:top2"], ("second", "first", "classes"))(scores, other)
    assert (second.tolist(), first.tolist(), classes.tolist()) == ([0.0], [[3.0, 2.0]], [[1, 3]])
    first, classes, second = folded([], ["output:softmax,top1"])(other, scores)
    assert first.item() == pytest.approx(np.exp(3) / np.exp([0, 3, 1, 2]).sum())
    assert (classes.tolist(), second.tolist()) == ([[1]], [0.0])
    assert folded([], ["output_1:argmax"])(scores, other)[1].tolist() == [1]


@pytest.mark.parametrize(
    ("post", "problem"),
    [
        ("softmax", "it could be any of 2 outputs"),
        ("x:softmax", "no output 'x'"),
        ("output:top5", "top5 of 4 classes"),
        ("output_1:softmax", r"the output is float32\[\]"),
    ],
)
def test_an_output_that_cannot_be_meant_is_refused(post: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        folded([], [post])(torch.tensor(1.0), torch.zeros(1, 4))


def test_an_input_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no input 'c'"):
        folded(["c:int16-mono"], [])


def test_a_float64_copy_prepares_in_float64() -> None:
    module = nn.Sequential(nn.Linear(3, 3))
    fold_in(module, parse(["x:int16-mono"]), None, inputs=["x"])
    assert copy.deepcopy(module).double()(torch.ones(3, dtype=torch.int16)).dtype == torch.float64


def test_an_example_in_the_modules_units_becomes_one_in_raw_units() -> None:
    steps = parse(["image:uint8-hwc-rgb", "audio:int16-mono"])
    tensors = [torch.zeros(1, 3, 40, 50), torch.zeros(1, 3000), torch.ones(2)]
    ranges = {"audio": (-100.5, 100.5)}
    image, audio, other = raw_example(tensors, ["image", "audio", "other"], steps, ranges=ranges, seed=0, where="x")
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (40, 50, 3))
    assert (int(image.min()), int(image.max())) == (0, 255)
    assert (audio.dtype, tuple(audio.shape)) == (torch.int16, (1, 3000))
    assert (int(audio.min()), int(audio.max())) == (-100, 100)
    assert other is tensors[2]


@pytest.mark.parametrize(
    ("flag", "problem"),
    [
        ("image:uint8-hwc-rgb,resize=4x4", "nothing shows how large image is"),
        ("image:uint8-hw-gray", r"the module takes image as \[1, 3, 40, 50\]"),
    ],
)
def test_an_example_that_shows_no_raw_size_is_refused(flag: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        raw_example([torch.zeros(1, 3, 40, 50)], ["image"], parse([flag]), ranges={}, seed=0, where="x")


LABELS = ("cat", "dog", "fox", "owl")
PICTURE: Mapping[str, Any] = {
    "preprocess": parse([f"image:uint8-hwc-bgr,resize=20x24:bilinear,{NORMALISED}"]),
    "postprocess": Postprocess(softmax=True, top=3),
    "output_names": ("scores", "classes"),
    "labels": LABELS,
    "example": ("image=48x64x3:uint8",),
    "dynamic": ("image:0=height", "image:1=width"),
}


@pytest.fixture(scope="module")
def pictures(requested: Requested, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield run(requested("pictures.py:rgb", folder / "rgb.edge", **PICTURE))


def test_an_artifact_takes_bytes_of_any_size_and_gives_probabilities_and_classes(pictures: Exported) -> None:
    (image,), (scores, classes) = pictures.artifact.manifest.inputs, pictures.artifact.manifest.outputs
    assert (str(image), image.ranges) == ("uint8[height, width, 3]", (0.0, 255.0))
    assert (image.meaning or "").startswith("uint8 BGR image, height × width × 3; resized to 20×24, bilinear")
    assert (str(scores), scores.ranges) == ("float32[1, 3]", (0.0, 1.0))
    assert (str(classes), classes.ranges) == ("int64[1, 3]", (0.0, 3.0))
    assert pictures.artifact.manifest.labels == LABELS
    assert check(pictures.artifact.path).ok


def test_an_artifact_is_verified_with_all_values_of_a_byte_and_in_float64(pictures: Exported) -> None:
    cases = {case.name: case.inputs["image"] for case in pictures.artifact.golden(pictures.artifact.variant())}
    assert (int(cases["real"].min()), int(cases["real"].max())) == (0, 255)
    assert pictures.verification.summary.reference.startswith("torch float32, tolerance by float64")


def test_an_artifact_answers_as_the_module_does_after_torchs_own_steps(pictures: Exported) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    frame = picture(33, 50, 3)
    small = functional.interpolate(by_hand(frame, swap=True), size=(20, 24), mode="bilinear", align_corners=False)
    with torch.no_grad():
        wanted, classes = (module.double()(small) * 5).softmax(-1).topk(3)
    with load(pictures.artifact.path, threads=1) as model:
        answers = model(image=frame.numpy())
    np.testing.assert_allclose(answers["scores"], wanted.numpy(), atol=1e-6)
    assert answers["classes"].tolist() == classes.tolist()


def test_what_was_folded_in_is_remembered_with_the_source(pictures: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pictures.artifact.path.parent / "cache"))
    source = recall(pictures.artifact.variant().files[0].sha256)
    assert source is not None
    assert parse(source.preprocess) == PICTURE["preprocess"]
    assert postprocessing.parse([source.postprocess or ""]) == PICTURE["postprocess"]


def test_an_artifact_is_verified_again_with_what_was_folded_in_though_the_source_is_named(
    pictures: Exported, spec: Callable[..., SourceSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pictures.artifact.path.parent / "cache"))
    found = reverify(pictures.artifact.path, source=spec("pictures.py:rgb"))
    assert {row.output for row in found.verification.rows} == {"scores", "classes"}
    assert found.verification.summary.cases >= pictures.verification.summary.cases - 8  # no size of its own is declared
    assert not found.verification.wrong


def test_sound_comes_in_as_samples_and_an_example_in_floats_serves(requested: Requested, tmp_path: Path) -> None:
    made = run(
        requested(
            "pictures.py:sound",
            tmp_path / "sound.edge",
            preprocess=parse(["audio:int16-mono"]),
            postprocess=Postprocess(output="best", argmax=True),
            output_names=("loud", "best"),
            exporter="torchscript",
            opset=13,
        )
    )
    assert [str(port) for port in made.artifact.manifest.inputs] == ["int16[1, 400]"]
    with load(made.artifact.path, threads=1) as model:
        answers = model(audio=np.full((1, 400), 16384, "i2"))
    assert (answers["loud"].tolist(), answers["best"].tolist()) == ([0.25], [0])


@pytest.mark.parametrize(
    ("changes", "kind", "problem"),
    [
        ({"opset": 10}, OpsetUnavailable, "opset 10 can't express resize=bilinear of image, which takes opset 11"),
        ({"labels": ("cat", "dog")}, InputError, "2 names for 4 classes"),
        ({"example": ("image=3x48x64:uint8",)}, InputError, "--preprocess says uint8-hwc-bgr"),
    ],
)
def test_what_cannot_be_folded_in_is_refused_and_nothing_is_written(
    requested: Requested, tmp_path: Path, changes: dict[str, Any], kind: type[Exception], problem: str
) -> None:
    options = {**PICTURE, "exporter": "torchscript", **changes}
    if "example" in changes:
        options["dynamic"] = ()
    with pytest.raises(kind, match=problem):
        run(requested("pictures.py:rgb", tmp_path / "x.edge", **options))
    assert list(tmp_path.iterdir()) == []
