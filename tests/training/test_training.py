from __future__ import annotations

import argparse
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from app.errors import DataError, OptionError
from app.histograms import HISTOGRAMS_FILE, read_bins
from app.model.networks import Outputs
from app.settings import CORPUS_VARIABLE
from app.store import METRICS_FILE, ModelStore
from app.training import command, evaluate_command, model_version
from app.training.assembly import prepare
from app.training.command import recipe_for, train
from app.training.data import bucketed_batches
from app.training.loop import STATE_FILE, Trainer
from app.training.losses import adversarial_perturbation, class_weights, loss
from app.training.model_version import WrittenVersion
from app.training.pretraining import Pretrainer
from app.training.recipe import PRESETS, Recipe, article, best, enough_steps
from app.training.requested import TrainOptions
from tests.checkpoints import add_checkpoint
from tests.training.synthetic import options, tiny_recipe, write_corpus

SCORES = ("accuracy", "precision", "recall", "f1", "roc_auc", "calibration_error", "brier", "nll", "confusion")


@pytest.fixture(scope="module", autouse=True)
def _tiny() -> Iterator[None]:
    """The preset ``tiny`` exists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", lambda architecture: _with_network(tiny_recipe(), architecture=architecture))
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the made-up corpus."""
    write_corpus(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, WrittenVersion]:
    """A folder with the corpus and ``synthetic/1``, with all that belongs to a version: do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    write_corpus(folder)
    return folder, train(options(folder))


@pytest.fixture
def pictures_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost more than training does here."""
    monkeypatch.setattr(model_version, "plot_training", lambda *given: None)
    monkeypatch.setattr(model_version, "plot_outcome", lambda *given: None)


def _with_network(recipe: Recipe, **changes: Any) -> Recipe:
    return Recipe(**{**recipe.as_dict(), "network": {**recipe.network, **changes}})


def _trainer(chosen: TrainOptions, recipe: Recipe | None = None) -> Trainer:
    splits = command.load_splits(chosen)
    return prepare(chosen, recipe or recipe_for(chosen, splits), splits).trainer


def _weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def _command(module: Any, *arguments: str) -> int:
    """Run on one thread: tests run beside others, and threads that wait for one another then compute for seconds."""
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args([*arguments, "--threads", "1"])))


def test_a_version_is_written_whose_figures_reproduce(
    trained: tuple[Path, WrittenVersion], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, written = trained
    model = ModelStore(root / "store").open("synthetic/1")
    assert written.test is not None
    assert written.test.accuracy > 0.8
    assert {path.name for path in model.path.iterdir()} > {
        *("README.md", "golden.json", "histograms.json", "training.png", "roc.png")
    }
    assert all(path.stat().st_size < 60_000 for path in model.path.glob("*.png"))
    recorded = json.loads((model.path / METRICS_FILE).read_text())
    capsys.readouterr()
    for split in ("validation", "test"):
        source = ["--corpus", str(root / "aclImdb"), "--split", split]
        out = tmp_path / split
        assert _command(evaluate_command, "synthetic", "--store", str(root / "store"), *source, "--out", str(out)) == 0
        again = json.loads((out / METRICS_FILE).read_text())
        assert {name: again[name] for name in SCORES} == {name: recorded[split][name] for name in SCORES}
        assert again["evaluation"] == {"runtime": "torch", "precision": "float32"}
        assert (out / "reliability.png").stat().st_size > 0
    assert f"| accuracy | {written.test.accuracy:.5f} |" in capsys.readouterr().out


@pytest.mark.usefixtures("pictures_left_out")
def test_texts_to_hold_traffic_against_can_be_chosen_later(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training keeps the test split's histograms; an evaluation keeps those of its texts in their place, on request."""
    model = train(options(root)).model
    kept = json.loads((model.path / HISTOGRAMS_FILE).read_text())
    assert kept["data"].endswith(": test split")
    assert {sum(kept[name]["counts"]) for name in ("score", "tokens", "unknown")} == {40}
    for name in ("one.csv", "two.csv"):
        (root / name).write_text("text,label\na good film,positive\nan awful film,negative\n")
    arguments = ["synthetic", "--store", str(root / "store"), "--data", str(root / "one.csv"), str(root / "two.csv")]
    assert _command(evaluate_command, *arguments) == 0
    assert json.loads((model.path / HISTOGRAMS_FILE).read_text()) == kept
    assert _command(evaluate_command, *arguments, "--reference") == 0
    told = capsys.readouterr()
    assert "synthetic/1 on one.csv, two.csv" in told.out
    assert "| texts | 4 |" in told.out
    assert f"{model.path / HISTOGRAMS_FILE}: written" in told.err
    assert read_bins(ModelStore(root / "store").open("synthetic"))["tokens"][0].share == 1
    with pytest.raises(OptionError, match="behaviour suite"):
        _command(evaluate_command, *arguments[:3], "--behaviour", "--reference")


def test_what_is_recorded(trained: tuple[Path, WrittenVersion]) -> None:
    root, written = trained
    model = written.model
    metrics = model.metrics
    assert metrics["command"] == (
        "python -m app train --preset tiny --network gru --corpus aclImdb --name synthetic --seed 1 --device cpu "
        "--threads 1"
    )
    assert metrics["data"]["sizes"] == {"train": 72, "validation": 8, "test": 40, "unlabelled": 10}
    history = metrics["training"]["history"]
    assert len(history) == 3
    assert metrics["training"]["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in history), abs=0.1)
    assert metrics["calibration"]["temperature"] == model.config.temperature
    assert metrics["calibration"]["nll_after"] <= metrics["calibration"]["nll_before"]
    for file in (METRICS_FILE, "README.md"):
        assert str(root) not in (model.path / file).read_text()
    card = (model.path / "README.md").read_text()
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", card):
        assert (model.path / image).exists(), image
    assert metrics["command"] in card


def test_the_seed_reproduces_and_matters(root: Path) -> None:
    runs = []
    for number, seed in enumerate((1, 1, 2)):
        trainer = _trainer(options(root, seed=seed, run=root / f"run{number}"))
        trainer.run()
        runs.append(_weights(trainer))
    assert _same(runs[0], runs[1])
    assert not _same(runs[0], runs[2])


@pytest.mark.parametrize("stop", [1, 9, 13])
def test_a_resumed_run_is_bit_identical(root: Path, monkeypatch: pytest.MonkeyPatch, stop: int) -> None:
    whole = _trainer(options(root, run=root / "whole"))
    whole.run()

    interrupted = _trainer(options(root))
    real, steps = Trainer._step, []

    def step(self: Trainer, batch: np.ndarray) -> None:
        real(self, batch)
        steps.append(batch)
        if len(steps) == stop:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            interrupted.run()
    torch.manual_seed(12345)
    resumed = _trainer(options(root))
    resumed.resume()
    resumed.run()
    assert _same(_weights(whole), _weights(resumed))
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert (one.train_loss, one.validation_loss) == (other.train_loss, other.validation_loss)
    assert resumed.best_epoch == whole.best_epoch


@pytest.mark.usefixtures("pictures_left_out")
def test_ctrl_c_says_how_to_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Trainer, batch: np.ndarray) -> None:
        self._progress.seen, self._progress.tokens = 1, 1
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(PRESETS, "article", lambda architecture: tiny_recipe())
    arguments = ["--preset", "article", "--corpus", str(root / "aclImdb"), "--run", str(root / "run")]
    arguments += ["--store", str(root / "store"), "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupt)
        assert _command(command, *arguments) == 130
    told = capsys.readouterr().err
    assert "--resume" in told
    assert "--finish" in told
    assert (root / "run" / STATE_FILE).exists()
    with pytest.raises(DataError, match="a run is there already"):
        _command(command, *arguments)
    assert _command(command, *arguments, "--finish", "--label", "candidate") == 0
    store = ModelStore(root / "store")
    assert store.models() == {"imdb-gru": [1]}
    assert store.labels("imdb-gru").labels == {"candidate": 1}


@pytest.mark.usefixtures("pictures_left_out")
def test_a_run_becomes_one_version(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again it says which, and stores nothing, unless it went on since or was stored elsewhere."""
    monkeypatch.setattr(model_version, "judge_behaviour", lambda *given: [])
    monkeypatch.setitem(PRESETS, "article", lambda architecture: tiny_recipe(epochs=1))
    store, run = ModelStore(root / "store"), root / "run"
    arguments = ["--preset", "article", "--corpus", str(root / "aclImdb"), "--run", str(run)]
    arguments += ["--store", str(store.root), "--device", "cpu"]
    _trainer(options(root, run=run), tiny_recipe(epochs=1)).save()
    for again in ("--finish", "--resume"):
        assert _command(command, *arguments, again) == 0
        with pytest.raises(DataError, match=r"this run is stored as imdb-gru/\d already"):
            _command(command, *arguments, "--finish")
    with pytest.raises(DataError, match=r"this run is stored as imdb-gru/\d already"):
        _command(command, *arguments, "--resume")
    assert store.models() == {"imdb-gru": [1, 2]}
    assert _command(command, *arguments, "--resume", "--name", "other") == 0
    assert store.models() == {"imdb-gru": [1, 2], "other": [1]}


@pytest.mark.parametrize(("label", "told"), [("champion", "training makes no champion"), ("No", "a letter first")])
def test_training_makes_no_champion(label: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """That is said before anything is trained."""
    with pytest.raises(SystemExit):
        _command(command, "--label", label)
    assert told in capsys.readouterr().err


def test_a_label_of_a_teacher_becomes_its_version(root: Path) -> None:
    """The command that trains the same again means the same teacher after the label has moved."""
    store = ModelStore(root / "store")
    add_checkpoint(store.root, "peer")
    store.relabel("peer", lambda labels: labels.moved("champion", 1, "label"))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    arguments = ["--store", str(store.root), "--device", "cpu", "--peer", "peer@champion", "--peer", "other"]
    assert command.options_of(parser.parse_args(arguments)).peers == ("peer/1", "other")


@pytest.mark.usefixtures("pictures_left_out")
def test_pretraining_is_continued_and_its_time_recorded(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in it keeps its state; the same command with --resume goes on to a version."""
    changes = {"pretraining": 2, "pretraining_batch": 8, "teacher": 0.5}
    monkeypatch.setitem(PRESETS, "article", lambda architecture: tiny_recipe(**changes))
    arguments = ["--preset", "article", "--corpus", str(root / "aclImdb"), "--run", str(root / "run")]
    arguments += ["--store", str(root / "store"), "--device", "cpu"]
    real = Pretrainer._train_on

    def interrupt(self: Pretrainer, texts: Any) -> None:
        real(self, texts)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "_train_on", interrupt)
        assert _command(command, *arguments) == 130
    told = capsys.readouterr().err
    assert "--resume" in told
    assert "--finish" not in told
    assert _command(command, *arguments, "--resume") == 0
    model = ModelStore(root / "store").open("imdb-gru")
    recorded = model.metrics["training"]
    assert len(recorded["pretraining"]) == 2
    parts = [*recorded["history"], *recorded["pretraining"]]
    assert recorded["seconds"] == pytest.approx(
        recorded["teacher_seconds"] + sum(part["seconds"] for part in parts), abs=0.1
    )
    assert "as a language model, 2 passes" in (model.path / "README.md").read_text()


def test_another_recipe_seed_or_data_is_not_resumed(root: Path) -> None:
    trainer = _trainer(options(root))
    trainer.save()
    with pytest.raises(DataError, match="other settings"):
        _trainer(options(root, seed=2)).resume()
    with pytest.raises(DataError, match="other settings"):
        _trainer(options(root), tiny_recipe(epochs=9)).resume()
    (root / "aclImdb" / "train" / "neg" / "0_1.txt").unlink(missing_ok=True)
    path = next((root / "aclImdb" / "train" / "neg").glob("5_*.txt"))
    path.write_text("the film was great")
    with pytest.raises(DataError, match="other data"):
        _trainer(options(root)).resume()
    with pytest.raises(DataError, match="no run to resume"):
        _trainer(options(root, run=root / "none")).resume()


def test_a_run_from_before_a_field_was_added_is_resumed(root: Path) -> None:
    trainer = _trainer(options(root))
    trainer.save()
    state = torch.load(root / "run" / STATE_FILE, weights_only=True)
    del state["recipe"]["teacher"], state["data"]
    torch.save(state, root / "run" / STATE_FILE)
    _trainer(options(root)).resume()


def test_early_stopping_keeps_the_best_epoch(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.5, 0.7, 0.6, 0.65, 0.9])
    trainer = _trainer(options(root), tiny_recipe(epochs=5, patience=2))
    seen = []

    def validate(self: Trainer) -> tuple[float, float]:
        seen.append(_weights(self))
        return 1.0, next(accuracies)

    monkeypatch.setattr(Trainer, "validate", validate)
    trainer.run()
    assert len(trainer.history) == 4
    assert trainer.best_epoch == 2
    assert _same(_weights(trainer), seen[1])


@pytest.mark.parametrize(("keep", "kept"), [("accuracy", 3), ("loss", 2)])
def test_the_recipe_says_what_decides_which_epoch_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch, keep: Literal["accuracy", "loss"], kept: int
) -> None:
    """The highest accuracy or the lowest loss on the validation split."""
    figures = iter([(0.5, 0.7), (0.3, 0.7), (0.4, 0.9), (0.6, 0.8)])
    trainer = _trainer(options(root), tiny_recipe(epochs=4, keep=keep))
    monkeypatch.setattr(Trainer, "validate", lambda self: next(figures))
    trainer.run()
    assert trainer.best_epoch == kept


@pytest.mark.usefixtures("pictures_left_out")
@pytest.mark.parametrize("architecture", ["lstm", "rnn"])
def test_a_labelled_file_of_three_classes(root: Path, architecture: str) -> None:
    rows = [{"review": f"{word} film {n}", "mood": word} for n in range(20) for word in ("great", "dull", "odd")]
    (root / "moods.jsonl").write_text("\n".join(map(json.dumps, rows)))
    chosen = options(
        root,
        corpus=None,
        data=root / "moods.jsonl",
        text_column="review",
        label_column="mood",
        architecture=architecture,
        name="moods",
    )
    written = train(chosen)
    assert written.model.config.labels == ("dull", "great", "odd")
    assert written.test is None
    assert written.validation.accuracy > 0.5
    assert "--data moods.jsonl --text-column review --label-column mood" in written.model.metrics["command"]
    arguments = ["moods", "--store", str(root / "store"), "--data", str(root / "moods.jsonl"), "--json"]
    assert _command(evaluate_command, *arguments, "--text-column", "review", "--label-column", "mood") == 0


def test_the_teachers_take_part_and_their_soft_labels_are_kept(root: Path) -> None:
    chosen = options(root)
    splits = command.load_splits(chosen)
    recipe = tiny_recipe(teacher=0.5, vector_passes=2, fragments=7, clues=0.5)
    prepared = prepare(chosen, recipe, splits)
    first = prepared.trainer
    assert len(first._train) == len(splits.train) + len(splits.unlabelled) + 7
    assert [len(targets) for targets in first._train.word_targets] == [len(ids) for ids in first._train.ids]
    assert np.allclose(first._train.targets.sum(-1), 1)
    again = prepare(chosen, recipe, splits)
    assert prepared.teacher_seconds > 0 < again.teacher_seconds
    assert np.array_equal(first._train.targets, again.trainer._train.targets)


@pytest.mark.usefixtures("pictures_left_out")
def test_a_stored_teacher_counts_on_texts_without_a_label_only(root: Path) -> None:
    train(options(root))
    chosen = options(root)
    splits = command.load_splits(chosen)
    recipe = tiny_recipe(teacher=0.5, fragments=7)
    alone = prepare(chosen, recipe, splits).trainer
    advised = prepare(chosen, replace(recipe, peers=("synthetic",)), splits).trainer
    labelled = len(splits.train)
    assert np.array_equal(alone._train.targets[:labelled], advised._train.targets[:labelled])
    with pytest.raises(DataError, match="labels"):
        prepare(chosen, replace(recipe, peers=("synthetic",)), replace(splits, labels=("bad", "good")))
    assert not np.allclose(alone._train.targets[labelled:], advised._train.targets[labelled:], atol=0.01)
    assert np.allclose(advised._train.targets.sum(-1), 1)


def test_recipes_fit_the_data(root: Path) -> None:
    chosen = options(root, preset="best")
    splits = command.load_splits(chosen)
    # The teachers' texts count: 75,000 fragments alone are enough steps.
    assert recipe_for(chosen, splits) == best("gru")
    assert enough_steps(best("gru"), 30_000) == best("gru")
    (root / "two.csv").write_text("text,label\n" + "good,1\nbad,0\n" * 5)
    two = options(root, preset="best", corpus=None, data=root / "two.csv")
    assert recipe_for(two, command.load_splits(two)).teacher == 0
    (root / "three.csv").write_text("text,label\n" + "good,1\nbad,0\nodd,2\n" * 5)
    few = recipe_for(two, command.load_splits(two))
    assert (few.batch_size, few.network["rating"], few.patience) == (8, False, None)
    assert few.epochs * 8 >= 600
    three = options(root, preset="article", corpus=None, data=root / "three.csv")
    assert recipe_for(three, command.load_splits(three)).network["output"] == "softmax"
    assert article("gru").network["output"] == "sigmoid"


def test_the_corpus_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORPUS_VARIABLE, raising=False)
    assert command.corpus_path(None) is None
    monkeypatch.setenv(CORPUS_VARIABLE, "some/corpus")
    assert command.corpus_path(None) == Path("some/corpus")
    assert command.corpus_path(Path("given")) == Path("given")


def test_batches_cover_an_epoch_and_depend_on_seed_and_epoch_alone() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 100)
    order = [batch.tolist() for batch in bucketed_batches(lengths, 8, seed=1, epoch=2)]
    assert sorted(row for batch in order for row in batch) == list(range(100))
    assert order == [batch.tolist() for batch in bucketed_batches(lengths, 8, seed=1, epoch=2)]
    assert order != [batch.tolist() for batch in bucketed_batches(lengths, 8, seed=1, epoch=3)]
    spread = [int(lengths[batch].max() - lengths[batch].min()) for batch in order]
    assert np.mean(spread) < 10


def test_rating_loss_counts_texts_with_stars_only() -> None:
    logits, ratings = torch.zeros(2, 2), torch.zeros(2, 10)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    without = loss(Outputs(logits, ratings), targets, torch.tensor([0, 0]))
    some = loss(Outputs(logits, ratings), targets, torch.tensor([0, 7]))
    assert without.item() == pytest.approx(np.log(2))
    assert some.item() == pytest.approx(np.log(2) + 0.5 * np.log(10) / 2)


def test_a_perturbation_makes_the_loss_grow_fastest() -> None:
    vectors = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    slope = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(2))
    (vectors * slope).sum().backward()  # type: ignore[no-untyped-call]
    found = adversarial_perturbation(vectors, 0.5)
    assert found.square().sum((0, 2)).sqrt().tolist() == pytest.approx([0.5, 0.5])
    for text in range(2):
        assert torch.cosine_similarity(found[:, text].flatten(), slope[:, text].flatten(), dim=0) > 0.999


def test_learning_under_a_perturbation_changes_the_weights_and_repeats_itself(root: Path) -> None:
    runs = []
    for number, length in enumerate((0.0, 0.5, 0.5)):
        trainer = _trainer(options(root, run=root / f"run{number}"), tiny_recipe(adversarial=length, epochs=1))
        trainer.run()
        runs.append(_weights(trainer))
    assert not _same(runs[0], runs[1])
    assert _same(runs[1], runs[2])


def test_balanced_classes_weigh_the_same() -> None:
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    weights = class_weights(targets)
    assert weights.tolist() == pytest.approx([4 / 6, 4 / 2])
    logits = torch.zeros(4, 2)
    common, rare = (
        loss(Outputs(logits[rows], None), torch.from_numpy(targets[rows]), torch.zeros(1), torch.from_numpy(weights))
        for rows in ([0, 1, 2], [3])
    )
    assert 3 * common.item() == pytest.approx(rare.item())
