"""Ray Serve: an HTTP proxy, replicas that batch and compute."""

import signal

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.model import MAX_BATCH, MAX_WAIT_MS, PORT, WORKERS, Answer, load_classify


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Sentiment:
    def __init__(self) -> None:
        self.model = load_classify()

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=MAX_WAIT_MS / 1000)
    async def classify(self, texts: list[str]) -> list[Answer]:
        return self.model(texts)

    async def __call__(self, request: Request) -> Answer:
        answer: Answer = await self.classify((await request.json())["text"])
        return answer


if __name__ == "__main__":
    ray.init(include_dashboard=False, num_cpus=WORKERS, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT, "access_log": False})
    application = Sentiment.bind()  # type: ignore[attr-defined]
    serve.run(application, route_prefix="/classify")
    signal.pause()
