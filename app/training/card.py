"""The model card: README.md of a stored version (Mitchell et al. 2019, "Model cards for model reporting")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.store import ModelConfig
from app.training.evaluation import Evaluation, LengthBucket
from app.training.recipe import REVIEWS_FURTHER
from app.training.report import CONFUSION_FILE, CURVES_FILE, LENGTH_FILE, RELIABILITY_FILE, ROC_FILE

_OF_REVIEWS = ("a network", "one that reads backwards", "n-grams")
_TEACHERS_OF_REVIEWS = {"reviews": _OF_REVIEWS, "reviews-large": _OF_REVIEWS, REVIEWS_FURTHER: ()}
"""What teaches of reviews of any kind, by preset, beside stored models."""
_KINDS = {"label": "the label", "direction": "the direction", "invariance": "one label"}
_CELLS = {"gru": "GRU", "lstm": "LSTM", "rnn": "tanh RNN"}


def model_card(name: str, config: ModelConfig, metrics: dict[str, Any], judged: Evaluation, split: str) -> str:
    """The card as Markdown.

    Args:
        name: the model's name in the store.
        config: its configuration, temperature included.
        metrics: the document written to ``metrics.json``.
        judged: the figures shown, measured on the stored weights.
        split: what they were measured on.
    """
    sections = [
        f"# {name}\n\n{_summary(config, metrics, judged, split)}",
        f"## Network\n\n{_network(config, metrics)}",
        f"## Training\n\n{_training(metrics)}",
        f"## Figures on the {split} split\n\n{_figures(judged)}",
        *_by_source(metrics),
        *_behaviour(metrics),
        f"## Calibration\n\n{_calibration(config, metrics)}",
        f"## Limits of use\n\n{_limits(config, metrics)}",
    ]
    return "\n\n".join(sections) + "\n"


def figures_table(judged: Evaluation) -> str:
    """The main figures as a Markdown table."""
    rows = [
        ("texts", f"{judged.texts:,}"),
        ("accuracy", f"{judged.accuracy:.5f}"),
        ("precision", f"{judged.precision:.5f}"),
        ("recall", f"{judged.recall:.5f}"),
        ("F1", f"{judged.f1:.5f}"),
        ("ROC AUC", "undefined" if judged.roc_auc is None else f"{judged.roc_auc:.5f}"),
        ("expected calibration error (15 bins)", f"{judged.calibration_error:.5f}"),
        ("Brier score", f"{judged.brier:.5f}"),
        ("negative log-likelihood", f"{judged.nll:.5f}"),
        ("truncated texts", f"{judged.truncated:.1%}"),
        ("reviews/s, tokenizing included", f"{judged.reviews_per_second:,.0f}"),
    ]
    if judged.rating_mae is not None:
        rows.append(("rating, mean absolute error in stars", f"{judged.rating_mae:.4f}"))
    if judged.rating_rank_correlation is not None:
        rows.append(("rating, rank correlation", f"{judged.rating_rank_correlation:.4f}"))
    if judged.skipped:
        rows.append(("skipped, no word", f"{judged.skipped:,}"))
    return _table(("figure", "value"), rows)


def length_table(judged: Evaluation) -> str:
    """Accuracy by review length as a Markdown table."""
    rows = [(_range(bucket), f"{bucket.texts:,}", f"{bucket.accuracy:.4f}") for bucket in judged.by_length]
    return _table(("tokens", "texts", "accuracy"), rows)


def behaviour_table(columns: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Right cases by capability as a Markdown table, one column per model: rows of ``behaviour_as_dict`` by name."""
    first = next(iter(columns.values()))
    rows = [
        (
            of["name"],
            _KINDS[of["kind"]],
            str(of["cases"]),
            *(f"{part[number]['right'] / part[number]['cases']:.0%}" for part in columns.values()),
        )
        for number, of in enumerate(first)
    ]
    totals = [sum(row["right"] for row in part) / sum(row["cases"] for row in part) for part in columns.values()]
    rows.append(("all", "", str(sum(of["cases"] for of in first)), *(f"{total:.1%}" for total in totals)))
    return _table(("capability", "right is", "cases", *columns), rows)


def source_table(sources: Mapping[str, dict[str, Any]]) -> str:
    """Figures by source as a Markdown table, and the mean over the sources."""
    rows = [
        (
            source,
            f"{of['texts']:,}",
            *(f"{of[name]:.3f}" if name in of else "" for name in ("accuracy", "neutral_f1", "calibration_error")),
        )
        for source, of in sources.items()
    ]
    accuracies = [of["accuracy"] for of in sources.values() if "accuracy" in of]
    if accuracies:
        rows.append(("mean over the sources", "", f"**{sum(accuracies) / len(accuracies):.4f}**", "", ""))
    return _table(("source", "texts", "negative against positive", "F1 of neutral", "calibration error"), rows)


def class_table(judged: Evaluation) -> str:
    """Figures of each class as a Markdown table."""
    rows = [
        (of.label, f"{of.texts:,}", f"{of.precision:.4f}", f"{of.recall:.4f}", f"{of.f1:.4f}") for of in judged.by_class
    ]
    return _table(("class", "texts", "precision", "recall", "F1"), rows)


def _by_source(metrics: dict[str, Any]) -> list[str]:
    found = metrics.get("sources")
    if not found:
        return []
    return [
        "## Figures by source\n\nDevelopment texts of each source, which chose the epoch, the calibration and the "
        "thresholds, and were not trained on. Calibration errors where there are 300 texts or more.\n\n"
        + source_table(found)
    ]


def _behaviour(metrics: dict[str, Any]) -> list[str]:
    found = metrics.get("behaviour")
    if not found:
        return []
    return [
        "## Behaviour\n\nCases that nothing was trained or chosen on (`python -m app evaluate MODEL --behaviour`). "
        "Right is the label, or that an added phrase does not move the score the wrong way, or that a group of "
        "sentences keeps its label whichever name stands in it. Neutral also counts as said where neither side gets "
        "75% or more.\n\n" + behaviour_table(found)
    ]


def _summary(config: ModelConfig, metrics: dict[str, Any], judged: Evaluation, split: str) -> str:
    return (
        f"A {_CELLS[config.architecture]} that tells {_listed(config.labels)} texts apart. Accuracy "
        f"**{judged.accuracy:.4f}** on the {judged.texts:,} texts of the {split} split, measured on the weights stored "
        f"here. Trained on {metrics['data']['source']}, {metrics['date']}."
    )


def _network(config: ModelConfig, metrics: dict[str, Any]) -> str:
    direction = "both directions" if config.bidirectional else "one direction"
    tail = config.max_tokens - config.head_tokens
    kept = f"first {config.head_tokens} and last {tail}" if config.head_tokens else f"last {tail}"
    rows = [
        ("architecture", f"{_CELLS[config.architecture]}, {config.layers} layer(s), {direction}"),
        ("vocabulary", f"{config.vocabulary_size:,} words"),
        ("embedding", str(config.embedding_size)),
        ("hidden units", str(config.hidden_size)),
        ("pooling", ", ".join(config.pooling)),
        ("output", f"{config.output}, {len(config.labels)} classes" + (", star rating" if config.rating else "")),
        ("longest text", f"{config.max_tokens} tokens; of a longer one the {kept}"),
        ("parameters", f"{metrics['parameters']:,}, stored in half precision"),
    ]
    return _table(("", ""), rows)


def _training(metrics: dict[str, Any]) -> str:
    training, recipe, data = metrics["training"], metrics["recipe"], metrics["data"]
    sizes = ", ".join(f"{name} {count:,}" for name, count in data["sizes"].items() if count)
    rows = [
        ("data", f"{data['source']}: {sizes}"),
        ("preset", f"`{recipe['preset']}`"),
        ("epochs", f"{len(training['history'])} of at most {recipe['epochs']}, epoch {training['best_epoch']} kept"),
        ("longest text", f"{recipe['network']['max_tokens']} tokens"),
        ("batch size", str(recipe["batch_size"])),
        ("optimizer", _optimizer(recipe)),
        ("dropout", _dropout(recipe["network"])),
        ("seed", str(metrics["seed"])),
        ("time", f"{training['seconds']:,.0f} s on {training['device']}, {training['threads']} thread(s)"),
        ("versions", f"Python {metrics['machine']['python']}, PyTorch {metrics['machine']['torch']}"),
    ]
    if training["pretraining"]:
        rows.insert(2, ("pretraining", _pretraining(training["pretraining"])))
    if training["teacher_seconds"] or recipe["preset"] == REVIEWS_FURTHER:
        rows.insert(-4, ("teachers", _teachers(recipe)))
    return f"{_table(('', ''), rows)}\n\n```\n{metrics['command']}\n```\n\n![Training curves]({CURVES_FILE})"


def _pretraining(passes: Sequence[dict[str, Any]]) -> str:
    perplexities = " / ".join(f"{done['perplexity']:.0f}" for done in passes)
    seconds = sum(done["seconds"] for done in passes)
    return (
        f"as a language model, {len(passes)} passes over all texts but those of the validation and test splits, "
        f"{seconds:,.0f} s; perplexity on validation texts {perplexities}"
    )


def _teachers(recipe: dict[str, Any]) -> str:
    names = ["n-grams"]
    if recipe["vector_passes"]:
        names.append(f"document vectors ({recipe['vector_passes']} passes)")
    names = [*_TEACHERS_OF_REVIEWS.get(recipe["preset"], names)]
    if recipe["peers"]:
        # Of reviews in general, stored models may teach of all texts, but those of films are asked of films alone.
        kind = "those of films alone " if recipe["preset"] in _TEACHERS_OF_REVIEWS else ""
        names.append(f"{' and '.join(recipe['peers'])}, {kind}where there is no label")
    parts = [f" and on {recipe[kind]:,} {kind}" for kind in ("fragments", "crops") if recipe[kind]]
    share = f"share {recipe['teacher']:g} of the targets, all on the unlabelled texts{''.join(parts)}"
    return f"{'; '.join(names)}; {share}"


def _optimizer(recipe: dict[str, Any]) -> str:
    parts = [f"Adam, learning rate {recipe['learning_rate']:g}"]
    if recipe["weight_decay"]:
        parts.append(f"weight decay {recipe['weight_decay']:g}")
    if recipe["warmup"]:
        parts.append(f"warm-up over {recipe['warmup']:.0%} of the steps")
    if recipe["decay"]:
        parts.append("linear decay")
    if recipe["clip"]:
        parts.append(f"gradient norm at most {recipe['clip']:g}")
    if recipe["average"]:
        parts.append(f"weights averaged ({recipe['average']:g} per step)")
    return ", ".join(parts)


def _dropout(network: dict[str, Any]) -> str:
    parts = [
        f"{kind} {share:g}" for kind in ("embedding", "word", "output") if (share := network.get(f"{kind}_dropout"))
    ]
    return ", ".join(parts) or "none"


def _figures(judged: Evaluation) -> str:
    return "\n\n".join(
        [
            figures_table(judged),
            class_table(judged),
            f"![ROC curve]({ROC_FILE}) ![Confusion matrix]({CONFUSION_FILE})",
            length_table(judged),
            f"![Accuracy by length]({LENGTH_FILE})",
        ]
    )


def _calibration(config: ModelConfig, metrics: dict[str, Any]) -> str:
    fitted = metrics["calibration"]
    if "factor" in fitted:
        biases = ", ".join(f"{label} {bias:+.3f}" for label, bias in zip(config.labels, fitted["biases"], strict=True))
        how = (
            f"Logits are multiplied by {fitted['factor']:g} and get a bias each ({biases}), both fitted on the "
            "validation split and kept in the output layer. A temperature alone (Guo et al. 2017) would leave an "
            f"expected calibration error of {fitted['error_with_temperature']:.4f} and a negative log-likelihood of "
            f"{fitted['nll_with_temperature']:.4f}."
        )
    else:
        how = (
            f"Logits are divided by a temperature of {config.temperature:g}, fitted on the validation split (Guo et "
            "al. 2017)."
        )
    return (
        f"{how} On the validation split the expected calibration error went from {fitted['error_before']:.4f} to "
        f"{fitted['error_after']:.4f} and the negative log-likelihood from {fitted['nll_before']:.4f} to "
        f"{fitted['nll_after']:.4f}. Answers below {config.thresholds.unsure_below:g} are `unsure`, texts with more "
        f"than {config.unreadable_above:.0%} unknown and foreign words `unreadable`.\n\n"
        f"![Reliability diagram]({RELIABILITY_FILE})"
    )


def _limits(config: ModelConfig, metrics: dict[str, Any]) -> str:
    source, labels = metrics["data"]["source"], _listed(config.labels)
    sources = metrics.get("sources")
    rights = (
        "\n- The texts it learnt from belong to who wrote them, and most of the sources named above state no licence. "
        "None of the texts is in the model's files; whoever ships the model decides by this list."
        if sources
        else ""
    )
    return (
        f"- It knows texts like those of {source} and always answers one of {labels}, whatever a text is about and in "
        "whatever language; `judgement` says where that is not to be trusted.\n"
        "- Its probabilities are calibrated on such texts only; on others it is usually surer than it should be.\n"
        "- Irony, quotations, comparisons and other people's opinions mislead it.\n"
        f"- What reviewers wrote about groups of people is in its weights: do not judge people with it.{rights}"
    )


def _listed(labels: tuple[str, ...]) -> str:
    shown = labels if len(labels) <= 10 else (*labels[:10], f"{len(labels) - 10} more")
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _range(bucket: LengthBucket) -> str:
    return f"{bucket.low} or more" if bucket.high is None else f"{bucket.low} to {bucket.high}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
