"""Values that together set every option of the chart, each to something that can be found again in what is rendered."""

from __future__ import annotations

from tests.deploy.chart import Values

EVERYTHING: Values = {
    "nameOverride": "sentiments",
    "fullnameOverride": "full-name",
    "image": {"repository": "registry.example/reviews", "tag": "tag-1", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "pull-secret"}],
    "settings": {
        "SENTIMENT_CACHE": False,
        "SENTIMENT_MAX_FILE": 2_147_483_648,
        "SENTIMENT_MODEL": "reviews-gru/3",
        "SENTIMENT_RATE_LIMIT": "6000/minute",
        "SENTIMENT_REDIS_TIMEOUT": 0.125,
    },
    "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}],
    "modelStore": {"existingClaim": "model-claim"},
    "feedback": {"existingClaim": "feedback-claim"},
    "apiKeys": {"lines": ["alice classify 0123", "prometheus admin 4567"], "key": "keys-file.txt"},
    "redis": {"existingSecret": "redis-secret", "urlKey": "redis-url", "cacheSecretKey": "redis-digests", "port": 6380},
    "rootPath": "/below/here",
    "drain": {"preStopSeconds": 11, "graceSeconds": 13, "stageSeconds": 17},
    "resources": {"requests": {"cpu": "750m", "memory": "1234Mi"}, "limits": {"cpu": 3, "memory": "4321Mi"}},
    "gpu": {"enabled": True, "resource": "gpu.example/gpu", "runtimeClassName": "gpu-class"},
    "files": {"sizeLimit": "77Gi"},
    "startupSeconds": 301,
    "service": {"type": "LoadBalancer", "port": 8081, "annotations": {"of": "service-annotation"}},
    "ingress": {
        "enabled": True,
        "className": "ingress-class",
        "host": "ingress.example",
        "tlsSecret": "tls-secret",
        "annotations": {"of": "ingress-annotation"},
    },
    "gateway": {"enabled": True, "parentRefs": [{"name": "parent-gateway"}], "hostnames": ["gateway.example"]},
    "autoscaling": {
        "type": "keda",
        "minReplicas": 21,
        "maxReplicas": 42,
        "cpuUtilization": 64,
        "queueSaturation": 0.375,
        "prometheusAddress": "http://prometheus.example:9090",
        "scaleUp": {"stabilizationWindowSeconds": 19, "percent": 231, "pods": 29, "periodSeconds": 37},
        "scaleDown": {"stabilizationWindowSeconds": 601, "percent": 31, "periodSeconds": 83},
    },
    "podDisruptionBudget": {"maxUnavailable": "23%"},
    "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"of": "from-here"}}}],
        "egress": [{"ports": [{"port": 4318, "protocol": "TCP"}]}],
    },
    "monitoring": {
        "serviceMonitor": {
            "enabled": True,
            "interval": "41s",
            "labels": {"of": "monitor-label"},
            "keySecret": "admin-secret",
            "keySecretKey": "admin-key",
        },
        "probe": {
            "enabled": True,
            "prober": "prober.example:9115",
            "module": "module-1",
            "interval": "43s",
            "labels": {"of": "probe-label"},
        },
        "rules": {"enabled": True, "labels": {"of": "rules-label"}},
        "dashboards": {"enabled": True, "labels": {"of": "dashboard-label"}, "annotations": {"of": "in-a-folder"}},
    },
    "podAnnotations": {"of": "pod-annotation"},
    "podLabels": {"of": "pod-label"},
    "nodeSelector": {"of": "node-label"},
    "tolerations": [{"key": "tolerated", "operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "affine", "operator": "Exists"}]}]
            }
        }
    },
    "priorityClassName": "priority-class",
}
"""All that can be set at once."""

ALTERNATIVES: Values = {
    "image": {"digest": f"sha256:{'0123456789abcdef' * 4}"},
    "apiKeys": {"existingSecret": "keys-secret"},
    "settings": {"SENTIMENT_METRICS": "public"},
    "networkPolicy": {"enabled": False},
    "monitoring": {"serviceMonitor": {"enabled": True}},
    "autoscaling": {"type": "hpa"},
}
"""What excludes something of the others."""

FIXED: Values = {"replicas": 47, "drain": {"preStopSeconds": 0}}
"""Without autoscaling, and without a pause before the end."""

CASES: dict[str, Values] = {
    "nothing": {},
    "everything": EVERYTHING,
    "alternatives": ALTERNATIVES,
    "fixed": FIXED,
}
