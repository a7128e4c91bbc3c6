"""The contestants of ``benchmarks.engine`` that are not part of the service.

Shape legend: B texts, T tokens, E embedding, H hidden units, C classes. All compute a one-layer, one-direction GRU with
a softmax output, as ``app/model/networks.py`` defines it; ONNX and OpenVINO order the gates z, r, n.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from app.model.networks import SentimentNetwork, pad
from app.model.torch_predictor import probabilities_of
from app.sentiment import TokenIds
from app.store import ModelConfig

Array = NDArray[Any]
Weights = dict[str, Array]
Batch: TypeAlias = "Sequence[TokenIds[int]]"


class PackedTorchEngine:
    """``nn.GRU`` over a ``PackedSequence``: torch's own way to compute no padding."""

    def __init__(self, network: SentimentNetwork) -> None:
        if network.config.layers > 1 or network.config.bidirectional:
            raise ValueError("only one layer and one direction are compared")
        self._network = network

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Array:
        network = self._network
        ids, lengths = pad(batch)
        packed = pack_padded_sequence(network.embed(ids), lengths, enforce_sorted=False)
        states, _ = pad_packed_sequence(network.recurrent[0][0](packed)[0])  # type: ignore[index]
        logits = network.head(network.pool(states, lengths)).logits
        return probabilities_of(logits, network.config.temperature).numpy()


class OnnxEngine:
    """ONNX Runtime's GRU operator with the pooling in the graph.

    Raises:
        ImportError: ``onnx`` or ``onnxruntime`` is not installed.
        ValueError: another network than the ones compared.
    """

    def __init__(self, config: ModelConfig, weights: Weights, folder: Path) -> None:
        _check(config)
        import onnx  # type: ignore[import-not-found,unused-ignore]
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        path = folder / "network.onnx"
        onnx.save(_onnx_model(config, weights), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
        self._temperature = config.temperature

    def __call__(self, batch: Batch) -> Array:
        ids, lengths, mask = _padded(batch)
        feed = {"ids": ids.T, "lengths": lengths, "mask": mask.T[..., None]}
        return _softmax(self._session.run(None, feed)[0] / self._temperature)


class OpenVinoEngine:
    """OpenVINO's GRUSequence with the pooling in the graph.

    Args:
        precision: ``f32`` or ``bf16``, OpenVINO's hint.

    Raises:
        ImportError: ``openvino`` is not installed.
        ValueError: another network than the ones compared.
    """

    def __init__(self, config: ModelConfig, weights: Weights, precision: str) -> None:
        _check(config)
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = openvino.Core().compile_model(_openvino_model(config, weights), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._temperature = config.temperature

    def __call__(self, batch: Batch) -> Array:
        ids, lengths, mask = _padded(batch)
        logits = self._request.infer([ids, lengths, mask[..., None]])[0]
        return _softmax(logits / self._temperature)


def _onnx_model(config: ModelConfig, weights: Weights) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    w, u, bias = _onnx_gru(weights, config.hidden_size)
    constants = {
        "embedding": weights["embedding.weight"],
        "w": w[None],
        "u": u[None],
        "bias": bias[None],
        "out_w": weights["output.weight"],
        "out_b": weights["output.bias"],
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "far": np.array(4.0, np.float32),
    }
    node = helper.make_node
    # States beyond a text's length come out as 0; the mask minus 1 pushes them below every state for the maximum.
    nodes = [
        node("Gather", ["embedding", "ids"], ["x"]),
        node(
            "GRU",
            ["x", "w", "u", "bias", "lengths"],
            ["y4", "y_last"],
            hidden_size=config.hidden_size,
            linear_before_reset=1,
        ),
        node("Squeeze", ["y4", "second"], ["y"]),
        node("Squeeze", ["y_last", "first"], ["last"]),
        node("ReduceSum", ["y", "first"], ["sum"], keepdims=0),
        node("ReduceSum", ["mask", "first"], ["tokens"], keepdims=0),
        node("Div", ["sum", "tokens"], ["mean"]),
        node("Sub", ["mask", "one"], ["outside"]),
        node("Mul", ["outside", "far"], ["below"]),
        node("Add", ["y", "below"], ["masked"]),
        node("ReduceMax", ["masked", "first"], ["max"], keepdims=0),
        node("Concat", list(config.pooling), ["features"], axis=1),
        node("Gemm", ["features", "out_w", "out_b"], ["logits"], transB=1),
    ]
    constants["one"] = np.array(1.0, np.float32)
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "network",
        [
            info("ids", TensorProto.INT32, ["T", "B"]),
            info("lengths", TensorProto.INT32, ["B"]),
            info("mask", TensorProto.FLOAT, ["T", "B", 1]),
        ],
        [info("logits", TensorProto.FLOAT, ["B", len(config.labels)])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _openvino_model(config: ModelConfig, weights: Weights) -> Any:
    import openvino
    from openvino import opset14 as ops

    hidden = config.hidden_size
    w, u, bias = _onnx_gru(weights, hidden)
    inner, outer = bias[: 3 * hidden], bias[3 * hidden :]
    # z and r are summed; n keeps its two, because one is inside r * (...).
    bias = np.concatenate([(inner + outer)[: 2 * hidden], inner[2 * hidden :], outer[2 * hidden :]])
    ids = ops.parameter([-1, -1], np.int32)
    lengths = ops.parameter([-1], np.int32)
    mask = ops.parameter([-1, -1, 1], np.float32)
    one, axis = ops.constant(np.float32(1)), ops.constant(np.int64(1))
    x = ops.gather(ops.constant(weights["embedding.weight"]), ids, ops.constant(np.int64(0)))
    texts = ops.gather(ops.shape_of(ids), ops.constant(np.array([0])), ops.constant(np.int64(0)))
    shape = ops.concat([texts, ops.constant(np.array([1, hidden]))], 0)
    start = ops.broadcast(ops.constant(np.float32(0)), shape)
    constants = (ops.constant(np.ascontiguousarray(value[None])) for value in (w, u, bias))
    gru = ops.gru_sequence(x, start, lengths, *constants, hidden, "forward", linear_before_reset=True)
    y = ops.squeeze(gru.output(0), axis)
    below = ops.multiply(ops.subtract(mask, one), ops.constant(np.float32(4)))
    # The CPU plugin reads padding as if it were text: only states before a text's end are right, the final one is not.
    end = ops.subtract(lengths, ops.constant(np.int32(1)))
    pooled = {
        "last": ops.gather(y, end, axis, batch_dims=1),
        "mean": ops.divide(ops.reduce_sum(ops.multiply(y, mask), axis), ops.reduce_sum(mask, axis)),
        "max": ops.reduce_max(ops.add(y, below), axis),
    }
    features = ops.concat([pooled[name] for name in config.pooling], 1)
    logits = ops.matmul(features, ops.constant(weights["output.weight"]), transpose_a=False, transpose_b=True)
    logits = ops.add(logits, ops.constant(weights["output.bias"]))
    return openvino.Model([logits], [ids, lengths, mask], "network")


def _onnx_gru(weights: Weights, hidden: int) -> tuple[Array, Array, Array]:
    """Weights (3H, E), (3H, H) and biases (6H,) with the gates r, z, n put in the order z, r, n."""
    w, u, b_w, b_u = (
        weights[f"recurrent.0.0.{name}_l0"].reshape(3, hidden, -1)[[1, 0, 2]]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return w.reshape(3 * hidden, -1), u.reshape(3 * hidden, -1), np.concatenate([b_w.ravel(), b_u.ravel()])


def _check(config: ModelConfig) -> None:
    if config.architecture != "gru" or config.layers > 1 or config.bidirectional or config.output != "softmax":
        raise ValueError("only a GRU of one layer and one direction with a softmax output is compared")


def _padded(batch: Batch) -> tuple[Array, Array, Array]:
    """Ids (B, T), lengths (B,) and a mask (B, T) of ones where there is a token."""
    lengths = np.fromiter(map(len, batch), np.int32, len(batch))
    ids = np.zeros((len(batch), lengths.max()), np.int32)
    for row, values in enumerate(batch):
        ids[row, : len(values)] = values
    return ids, lengths, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.float32)


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities
