"""A whole small run of ``train-reviews``: two sources, the films, all teachers, and one version in the store."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import DataError
from app.model.checkpoint import load_network
from app.model.runtimes import load_predictor
from app.store import ModelStore
from app.text.tokenizer import load_tokenizer
from app.training import behaviour, evaluate_command, model_version
from app.training.batches import predict_sorted
from app.training.command import INTERRUPTED
from app.training.loop import STATE_FILE, Trainer
from app.training.recipe import REVIEWS_FURTHER, Recipe
from app.training.reviews import assembly, command
from app.training.reviews.assembly import averaged, start_from
from app.training.reviews.generated import Generator
from app.training.reviews.mixture import MixtureSizes
from app.training.reviews.sources import LABELS
from app.training.reviews.teachers import fresh_network, geometric_mean, trained
from tests.checkpoints import add_checkpoint
from tests.training.synthetic import BLAME, PRAISE, tiny_recipe, write_corpus

GOOD, SO_SO, BAD = "{} thing, it arrived", "it arrived on day {}", "{} thing, sent it back"


def write_source(path: Path, count: int) -> Path:
    """``count`` texts of each label, a third of them without stars."""
    rows = []
    for number in range(count):
        stars = "" if number % 3 == 0 else "1"
        rows.append(f"{GOOD.format(PRAISE[number % 4])} number {number}\tpositive\t{stars and 5}")
        rows.append(f"{SO_SO.format(number)}\tneutral\t{stars and 3}")
        rows.append(f"{BAD.format(BLAME[number % 4])} number {number}\tnegative\t{stars and 1}")
    path.write_text("text\tlabel\tstars\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def small_recipe(architecture: str) -> Recipe:
    recipe = tiny_recipe(
        epochs=6,
        learning_rate=0.01,
        batch_size=16,
        teacher=0.5,
        crops=6,
        fragments=6,
        reads=30,
        generated=40,
        pieces=60,
    )
    network = {**recipe.network, "vocabulary_size": 3000, "rating": True, "pooling": ("last", "mean", "max")}
    return replace(recipe, network=network, preprocessing=2, preset="reviews")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with everything that the command reads, and version 1; recipe, mixture and behaviour suite are small."""
    folder = tmp_path_factory.mktemp("reviews")
    write_corpus(folder)
    write_source(folder / "shops.tsv", 12)
    write_source(folder / "hotels.tsv", 6)
    write_source(folder / "dev.tsv", 5)
    add_checkpoint(folder / "store", "films", rating=True, pooling=("last", "mean", "max"), hidden_size=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "reviews", small_recipe)
        patch.setattr(assembly, "MixtureSizes", partial(MixtureSizes, unreadable=10, phrases=5, flipped=5))
        patch.setattr(behaviour, "_CASES", 4)
        patch.setattr(behaviour, "_GROUPS", 2)
        # The list of judging words and emoji would hide the sources.
        patch.setattr(Generator, "lexicon", lambda self: [])
        assert run(command, *arguments(folder)) == 0
        yield folder


@pytest.fixture
def figures_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases of behaviour and pictures cost more than training does here."""
    monkeypatch.setattr(model_version, "judge_behaviour", lambda *given: [])
    monkeypatch.setattr(model_version, "plot_training", lambda *given: None)
    monkeypatch.setattr(model_version, "plot_outcome", lambda *given: None)


def arguments(root: Path, *more: str) -> list[str]:
    return [
        *("--corpus", str(root / "aclImdb"), "--data", str(root / "shops.tsv:2"), str(root / "hotels.tsv")),
        *("--dev", str(root / "dev.tsv"), "--peer", "films", "--start", "films/1", "--name", "small"),
        *("--store", str(root / "store"), "--run", str(root / "run"), "--threads", "1", *more),
    ]


def run(module: Any, *given: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(given)))


def interrupted(real: Callable[[Trainer, np.ndarray], None], folder: Path) -> Callable[[Trainer, np.ndarray], None]:
    """A step that is followed by Ctrl-C in the run of one folder."""

    def step(self: Trainer, batch: np.ndarray) -> None:
        real(self, batch)
        if self.folder == folder:
            signal.raise_signal(signal.SIGINT)

    return step


def test_a_version_is_written_and_can_be_evaluated(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three classes, preprocessing 2, what was measured of it, and a command without this machine's paths."""
    model = ModelStore(root / "store").open("small/1")
    assert model.config.labels == LABELS
    assert (model.config.preprocessing, model.config.max_tokens, model.config.head_tokens) == (2, 30, 10)
    metrics = model.metrics
    assert metrics["command"] == (
        "python -m app train-reviews --corpus aclImdb --data shops.tsv:2 hotels.tsv --dev dev.tsv --peer films "
        "--start films/1 --students 2 --name small --seed 1 --threads 1"
    )
    assert metrics["data"]["sizes"] == {"train": 54 + 72, "validation": 15 + 8, "test": 40, "unlabelled": 10}
    assert metrics["sources"]["dev"]["texts"] == 15
    assert metrics["recipe"]["peers"] == ["films"]
    assert metrics["calibration"]["unsure_below"] == model.config.thresholds.unsure_below
    assert metrics["calibration"]["nll_after"] <= metrics["calibration"]["nll_with_temperature"]
    assert metrics["behaviour"]["this version"]
    assert str(root) not in json.dumps(metrics) + (model.path / "README.md").read_text()
    tokenizer, predictor = load_tokenizer(model), load_predictor(model, "cpu")
    texts = [GOOD.format("great"), SO_SO.format(5), BAD.format("awful")]
    said = predict_sorted(predictor, [tokenizer.encode(text).ids for text in texts])
    assert [int(np.argmax(scores.probabilities)) for scores in said] == [2, 1, 0]

    capsys.readouterr()
    given = ["small", "--store", str(root / "store"), "--data", str(root / "dev.tsv"), "--threads", "1", "--json"]
    assert run(evaluate_command, *given) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["polar"] == metrics["sources"]["dev"]


@pytest.mark.usefixtures("figures_left_out")
def test_an_interrupted_run_goes_on_to_the_same_weights(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in either teacher and in either student; the same command again makes the same version at last."""
    again, store = root / "again", ModelStore(root / "store")
    for folder in (again / name for name in ("teacher-forward", "teacher-backward", "student-1", "student-2")):
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_step", interrupted(Trainer._step, folder))
            assert run(command, *arguments(root, "--run", str(again))) == INTERRUPTED
        assert (folder / STATE_FILE).exists()
    assert store.versions("small") == [1]
    assert run(command, *arguments(root, "--run", str(again))) == 0
    one, other = (store.open(f"small/{number}") for number in (1, 2))
    first, second = (load_network(model.path, model.config).state_dict() for model in (one, other))
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)
    assert one.config == other.config


@pytest.mark.usefixtures("figures_left_out")
def test_a_stored_version_may_be_one_of_those_that_the_mean_is_of(root: Path) -> None:
    """The stored version's words are taken; one of other sizes is refused, before anything is trained."""
    folder, store = root / "run", ModelStore(root / "store")
    assert run(command, *arguments(root, "--run", str(folder), "--name", "mean", "--average", "small/1")) == 0
    model = store.open("mean/1")
    assert "--average small/1" in model.metrics["command"]
    with pytest.raises(DataError, match=r"films/1: its sizes are others"):
        run(command, *arguments(root, "--run", str(folder), "--average", "films"))


@pytest.mark.usefixtures("figures_left_out")
def test_a_version_of_another_size_and_what_learns_from_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large network starts from a large one and learns no texts without a label; then it teaches one that goes on
    from a stored version, and is its only teacher."""
    large = replace(small_recipe("gru"), crops=0, fragments=0, preset="reviews-large")
    large = replace(large, network={**large.network, "hidden_size": 24})
    monkeypatch.setattr(assembly, "reviews_large", lambda architecture: large)
    monkeypatch.setattr(assembly, "_LARGE_MADE", {})
    store = ModelStore(root / "store")
    add_checkpoint(root / "store", "wide-films", rating=True, pooling=("last", "mean", "max"), hidden_size=24)
    assert (
        run(
            command,
            *arguments(
                root, "--run", str(root / "large"), "--large", "wide-films", "--words", "small", "--name", "wide-small"
            ),
        )
        == 0
    )
    wide = store.open("wide-small/1")
    assert (wide.config.hidden_size, wide.metrics["recipe"]["preset"]) == (24, "reviews-large")
    assert "--large wide-films --start films/1 --students 1" in wide.metrics["command"]

    taught: list[np.ndarray] = []

    def noted(*given: Any) -> np.ndarray:
        taught.append(geometric_mean(*given))
        return taught[-1]

    presets: list[str] = []

    def noting(network: Any, recipe: Recipe, *given: Any) -> Trainer:
        presets.append(recipe.preset)
        return trained(network, recipe, *given)

    def further(architecture: str) -> Recipe:
        return replace(small_recipe(architecture), epochs=2, preset=REVIEWS_FURTHER)

    monkeypatch.setattr(assembly, "geometric_mean", noted)
    monkeypatch.setattr(assembly, "trained", noting)
    monkeypatch.setattr(assembly, "reviews_further", further)
    more = ["--start", "small", "--average", "small", "--students", "1", "--name", "taught"]
    with pytest.raises(DataError, match=r"--start small: what goes on from it is taught by a stored model; name it"):
        run(command, *arguments(root, "--run", str(root / "taught"), *more))
    more += ["--peer", "wide-small"]
    assert run(command, *arguments(root, "--run", str(root / "taught"), *more)) == 0
    model = store.open("taught/1")
    assert model.metrics["recipe"]["peers"] == ["films", "wide-small"]
    assert model.config.hidden_size == 8
    assert taught[0].shape[1] == len(LABELS)
    assert presets == [REVIEWS_FURTHER]
    [line] = [it for it in (model.path / "README.md").read_text().splitlines() if it.startswith("| teachers |")]
    assert line.startswith("| teachers | films and wide-small, those of films alone where there is no label; share 0.5")


def test_a_mean_is_in_the_middle() -> None:
    """Of each weight."""
    networks = [fresh_network(small_recipe("gru"), 20, seed) for seed in (1, 2)]
    first, second = (network.embedding.weight.detach().clone() for network in networks)
    assert np.allclose(averaged(networks).embedding.weight.detach(), (first + second) / 2)


def test_a_run_may_start_from_a_model_of_three_classes(root: Path) -> None:
    """Its output layer is taken as well as its words."""
    model = ModelStore(root / "store").open("small/1")
    tokenizer = load_tokenizer(model)
    network = fresh_network(small_recipe("gru"), len(tokenizer), 1)
    start_from(network, tokenizer, model)
    stored = load_network(model.path, model.config).state_dict()
    assert all(np.array_equal(stored[name].numpy(), found.numpy()) for name, found in network.state_dict().items())


def test_a_model_of_other_sizes_is_no_start_and_of_other_labels_no_teacher(root: Path) -> None:
    add_checkpoint(root / "store", "wide", embedding_size=16)
    with pytest.raises(DataError, match=r"wide/1: embeddings of 16, the recipe has others"):
        run(command, *arguments(root, "--run", str(root / "wide"), "--start", "wide"))
    add_checkpoint(root / "store", "moods", labels=("no", "yes"))
    with pytest.raises(
        DataError, match=r"moods/1: a teacher must tell negative and positive apart, or negative, neutral, positive"
    ):
        run(command, *arguments(root, "--run", str(root / "moods"), "--peer", "moods"))


def test_the_behaviour_suite_of_a_stored_model(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a table and as JSON, the same that was recorded; no labelled texts are read, no picture is drawn."""
    out = root / "out"
    given = ["small/1", "--store", str(root / "store"), "--behaviour", "--threads", "1", "--out", str(out)]
    assert run(evaluate_command, *given) == 0
    said = capsys.readouterr().out
    assert said.startswith("small/1 on behaviour suite, torch float32\n")
    assert "| capability | right is | cases | small/1 |" in said
    recorded = ModelStore(root / "store").open("small/1").metrics["behaviour"]["this version"]
    assert [path.name for path in out.iterdir()] == ["metrics.json"]
    document = json.loads((out / "metrics.json").read_text())
    assert document["behaviour"] == recorded
    assert document["evaluation"] == {"runtime": "torch", "precision": "float32"}
    assert all(f"| {row['name']} |" in said for row in recorded)


@pytest.mark.parametrize("labels", [("no", "yes"), ("mixed", "negative", "positive")])
def test_labels_that_the_suite_does_not_know_are_refused(root: Path, labels: tuple[str, ...]) -> None:
    model = add_checkpoint(root / "store", "others", labels=labels)
    with pytest.raises(DataError, match=r"the suite needs the labels negative, positive and at most neutral"):
        run(evaluate_command, model.reference, "--store", str(root / "store"), "--behaviour")


def test_figures_of_labels_beside_negative_and_positive(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that knows another label has its figures, and none of negative against positive."""
    model = add_checkpoint(root / "store", "others", labels=("mixed", "negative", "positive"))
    path = root / "mixed.csv"
    path.write_text("text,label\na good film,positive\na bad film,negative\na film,mixed\n", encoding="utf-8")
    given = [model.reference, "--store", str(root / "store"), "--data", str(path), "--threads", "1", "--json"]
    assert run(evaluate_command, *given) == 0
    assert "polar" not in json.loads(capsys.readouterr().out)
