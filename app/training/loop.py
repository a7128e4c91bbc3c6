"""The training loop: steps, validation, early stopping, interruption and resumption."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from app.errors import DataError
from app.model.networks import Outputs, pad
from app.training.batches import length_sorted
from app.training.data import Dataset, bucketed_batches, fingerprint
from app.training.kernels import keep_memory
from app.training.losses import adversarial_perturbation, class_weights, loss, word_target_loss
from app.training.recipe import Recipe
from app.training.recurrence import TrainingNetwork
from app.training.steps import Epoch, Progress, interruptible, schedule, write_state

STATE_FILE = "state.pt"


class Trainer:
    """Trains one network by one recipe.

    Args:
        network: freshly initialized; trained in place.
        recipe: what to do.
        train: training split.
        validation: validation split; decides which epoch is kept.
        device: ``cpu`` or ``cuda``; on a GPU the forward pass runs in bfloat16 mixed precision.
        seed: decides dropout and the order of batches.
        folder: where the run's state is kept; a run found there can be resumed.

    On the CPU a resumed run is bit-identical to one that was never interrupted.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        recipe: Recipe,
        train: Dataset,
        validation: Dataset,
        *,
        device: str,
        seed: int,
        folder: Path,
    ) -> None:
        keep_memory()
        self.network = network.to(device)
        self.recipe = recipe
        self.device = torch.device(device)
        self.seed = seed
        self.folder = folder
        self.history: list[Epoch] = []
        self._train = train
        self._validation = validation
        self._data = fingerprint(train, validation)
        self._lengths = np.array([len(ids) for ids in train.ids])
        self._steps_per_epoch = sum(1 for _ in bucketed_batches(self._lengths, recipe.batch_size, seed, 0))
        # Predicts the word targets while training; no part of the network that is kept.
        self._word_target_head = nn.Linear(network.config.hidden_size, 1).to(device)
        self._optimizer = torch.optim.AdamW(
            [*network.parameters(), *(self._word_target_head.parameters() if recipe.clues else ())],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self._average = [parameter.detach().clone() for parameter in network.parameters()]
        self._best: dict[str, Tensor] = {}
        self._progress = Progress()
        self._weights = torch.from_numpy(class_weights(train.targets)).to(device) if recipe.balanced else None
        torch.manual_seed(seed)

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights are kept, from 1; 0 before the first validation."""
        return self._progress.best_epoch + 1

    @property
    def seconds(self) -> float:
        """Time of all epochs so far, the unfinished one included, validation not."""
        return sum(epoch.seconds for epoch in self.history) + self._progress.seconds

    @property
    def step(self) -> int:
        """How many batches it has trained on."""
        return self._progress.step

    @property
    def ended(self) -> bool:
        """Whether the recipe or early stopping has ended it."""
        return self._progress.epoch >= self.recipe.epochs or self._exhausted()

    def run(self) -> None:
        """Train until the recipe ends or early stopping does; the network then has the best weights.

        Raises:
            KeyboardInterrupt: after the state was saved, so that ``resume`` continues from this very step.
        """
        total = self.recipe.epochs * self._steps_per_epoch
        try:
            with (
                interruptible(self.save) as safe,
                tqdm(total=total, initial=self._progress.step, desc="all") as overall,
            ):
                while not self.ended:
                    self._run_epoch(overall, safe)
        finally:
            self.use_best()

    def use_best(self) -> None:
        """Put the best weights so far into the network (the current ones before the first validation)."""
        if self._best:
            self.network.load_state_dict(self._best)
        self.network.eval()

    def save(self) -> None:
        """Write the state atomically."""
        state = {
            "recipe": self.recipe.as_dict(),
            "seed": self.seed,
            "data": self._data,
            "progress": asdict(self._progress),
            "history": [asdict(epoch) for epoch in self.history],
            "network": self.network.state_dict(),
            "clue_head": self._word_target_head.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average,
            "best": self._best,
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        write_state(state, self.folder / STATE_FILE)

    def resume(self) -> None:
        """Continue the run found in the folder.

        Raises:
            DataError: there is none, or it was started with another recipe, seed or data.
        """
        path = self.folder / STATE_FILE
        if not path.exists():
            raise DataError(f"{path}: no run to resume")
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        # Through Recipe, so that a run from before a field was added counts as having its default.
        if Recipe(**state["recipe"]) != self.recipe or state["seed"] != self.seed:
            raise DataError(f"{path}: the run there was started with other settings")
        if state.get("data", self._data) != self._data:
            raise DataError(f"{path}: the run there was started on other data")
        self._progress = Progress(**state["progress"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.network.load_state_dict(state["network"])
        if self.recipe.clues:
            self._word_target_head.load_state_dict(state["clue_head"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._average = state["average"]
        self._best = state["best"]
        torch.set_rng_state(state["random"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all([random.cpu() for random in state["cuda_random"]])

    def _exhausted(self) -> bool:
        patience = self.recipe.patience
        return patience is not None and self._progress.epoch - 1 - self._progress.best_epoch >= patience

    def _run_epoch(self, overall: tqdm[Any], safe: Callable[[], None]) -> None:
        progress, started = self._progress, time.monotonic()
        seconds_before = progress.seconds
        self.network.train()
        batches = self._batches()
        with tqdm(
            total=self._steps_per_epoch, initial=progress.step_in_epoch, desc=f"epoch {progress.epoch + 1}", leave=False
        ) as bar:
            for batch in batches:
                self._step(batch)
                progress.seconds = seconds_before + time.monotonic() - started
                bar.update()
                overall.update()
                bar.set_postfix(
                    loss=f"{progress.loss_sum / progress.seen:.4f}",
                    accuracy=f"{progress.correct / progress.seen:.4f}",
                    tokens_per_s=f"{progress.tokens / progress.seconds:,.0f}",
                    refresh=False,
                )
                safe()
        self._end_epoch()
        last = self.history[-1]
        overall.set_postfix(validation_accuracy=f"{last.validation_accuracy:.4f}", best=self.best_epoch)
        tqdm.write(
            f"epoch {last.epoch}: train loss {last.train_loss:.4f} accuracy {last.train_accuracy:.4f}, validation loss "
            f"{last.validation_loss:.4f} accuracy {last.validation_accuracy:.4f}, {last.seconds:.0f} s, "
            f"{last.tokens_per_second:,.0f} tokens/s"
        )

    def _batches(self) -> Iterator[np.ndarray]:
        batches = bucketed_batches(self._lengths, self.recipe.batch_size, self.seed, self._progress.epoch)
        for index, batch in enumerate(batches):
            if index >= self._progress.step_in_epoch:
                yield batch

    def _step(self, batch: np.ndarray) -> None:
        progress = self._progress
        ids, lengths = pad([self._train.ids[row] for row in batch])
        total = self.recipe.epochs * self._steps_per_epoch
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * schedule(
                progress.step, total, self.recipe.warmup, decay=self.recipe.decay
            )
        self._optimizer.zero_grad(set_to_none=True)
        ids, lengths = ids.to(self.device), lengths.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            vectors = self.network.embed(ids)
            vectors.retain_grad()
            outputs, value = self._loss(vectors, lengths, batch)
        value.backward(retain_graph=self.recipe.adversarial > 0)  # type: ignore[no-untyped-call]
        if self.recipe.adversarial:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
                length = self.recipe.adversarial * float(self.network.embedding.weight.detach().std())
                perturbed = vectors + adversarial_perturbation(vectors, length)
                _, again = self._loss(perturbed, lengths, batch)
            again.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self._optimizer.step()
        self._update_average()
        progress.step += 1
        progress.step_in_epoch += 1
        progress.seen += len(batch)
        progress.loss_sum += value.item() * len(batch)
        progress.correct += int((outputs.logits.argmax(-1).cpu().numpy() == self._train.labels[batch]).sum())
        progress.tokens += int(lengths.sum())

    def _loss(self, vectors: Tensor, lengths: Tensor, batch: np.ndarray) -> tuple[Outputs, Tensor]:
        """Outputs for texts (T, B, E), and what is minimized."""
        features, states = self.network.read_states(vectors, lengths)
        outputs = self.network.head(features)
        targets = torch.from_numpy(self._train.targets[batch]).to(self.device)
        stars = torch.from_numpy(self._train.stars[batch]).to(self.device)
        value = loss(outputs, targets, stars, self._weights)
        if self._train.word_targets:
            targets_by_word = [torch.from_numpy(self._train.word_targets[row]) for row in batch]
            predicted = self._word_target_head(states).squeeze(-1)
            auxiliary = word_target_loss(predicted, pad_sequence(targets_by_word).to(self.device), lengths)
            value = value + self.recipe.clues * auxiliary
        return outputs, value

    def _update_average(self) -> None:
        if not self.recipe.average:
            return
        # Early on a long memory would hold on to the initial weights.
        keep = min(self.recipe.average, (1 + self._progress.step) / (10 + self._progress.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, list(self.network.parameters()), 1 - keep)

    def _end_epoch(self) -> None:
        progress = self._progress
        live = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        if self.recipe.average:
            with torch.no_grad():
                for parameter, average in zip(self.network.parameters(), self._average, strict=True):
                    parameter.copy_(average)
        validation_loss, accuracy = self.validate()
        self.history.append(
            Epoch(
                progress.epoch + 1,
                progress.loss_sum / progress.seen,
                progress.correct / progress.seen,
                validation_loss,
                accuracy,
                progress.seconds,
                progress.tokens / progress.seconds,
            )
        )
        merit = accuracy if self.recipe.keep == "accuracy" else -validation_loss
        if progress.best_epoch < 0 or merit > progress.best_merit:
            progress.best_merit, progress.best_epoch = merit, progress.epoch
            self._best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(live)
        self._progress = Progress(
            epoch=progress.epoch + 1,
            step=progress.step,
            best_merit=progress.best_merit,
            best_epoch=progress.best_epoch,
        )
        self.save()

    @torch.inference_mode()
    def validate(self) -> tuple[float, float]:
        """Mean loss and accuracy on the validation split, with the network's current weights, in float32."""
        self.network.eval()
        total, correct = 0.0, 0
        for batch in length_sorted(self._validation.ids, self.recipe.batch_size):
            ids, lengths = pad([self._validation.ids[row] for row in batch])
            outputs = self.network(ids.to(self.device), lengths.to(self.device))
            labels = torch.from_numpy(self._validation.labels[batch]).to(self.device)
            total += nn.functional.cross_entropy(outputs.logits, labels, reduction="sum").item()
            correct += int((outputs.logits.argmax(-1) == labels).sum())
        return total / len(self._validation), correct / len(self._validation)
