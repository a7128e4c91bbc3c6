"""NVIDIA Triton through PyTriton: Triton's C++ front end and dynamic batcher, Python functions that compute."""

import os

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.peers.model import MAX_BATCH, MAX_WAIT_MS, PORT, WORKERS, load_classify

LABEL_BYTES = 64


class Sentiment:
    def __init__(self) -> None:
        self.model = load_classify()

    @batch
    def classify(self, text: np.ndarray) -> dict[str, np.ndarray]:
        answers = self.model([row[0].decode("utf-8") for row in text])
        labels = np.array([[answer["label"].encode()] for answer in answers], dtype=f"S{LABEL_BYTES}")
        return {"label": labels, "score": np.array([[answer["score"]] for answer in answers], dtype=np.float32)}


if __name__ == "__main__":
    grpc_port = int(os.environ["BENCH_SECOND_PORT"])
    config = TritonConfig(http_address="127.0.0.1", http_port=PORT, grpc_port=grpc_port, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="sentiment",
            infer_func=[Sentiment().classify for _ in range(WORKERS)],
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="label", dtype=bytes, shape=(1,)), Tensor(name="score", dtype=np.float32, shape=(1,))],
            config=ModelConfig(
                max_batch_size=MAX_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=MAX_WAIT_MS * 1000)
            ),
        )
        triton.serve()
