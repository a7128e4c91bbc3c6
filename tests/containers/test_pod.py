"""The pod that the chart renders, run for real: command, variables, user, limits, read-only root, probes, and its end.

As in a pod, the container lives in the network of another one. That one holds the client, which outlives the service.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.containers.engine import container, docker, inspect, python_in
from tests.deploy.chart import Document, environment, pod, rendered, service_container

pytestmark = [pytest.mark.extra, pytest.mark.containers]

START_LIMIT = 120
PROBE = """
import http.client, sys
service = http.client.HTTPConnection("127.0.0.1", int(sys.argv[2]), timeout=float(sys.argv[3]))
try:
    service.request("GET", sys.argv[1])
    print(service.getresponse().status)
except (ConnectionRefusedError, TimeoutError):
    print(0)
"""
CLIENT = """
import http.client, json, threading, time
ANSWERS, READY = [], threading.Semaphore(0)
HEADERS = {"Content-Type": "application/json"}

def ask(number):
    # Keeps its connection until it is told to close it, which is when the pod is on its way out.
    service = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    for turn in range(10**6):
        service.request("POST", "/classify", json.dumps({"text": f"A lovely film, {number} times {turn}."}), HEADERS)
        answer = service.getresponse()
        ANSWERS.append((answer.status, json.loads(answer.read()).get("label")))
        if turn == 5:
            READY.release()
        if answer.getheader("Connection") == "close":
            return

# Half a body before the signal, the other half when everybody else has been told to go.
late, body = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60), b'{"text": "A lovely film, told slowly."}'
late.putrequest("POST", "/classify")
for name, value in {**HEADERS, "Content-Length": str(len(body))}.items():
    late.putheader(name, value)
late.endheaders(body[:10])
clients = [threading.Thread(target=ask, args=[number]) for number in range(8)]
for client in clients:
    client.start()
for _ in clients:
    assert READY.acquire(timeout=120)
print("under load", flush=True)
for client in clients:
    client.join()
late.send(body[10:])
answer = late.getresponse()
ANSWERS.append((answer.status, json.loads(answer.read()).get("label")))
print(json.dumps({str(pair): ANSWERS.count(pair) for pair in set(ANSWERS)}), flush=True)
"""


def bytes_of(quantity: str) -> int:
    """Memory as Kubernetes writes it."""
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


@contextmanager
def run_pod(text: str, image: str, network: str) -> Iterator[str]:
    """The name of the service's container, run as a kubelet would, in the network of another container."""
    spec, service = pod(text), service_container(text)
    security = spec["securityContext"]
    limits = service["resources"]["limits"]
    options = ["--network", f"container:{network}", "--user", f"{security['runAsUser']}:{security['runAsGroup']}"]
    options += [f"--cap-drop={name}" for name in service["securityContext"]["capabilities"]["drop"]]
    options += ["--security-opt", "no-new-privileges", "--no-healthcheck"]
    options += ["--read-only"] if service["securityContext"]["readOnlyRootFilesystem"] else []
    options += ["--cpus", str(limits["cpu"]), "--memory", str(bytes_of(limits["memory"]))]
    for name, value in environment(text).items():
        options += ["--env", f"{name}={value}"]
    volumes = {volume["name"]: volume["emptyDir"] for volume in spec["volumes"]}
    for mount in service["volumeMounts"]:
        size = bytes_of(volumes[mount["name"]]["sizeLimit"])
        options += ["--tmpfs", f"{mount['mountPath']}:size={size},mode=1777"]
    with container(*options, image=image, command=service["args"]) as name:
        yield name


def probe(network: str, text: str, kind: str) -> int:
    """Status of what a probe asks for; 0 where the connection is refused, or no answer comes in the probe's time."""
    service = service_container(text)
    asked: Document = service[f"{kind}Probe"]
    [port] = [port["containerPort"] for port in service["ports"] if port["name"] == asked["httpGet"]["port"]]
    return int(python_in(network, PROBE, asked["httpGet"]["path"], str(port), str(asked["timeoutSeconds"])))


def succeeds(network: str, text: str, kind: str) -> bool:
    """Whether a probe does, before it has failed as often as it may."""
    threshold = service_container(text)[f"{kind}Probe"]["failureThreshold"]
    return any(probe(network, text, kind) == 200 for _ in range(threshold))


def wait_started(network: str, name: str, text: str) -> None:
    """Probe as the start-up probe does, until it succeeds."""
    deadline = time.monotonic() + START_LIMIT
    while probe(network, text, "startup") != 200:
        state: dict[str, Any] = inspect(name, "{{json .State}}")
        assert state["Running"], docker("logs", name)
        assert time.monotonic() < deadline, docker("logs", name)


@pytest.fixture
def network(slim: str) -> Iterator[str]:
    """A container that only holds a network, as the sandbox of a pod does; it reaches nothing but itself."""
    with container("--network", "none", "--entrypoint", "sleep", image=slim, command=["1800"]) as name:
        yield name


def test_a_pod_serves_and_ends_without_a_loss(slim: str, network: str) -> None:
    """It starts read-only and without rights, probes succeed; at its end, under load, whatever was sent is answered
    right: preStop first, then SIGTERM, all within the time that the pod is given."""
    # Longer than a client may stand still between two requests on a busy machine.
    text = rendered({"drain": {"graceSeconds": 10}})
    service = service_container(text)
    with run_pod(text, slim, network) as name:
        wait_started(network, name, text)
        assert succeeds(network, text, "readiness")
        assert succeeds(network, text, "liveness")
        assert docker("exec", name, "id", "-u") == str(pod(text)["securityContext"]["runAsUser"])
        refused = subprocess.run(
            ["docker", "exec", name, "touch", "/srv/written"], capture_output=True, text=True, timeout=60, check=False
        )
        assert "Read-only file system" in refused.stderr
        cores = "from sentiment_service._app.process.cores import usable_cores; print(usable_cores())"
        assert int(python_in(name, cores)) <= service["resources"]["limits"]["cpu"]

        command = ["docker", "exec", network, "python", "-c", CLIENT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as client:
            assert client.stdout is not None
            try:
                assert client.stdout.readline() == "under load\n"
                ending = time.monotonic()
                docker("exec", name, *service["lifecycle"]["preStop"]["exec"]["command"])
                assert succeeds(network, text, "readiness")
                granted = pod(text)["terminationGracePeriodSeconds"] - (time.monotonic() - ending)
                docker("stop", "--time", str(int(granted)), name, limit=granted + 60)
                said, _ = client.communicate(timeout=60)
            finally:
                client.kill()
        print(f"ended {time.monotonic() - ending:.1f} s after the beginning of preStop; answers: {said}")
        answers: dict[str, int] = json.loads(said)
        assert list(answers) == ["(200, 'positive')"]
        assert sum(answers.values()) > 50
        assert inspect(name, "{{.State.ExitCode}}") == 0
        assert probe(network, text, "liveness") == 0
