"""Fine-tuning of the encoder: a text should lie nearer to its item than to any other of the batch.

The one idea: contrastive learning (InfoNCE, van den Oord et al. 2018, with the other
items of the batch as negatives, Henderson et al. 2017, and one lexical hard negative
for each text). Only the last blocks learn, slowly, and the weights kept are those that
did best on pairs held out, the frozen ones among them: it can bring nothing, but
hardly do harm.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from models.progress import Progress, silent
from models.text.model import SentenceEncoder
from models.text.pairs import Known, Pair


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the encoder is fine-tuned."""

    # Optimiser steps at most. A step of 16 pairs takes 2 to 4 s on one CPU thread.
    steps: int
    batch: int = 16
    rate: float = 5e-5
    # Differences of cosines are divided by it: smaller, harder.
    temperature: float = 0.05
    # Blocks that learn, from the last; the rest and the word table stay.
    blocks: int = 3
    # Texts are cut here while learning; the first words say what a thing is, and time
    # grows with length.
    tokens: int = 32
    # Held-out pairs judge the encoder so often, and it stops after so many without a gain.
    every: int = 20
    patience: int = 3
    held_out: int = 120
    seed: int = 0


def fine_tune(
    model: SentenceEncoder,
    tokenizer: Tokenizer,
    given: tuple[Sequence[Pair], Known],
    tuning: Tuning,
    progress: Progress = silent,
) -> tuple[SentenceEncoder, dict[str, float]]:
    """Return the best encoder found, on the CPU, and what was measured; `model` is left alone.

    Metrics: tuned.frozen and tuned.best, MRR of the item among its hard negative and all
    items held out; tuned.steps of the best, and the curve. Repeatable on one machine.
    """
    pairs, known = given
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tuned = copy.deepcopy(model).to(device)
    reader = _Reader(tokenizer, device, tuning.tokens)
    unseen = min(tuning.held_out, len(pairs) // 5)
    test, train = pairs[:unseen], pairs[unseen:]
    if len(train) < tuning.batch or not test:
        return model, {}
    random = np.random.default_rng(tuning.seed)
    optimiser = torch.optim.AdamW(
        _learning(tuned, tuning.blocks), lr=tuning.rate, weight_decay=0.01
    )
    best = first = _mrr(tuned, reader, test, known)
    metrics = {"tuned.frozen": first, "curve.tuned_mrr/0": first}
    kept, at, idle = copy.deepcopy(tuned.state_dict()), 0, 0
    for step in range(1, tuning.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = tuning.rate * _pace(step, tuning.steps)
        drawn = [train[i] for i in random.choice(len(train), tuning.batch, replace=False)]
        optimiser.zero_grad()
        loss = _loss(tuned, reader, drawn, known, tuning.temperature)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        progress(step, tuning.steps, f"fine-tuning: loss {loss.item():.3f}, held out {best:.3f}")
        if step % tuning.every and step != tuning.steps:
            continue
        value = _mrr(tuned, reader, test, known)
        metrics[f"curve.tuned_mrr/{step}"] = value
        idle += 1
        if value > best:
            best, at, idle, kept = value, step, 0, copy.deepcopy(tuned.state_dict())
        if idle >= tuning.patience:
            break
    tuned.load_state_dict(kept)
    return tuned.cpu().eval(), {**metrics, "tuned.best": best, "tuned.steps": float(at)}


class _Reader:
    """Texts to padded ids on a device."""

    def __init__(self, tokenizer: Tokenizer, device: torch.device, tokens: int) -> None:
        tokenizer.enable_truncation(tokens)
        tokenizer.enable_padding()
        self._tokenizer = tokenizer
        self._device = device

    def __call__(self, model: SentenceEncoder, texts: Sequence[str]) -> Tensor:
        """Return unit rows [B, d]."""
        read = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([r.ids for r in read], device=self._device)
        mask = torch.tensor([r.attention_mask for r in read], device=self._device)
        vectors: Tensor = model(ids, mask)
        return vectors


def _learning(model: SentenceEncoder, blocks: int) -> list[torch.nn.Parameter]:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    last = [p for block in list(model.blocks)[-blocks:] for p in block.parameters()]
    for parameter in last:
        parameter.requires_grad_(True)
    return last


def _pace(step: int, steps: int) -> float:
    """Return the share of the rate: a tenth of the steps up, then down along a cosine."""
    warm = max(1, steps // 10)
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _loss(
    model: SentenceEncoder, reader: _Reader, pairs: Sequence[Pair], known: Known, temperature: float
) -> Tensor:
    asked = reader(model, [pair.text for pair in pairs])
    items = [p.item for p in pairs] + [p.wrong for p in pairs]
    held = reader(model, [known.texts[item] for item in items])
    logits = asked @ held.t() / temperature  # [B, 2B]
    as_good = [
        [
            column != row and not known.may_be_wrong(p.text, p.item, other, kind=p.kind)
            for column, other in enumerate(items)
        ]
        for row, p in enumerate(pairs)
    ]
    logits = logits.masked_fill(torch.tensor(as_good, device=logits.device), -torch.inf)
    return functional.cross_entropy(logits, torch.arange(len(pairs), device=logits.device))


def _mrr(model: SentenceEncoder, reader: _Reader, pairs: Sequence[Pair], known: Known) -> float:
    """Return the mean reciprocal place of each item, its equals left out."""
    items = list(dict.fromkeys([p.item for p in pairs] + [p.wrong for p in pairs]))
    column = {item: at for at, item in enumerate(items)}
    with torch.no_grad():
        asked = _batched(model, reader, [p.text for p in pairs])
        held = _batched(model, reader, [known.texts[item] for item in items])
        scores = asked @ held.t()
    found = []
    for pair, row in zip(pairs, scores, strict=True):
        worse = [known.may_be_wrong(pair.text, pair.item, i, kind=pair.kind) for i in items]
        above = (row > row[column[pair.item]]) & torch.tensor(worse, device=row.device)
        found.append(1 / (1 + int(above.sum())))
    return float(np.mean(found))


def _batched(model: SentenceEncoder, reader: _Reader, texts: Sequence[str]) -> Tensor:
    """Encode in the order of length, so that little is padded."""
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    parts = [
        reader(model, [texts[at] for at in order[start : start + 32]])
        for start in range(0, len(texts), 32)
    ]
    back = torch.tensor(order, device=parts[0].device).argsort()
    return torch.cat(parts)[back]
