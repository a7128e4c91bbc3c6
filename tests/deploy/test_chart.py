"""The chart as helm renders it: objects that Kubernetes takes, for the service as it is."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings, load_settings
from deploy.settings_schema import CHART
from tests.deploy.cases import CASES, EVERYTHING
from tests.deploy.chart import (
    ROOT,
    Values,
    documents,
    environment,
    of_kind,
    pod,
    rendered,
    run_helm,
    service_container,
    tool,
)
from tests.deploy.test_values import leaves

pytestmark = pytest.mark.extra

OF_OPERATORS = {"HTTPRoute", "PrometheusRule", "Probe", "ScaledObject", "ServiceMonitor"}
"""Kinds that Kubernetes itself has no schema of."""
VERSIONS = ("1.30", "1.33", "1.37")
RULES = sorted((ROOT / "monitoring" / "rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "monitoring" / "grafana" / "dashboards").glob("*.json"))


@cache
def case(name: str) -> str:
    """What is rendered of it."""
    return rendered(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_lint_has_nothing_to_say(name: str) -> None:
    """No error and no warning."""
    ended = run_helm(CASES[name], "lint", "--strict")
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CASES)
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    """By the schemas of an old, a middle and a new version; a field that is not there is a fault."""
    objects = documents(case(name))
    for document in objects:
        if document["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(document, version, strict=True)
    assert {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget"} <= {found["kind"] for found in objects}


def test_every_option_has_an_effect() -> None:
    """Each value that tells itself from others is found in what is rendered."""
    text = case("everything")
    for path, value in leaves(EVERYTHING).items():
        if not isinstance(value, bool):
            words = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
            for word in words:
                plain = next(iter(word.values())) if isinstance(word, dict) else word
                shown = "off" if plain is False else str(plain)
                assert shown in text or isinstance(plain, (dict, list)), path
    for word in ("affine", "from-here", "4318"):
        assert word in text
    assert {document["kind"] for document in documents(text)} >= OF_OPERATORS


def test_alternatives_have_an_effect() -> None:
    """A digest, a secret of one's own, autoscaling by CPU, a fixed number of pods, nothing optional."""
    text = case("alternatives")
    assert service_container(text)["image"].endswith("@sha256:" + "0123456789abcdef" * 4)
    assert environment(text)["SENTIMENT_API_KEYS"] == "/run/keys/api-keys.txt"
    assert {"name": "keys", "secret": {"secretName": "keys-secret", "defaultMode": 0o440}} in pod(text)["volumes"]
    assert not of_kind("NetworkPolicy", text)
    assert of_kind("HorizontalPodAutoscaler", text)
    assert "replicas" not in of_kind("Deployment", text)[0]["spec"]
    assert of_kind("Deployment", case("fixed"))[0]["spec"]["replicas"] == 47
    assert "lifecycle" not in service_container(case("fixed"))
    assert not OF_OPERATORS & {document["kind"] for document in documents(case("nothing"))}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 0}, "at '/replicas': minimum: got 0, want 1"),
        ({"colour": "red"}, "additional properties 'colour' not allowed"),
        ({"settings": {"SENTIMENT_MAX_QEUE": 3}}, "additional properties 'SENTIMENT_MAX_QEUE' not allowed"),
        ({"settings": {"SENTIMENT_MAX_QUEUE": 0}}, "at '/settings/SENTIMENT_MAX_QUEUE': minimum: got 0, want 1"),
        ({"settings": {"SENTIMENT_RUNTIME": "x"}}, "value must be one of 'auto', 'native', 'torch'"),
        ({"resources": {"limits": {"cpu": "1500m"}}}, "resources.limits.cpu: must be whole cores"),
        ({"resources": {"limits": None}}, "at '/resources': missing property 'limits'"),
        ({"rootPath": "below"}, "rootPath: must be like /sentiment"),
        ({"extraEnv": [{"name": "SENTIMENT_CACHE"}]}, "extraEnv: SENTIMENT_CACHE is a setting"),
        ({"settings": {"SENTIMENT_RATE_LIMIT": "1/second"}}, "give apiKeys.lines or apiKeys.existingSecret"),
        ({"settings": {"SENTIMENT_DOCS": "admin"}}, "settings.SENTIMENT_DOCS: admin needs apiKeys.lines"),
        ({"apiKeys": {"lines": ["a b c"], "existingSecret": "x"}}, "are two files of keys; leave one empty"),
        ({"autoscaling": {"type": "keda"}}, "autoscaling.prometheusAddress: keda asks Prometheus"),
        ({"autoscaling": {"minReplicas": 11}}, "autoscaling.minReplicas: 11 is more than maxReplicas, 10"),
        ({"autoscaling": {"type": "vpa"}}, "value must be one of 'none', 'hpa', 'keda'"),
        ({"gateway": {"enabled": True}}, "gateway.parentRefs: name your gateway"),
        ({"ingress": {"enabled": True, "tlsSecret": "x"}}, "ingress.host: give the host"),
        ({"monitoring": {"probe": {"enabled": True}}}, "monitoring.probe.prober: give the address"),
        (
            {"apiKeys": {"lines": ["a b c"]}, "monitoring": {"serviceMonitor": {"enabled": True}}},
            "monitoring.serviceMonitor.keySecret: with API keys",
        ),
        (
            {"settings": {"SENTIMENT_METRICS": "off"}, "monitoring": {"serviceMonitor": {"enabled": True}}},
            "so there is nothing to scrape",
        ),
    ],
)
def test_wrong_values_are_refused_by_name(values: Values, said: str) -> None:
    """Before anything is rendered, with the value's path and what would do."""
    ended = run_helm(values, "template", "reviews")
    assert ended.returncode != 0
    assert said in ended.stderr


@pytest.mark.parametrize("name", CASES)
def test_the_service_takes_its_variables(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All are settings, and of values that it does not refuse; a name that it does not know would be a warning."""
    given = {key: value for key, value in environment(case(name)).items() if key.startswith("SENTIMENT_")}
    for key, value in given.items():
        # A folder that the pod mounts is not on this machine.
        monkeypatch.setenv(key, str(tmp_path) if key == "SENTIMENT_FEEDBACK_FOLDER" else value)
    settings = load_settings()
    assert len(given) >= 4
    names = {entry["name"] for entry in service_container(case(name))["env"]}
    assert {key for key in names if key.startswith("SENTIMENT_")} <= {
        f"SENTIMENT_{field.upper()}" for field in Settings.model_fields
    }
    if name == "everything":
        assert (settings.cache, settings.max_file, settings.redis_timeout) == (False, 2_147_483_648, 0.125)
        assert settings.root_path == "/below/here"


@pytest.mark.parametrize("name", CASES)
def test_probes_and_scrapes_ask_for_what_is_there(name: str) -> None:
    """Paths of the service's own document, at the port it listens on, without the proxy's prefix."""
    paths = json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"]
    container = service_container(case(name))
    assert container["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]
    asked = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    asked += [endpoint for found in of_kind("ServiceMonitor", case(name)) for endpoint in found["spec"]["endpoints"]]
    assert {"http"} == {found["port"] for found in asked}
    assert all("get" in paths[found["path"]] for found in asked)
    assert [found["path"] for found in asked[:3]] == ["/health/ready", "/health/ready", "/health/live"]


@pytest.mark.parametrize("name", CASES)
def test_a_pod_is_given_time_to_end(name: str) -> None:
    """Longer than the pause before, the grace time, and three stages of the drain, as it is told them."""
    text = case(name)
    stages = ("workers", "explainer", "engine")
    pause = service_container(text).get("lifecycle", {"preStop": {"exec": {"command": ["sleep", "0"]}}})
    program, seconds = pause["preStop"]["exec"]["command"]
    assert program == "sleep"
    told = environment(text)
    slowest = int(seconds) + float(told["SENTIMENT_SHUTDOWN_GRACE"])
    slowest += len(stages) * float(told["SENTIMENT_DRAIN_TIMEOUT"])
    assert slowest < pod(text)["terminationGracePeriodSeconds"] <= slowest + 10


def test_the_supervisor_is_faster_than_the_kubelet() -> None:
    """What hangs is started again within the service; a pod is ended where that did not help."""
    probe = service_container(case("nothing"))["livenessProbe"]
    patience = probe["periodSeconds"] * probe["failureThreshold"]
    assert patience > 2 * Settings.model_fields["engine_timeout"].default


@pytest.mark.parametrize("name", CASES)
def test_pods_have_next_to_no_rights(name: str) -> None:
    """Not root, nothing writable but folders that are meant to be, no token, no variables of other services."""
    found, container = pod(case(name)), service_container(case(name))
    assert found["automountServiceAccountToken"] is False
    assert found["enableServiceLinks"] is False
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["runAsUser"] == 10001
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {
        "/tmp",
        "/var/tmp",
        *(["/srv/feedback"] if name == "everything" else []),
    }
    [account] = of_kind("ServiceAccount", case(name))
    assert account["automountServiceAccountToken"] is False
    assert account["metadata"]["name"] == found["serviceAccountName"]


def test_selectors_find_the_pods() -> None:
    """Of the deployment, the service, the budget, the policy, the monitor and the spread."""
    [deployment] = of_kind("Deployment", case("everything"))
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()

    def selectors(document: Any) -> list[dict[str, str]]:
        if isinstance(document, list):
            return [found for part in document for found in selectors(part)]
        if not isinstance(document, dict):
            return []
        own = [document["matchLabels"]] if "matchLabels" in document else []
        return own + [found for part in document.values() for found in selectors(part)]

    kinds = ("Deployment", "PodDisruptionBudget", "ServiceMonitor")
    for kind in kinds:
        [document] = of_kind(kind, case("everything"))
        assert selectors(document)
        assert all(selector.items() <= labels for selector in selectors(document)), kind
    [policy] = of_kind("NetworkPolicy", case("everything"))
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
    [service] = of_kind("Service", case("everything"))
    assert service["spec"]["selector"].items() <= labels


def test_rules_are_those_of_monitoring() -> None:
    """No copy: each file is the specification of one object."""
    found = {
        document["metadata"]["name"]: document["spec"] for document in of_kind("PrometheusRule", case("everything"))
    }
    assert found == {f"full-name-{path.stem}": yaml.safe_load(path.read_text()) for path in RULES}


def test_dashboards_are_those_of_monitoring() -> None:
    """No copy: each file, byte for byte, in an object of its own that Grafana's sidecar looks for."""
    maps = of_kind("ConfigMap", case("everything"))
    assert [document["data"] for document in maps] == [
        {f"sentiment-{path.name}": path.read_text()} for path in DASHBOARDS
    ]
    assert all(document["metadata"]["labels"]["grafana_dashboard"] == "1" for document in maps)


def test_a_package_carries_rules_and_dashboards(tmp_path: Path) -> None:
    """The links are followed, so a chart that left the repository renders the same."""
    packed = subprocess.run(
        [tool("helm"), "package", str(CHART), "--destination", str(tmp_path)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert packed.returncode == 0, packed.stderr
    [archive] = tmp_path.glob("*.tgz")
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(EVERYTHING))
    command = [tool("helm"), "template", "reviews", str(archive), "--namespace", "shop", "--values", str(values)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert documents(ended.stdout) == documents(case("everything"))


def test_kustomize_can_patch_it(tmp_path: Path) -> None:
    """What is rendered is a resource as any other."""
    (tmp_path / "all.yaml").write_text(case("everything"))
    patch = {"patch": '[{"op": "add", "path": "/spec/replicas", "value": 5}]', "target": {"kind": "Deployment"}}
    kustomization = {"resources": ["all.yaml"], "patches": [patch]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    ended = subprocess.run(
        [tool("kubectl"), "kustomize", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert of_kind("Deployment", ended.stdout)[0]["spec"]["replicas"] == 5
    assert len(documents(ended.stdout)) == len(documents(case("everything")))
