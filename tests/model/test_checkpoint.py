import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.errors import CheckpointError
from app.model.checkpoint import load_network, save_checkpoint
from app.model.importing import import_model, read_vocabulary
from app.store import WEIGHTS_FILE, ModelStore, write_config
from app.text.word_ids import PAD_TOKEN, UNKNOWN_TOKEN
from tests.checkpoints import WORDS, tiny_config, tiny_network, tiny_tokenizer

CONFIG = tiny_config(bidirectional=True, layers=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, tiny_network(CONFIG), tiny_tokenizer(CONFIG))
    return tmp_path


def test_round_trip_is_exact_in_half_precision(folder: Path) -> None:
    loaded = load_network(folder, CONFIG)
    assert not loaded.training
    for name, tensor in tiny_network(CONFIG).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float()), name


def _missing(weights: dict[str, Tensor]) -> None:
    del weights["recurrent.1.0.weight_hh_l0"]


def _misshapen(weights: dict[str, Tensor]) -> None:
    weights["output.weight"] = weights["output.weight"][:1].contiguous()


def _not_finite(weights: dict[str, Tensor]) -> None:
    weights["embedding.weight"][3, 0] = torch.nan


def _surplus(weights: dict[str, Tensor]) -> None:
    weights["attention.weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_missing, r"tensor recurrent\.1\.0\.weight_hh_l0 is missing"),
        (_misshapen, r"tensor output\.weight has shape \(1, 36\), expected \(2, 36\)"),
        (_not_finite, r"tensor embedding\.weight has values that are not finite"),
        (_surplus, r"unexpected tensor attention\.weight"),
    ],
)
def test_a_bad_tensor_is_named(folder: Path, damage: Callable[[dict[str, Tensor]], None], message: str) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    damage(weights)
    save_file(weights, folder / WEIGHTS_FILE)
    with pytest.raises(CheckpointError, match=rf"{WEIGHTS_FILE}: {message}"):
        load_network(folder, CONFIG)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_named(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=WEIGHTS_FILE):
        load_network(folder, CONFIG)


def test_a_weight_too_large_for_half_precision_is_refused(tmp_path: Path) -> None:
    network = tiny_network(CONFIG)
    with torch.no_grad():
        network.output.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"output\.bias"):
        save_checkpoint(tmp_path, network, tiny_tokenizer(CONFIG))


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """A state dict, a configuration and a vocabulary that fit."""
    paths = {name: tmp_path / name for name in ("weights.pt", "config.json", "vocabulary.txt")}
    torch.save(tiny_network(CONFIG).state_dict(), paths["weights.pt"])
    write_config(CONFIG, paths["config.json"])
    paths["vocabulary.txt"].write_text("\n".join([PAD_TOKEN, UNKNOWN_TOKEN, *WORDS]) + "\n", encoding="utf-8")
    return paths


def _import(root: Path, sources: dict[str, Path]) -> None:
    import_model(ModelStore(root), "mine", sources["weights.pt"], sources["config.json"], sources["vocabulary.txt"])


def test_import_writes_a_version_that_scores_the_same(tmp_path: Path, sources: dict[str, Path]) -> None:
    _import(tmp_path / "store", sources)
    model = ModelStore(tmp_path / "store").open("mine/1")
    ids, lengths = torch.tensor([[2, 3, 4]]), torch.tensor([3])
    scores = load_network(model.path, model.config)(ids, lengths).logits
    torch.testing.assert_close(scores, tiny_network(CONFIG)(ids, lengths).logits, atol=5e-3, rtol=0)


def test_import_maps_the_names_of_one_torch_module(tmp_path: Path, sources: dict[str, Path]) -> None:
    gru = nn.GRU(CONFIG.embedding_size, CONFIG.hidden_size, num_layers=2, bidirectional=True)
    ours = tiny_network(CONFIG).state_dict()
    state = {name: tensor for name, tensor in ours.items() if not name.startswith("recurrent.")}
    state |= {f"gru.{name}": tensor for name, tensor in gru.state_dict().items()}
    torch.save(state, sources["weights.pt"])
    _import(tmp_path / "store", sources)
    model = ModelStore(tmp_path / "store").open("mine")
    network = load_network(model.path, model.config)
    vectors = torch.randn(5, 1, CONFIG.embedding_size)
    states = network.states(vectors, torch.tensor([5]))
    torch.testing.assert_close(states, gru(vectors)[0], atol=5e-3, rtol=0)


def test_import_lists_what_is_expected(tmp_path: Path, sources: dict[str, Path]) -> None:
    torch.save({"foo": torch.zeros(3)}, sources["weights.pt"])
    with pytest.raises(CheckpointError, match=r"(?s)expected:.*embedding\.weight \[\d+, 8\].*found:.*foo \[3\]"):
        _import(tmp_path / "store", sources)
    assert ModelStore(tmp_path / "store").models() == {}


class _Evil:
    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return print, ("executed",)


@pytest.mark.parametrize("kind", ["code", "list", "nested", "noise"])
def test_import_refuses_what_is_not_plain_tensors(
    tmp_path: Path, sources: dict[str, Path], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = sources["weights.pt"]
    if kind == "code":
        path.write_bytes(pickle.dumps({"output.weight": _Evil()}))
    elif kind == "noise":
        path.write_bytes(b"not a pickle at all")
    else:
        torch.save([torch.zeros(1)] if kind == "list" else {"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"weights\.pt: refused, not a plain state dict"):
        _import(tmp_path / "store", sources)
    assert "executed" not in capsys.readouterr().out


def test_import_refuses_a_vocabulary_that_does_not_fit(tmp_path: Path, sources: dict[str, Path]) -> None:
    sources["vocabulary.txt"].write_text(f"{PAD_TOKEN}\n{UNKNOWN_TOKEN}\none\n")
    with pytest.raises(CheckpointError, match=r"vocabulary\.txt: 3 words"):
        _import(tmp_path / "store", sources)


@pytest.mark.parametrize(
    "document", [["<pad>", "<unk>", "a"], {"a": 2, "<pad>": 0, "<unk>": 1}, {"vocabulary": ["<pad>", "<unk>", "a"]}]
)
def test_a_vocabulary_may_be_json(tmp_path: Path, document: object) -> None:
    path = tmp_path / "v.json"
    path.write_text(json.dumps(document))
    assert read_vocabulary(path) == ["<pad>", "<unk>", "a"]


@pytest.mark.parametrize("content", ["{", "3", "[1]", '{"a": 0, "b": 2}', '{"vocabulary": 3}'])
def test_an_unusable_vocabulary_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "v.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=r"v\.json"):
        read_vocabulary(path)
