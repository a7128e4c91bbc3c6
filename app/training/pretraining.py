"""Pretraining as a language model: embedding and recurrent layer learn to predict each next word.

Dai and Le 2015, "Semi-supervised sequence learning": what a recurrent network learns of a language from texts without
labels is where learning from labels then starts. A state is projected to the size of a word vector and compared with
the vectors of all words, those of the embedding itself (Press and Wolf 2017, "Using the output embedding to improve
language models"); as there are tens of thousands, with the next word's and a few drawn ones (``sampled_softmax``).

Shape legend: see ``networks.py``; N predicted words, K drawn words.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from app.errors import DataError
from app.model.networks import pad
from app.sentiment import PAD_ID, TokenIds
from app.training.data import Dataset, bucketed_batches, fingerprint
from app.training.kernels import keep_memory
from app.training.recipe import Recipe
from app.training.recurrence import HALF, TrainingNetwork
from app.training.sampled_softmax import WordSampler, sampled_softmax
from app.training.steps import interruptible, schedule, write_state

PRETRAINING_FILE = "pretraining.pt"
_EMBEDDING_DEVIATION = 0.1
_HELD_OUT_TEXTS = 250
_CLIP = 1.0


@dataclass(frozen=True)
class Pass:
    """Figures of one pass over the texts.

    Attributes:
        train_loss: mean cross-entropy against the drawn words, in nats; smaller than that against all words.
        perplexity: on held-out texts, against all words; below it, the network is as unsure as among so many.
    """

    number: int
    train_loss: float
    perplexity: float
    seconds: float
    tokens_per_second: float


class Pretrainer:
    """Trains a network's embedding and recurrent layers on texts without labels.

    Args:
        network: one direction; trained in place.
        recipe: ``pretraining`` passes, in batches of ``pretraining_batch``.
        texts: token ids of the texts.
        held_out: token ids of texts to report the perplexity on.
        device: ``cpu`` or ``cuda``.
        seed: decides dropout, draws and the order of batches.
        folder: where the state is kept; one found there is continued, bit-identically on the CPU.

    Raises:
        DataError: the state found is of another network, recipe or data.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        recipe: Recipe,
        texts: Sequence[TokenIds[int]],
        held_out: Sequence[TokenIds[int]],
        *,
        device: str,
        seed: int,
        folder: Path,
    ) -> None:
        config = network.config
        if config.bidirectional:
            raise ValueError("a network that reads both ways knows the next word")
        keep_memory()
        torch.manual_seed(seed)
        self.network = network.to(device)
        self.history: list[Pass] = []
        self._recipe, self._seed, self._path = recipe, seed, folder / PRETRAINING_FILE
        self._device = torch.device(device)
        self._texts, self._held_out = texts, held_out[:_HELD_OUT_TEXTS]
        self._lengths = np.array([len(ids) for ids in texts])
        with torch.no_grad():
            network.embedding.weight.normal_(std=_EMBEDDING_DEVIATION)
            network.embedding.weight[PAD_ID] = 0
        self._projection = nn.Linear(config.hidden_size, config.embedding_size).to(device)
        self._bias = nn.Parameter(torch.zeros(config.vocabulary_size, device=device))
        counts = np.bincount(np.concatenate([np.asarray(ids) for ids in texts]), minlength=config.vocabulary_size)
        self._sampler = WordSampler(counts, device)
        self._parameters = [
            network.embedding.weight,
            *network.recurrent.parameters(),
            *self._projection.parameters(),
            self._bias,
        ]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=recipe.pretraining_rate, weight_decay=0.0, fused=True)
        self._step = 0
        self._steps_per_pass = sum(1 for _ in bucketed_batches(self._lengths, recipe.pretraining_batch, seed, 0))
        self._loss_sum, self._tokens, self._seconds = 0.0, 0, 0.0
        self._identity = {
            "recipe": [recipe.pretraining, recipe.pretraining_rate, recipe.pretraining_batch, recipe.warmup],
            "network": [config.architecture, config.embedding_size, config.hidden_size, config.layers],
            "seed": seed,
            "data": fingerprint(Dataset(texts, np.zeros(0), np.zeros(0))),
        }
        if self._path.exists():
            self._resume()

    def run(self) -> None:
        """Train for all passes that are left.

        Raises:
            KeyboardInterrupt: after the state was saved, so that the next run continues from this very step.
        """
        total = self._recipe.pretraining * self._steps_per_pass
        with interruptible(self._save) as safe, tqdm(total=total, initial=self._step, desc="language model") as bar:
            while len(self.history) < self._recipe.pretraining:
                self._run_pass(bar, safe)

    def _run_pass(self, bar: tqdm[Any], safe: Callable[[], None]) -> None:
        number = len(self.history)
        at = self._step - number * self._steps_per_pass
        seconds_before, started = self._seconds, time.monotonic()
        self.network.train()
        batches = bucketed_batches(self._lengths, self._recipe.pretraining_batch, self._seed, number)
        for batch in islice(batches, at, None):
            self._train_on([self._texts[row] for row in batch])
            self._seconds = seconds_before + time.monotonic() - started
            bar.update()
            bar.set_postfix(
                loss=f"{self._loss_sum / self._tokens:.4f}",
                tokens_per_s=f"{self._tokens / self._seconds:,.0f}",
                refresh=False,
            )
            safe()
        perplexity = self.perplexity()
        done = Pass(number + 1, self._loss_sum / self._tokens, perplexity, self._seconds, self._tokens / self._seconds)
        self.history.append(done)
        self._loss_sum, self._tokens, self._seconds = 0.0, 0, 0.0
        self._save()
        tqdm.write(
            f"language model, pass {done.number}: train loss {done.train_loss:.4f}, held-out perplexity "
            f"{done.perplexity:.1f}, {done.seconds:.0f} s, {done.tokens_per_second:,.0f} tokens/s"
        )

    def _train_on(self, texts: Sequence[TokenIds[int]]) -> None:
        ids, lengths = pad(texts)
        total = self._recipe.pretraining * self._steps_per_pass
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.pretraining_rate * schedule(self._step, total, self._recipe.warmup, decay=True)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            vectors, words = self._predicted(ids.to(self._device), lengths.to(self._device))
            value = sampled_softmax(vectors, words, self.network.embedding.weight, self._bias, self._sampler)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, _CLIP)
        self._optimizer.step()
        self._step += 1
        self._loss_sum += value.item() * len(words)
        self._tokens += len(words)

    def _predicted(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, E) that the states before each word but a text's first project to, and those words (N,)."""
        # Without the dropout of learning from labels: there are too many words to learn them by heart.
        states = self.network.read_states(self.network.embedding(ids).transpose(0, 1), lengths)[1]
        words = ids.t()[1:]
        known = torch.arange(1, len(states), device=lengths.device).unsqueeze(1) < lengths
        projection = self._projection
        # In bfloat16, as the layer itself: in float32 it would take a fifth of the time.
        vectors = nn.functional.linear(
            states[:-1][known].to(HALF), projection.weight.to(HALF), projection.bias.to(HALF)
        )
        return vectors.float(), words[known]

    @torch.inference_mode()
    def perplexity(self) -> float:
        """Of the held-out texts, against all words, in float32."""
        self.network.eval()
        total, count = 0.0, 0
        for ids in self._held_out:
            if len(ids) < 2:
                continue
            padded, lengths = pad([ids])
            vectors, words = self._predicted(padded.to(self._device), lengths.to(self._device))
            logits = torch.addmm(self._bias, vectors, self.network.embedding.weight.t())
            total += nn.functional.cross_entropy(logits, words, reduction="sum").item()
            count += len(words)
        return math.exp(total / count) if count else math.nan

    def _save(self) -> None:
        state = {
            **self._identity,
            "step": self._step,
            "sums": [self._loss_sum, self._tokens, self._seconds],
            "history": [vars(part) for part in self.history],
            "parameters": [parameter.detach() for parameter in self._parameters],
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        write_state(state, self._path)

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self._path, map_location=self._device, weights_only=True)
        if any(state[name] != value for name, value in self._identity.items()):
            raise DataError(f"{self._path}: the pretraining there was done with other settings or data")
        self._step = state["step"]
        self._loss_sum, self._tokens, self._seconds = state["sums"]
        self.history = [Pass(**part) for part in state["history"]]
        with torch.no_grad():
            for parameter, kept in zip(self._parameters, state["parameters"], strict=True):
                parameter.copy_(kept)
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
