{{- define "sentiment.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sentiment.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sentiment.labels" -}}
{{ include "sentiment.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sentiment.image" -}}
{{- $tag := default (printf "%s%s" .Chart.AppVersion (ternary "-cuda" "" .Values.gpu.enabled)) .Values.image.tag -}}
{{- .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ $tag }}{{ end -}}
{{- end -}}

{{/* Name of the secret with the file of API keys; empty where there are none. */}}
{{- define "sentiment.keysSecret" -}}
{{- if .Values.apiKeys.existingSecret -}}
{{- .Values.apiKeys.existingSecret -}}
{{- else if .Values.apiKeys.lines -}}
{{- include "sentiment.fullname" . }}-keys
{{- end -}}
{{- end -}}

{{/* A setting as its variable's text: no exponent in large numbers, on and off for truth. */}}
{{- define "sentiment.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ printf "%v" . }}{{ end -}}
{{- else if kindIs "bool" . -}}
{{- ternary "on" "off" . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The behaviour of both autoscalers. */}}
{{- define "sentiment.behaviour" -}}
{{- with .Values.autoscaling -}}
scaleUp:
  stabilizationWindowSeconds: {{ .scaleUp.stabilizationWindowSeconds }}
  selectPolicy: Max
  policies:
    - {type: Percent, value: {{ .scaleUp.percent }}, periodSeconds: {{ .scaleUp.periodSeconds }}}
    - {type: Pods, value: {{ .scaleUp.pods }}, periodSeconds: {{ .scaleUp.periodSeconds }}}
scaleDown:
  stabilizationWindowSeconds: {{ .scaleDown.stabilizationWindowSeconds }}
  selectPolicy: Max
  policies:
    - {type: Percent, value: {{ .scaleDown.percent }}, periodSeconds: {{ .scaleDown.periodSeconds }}}
{{- end -}}
{{- end -}}

{{/* Values that fit each by itself but not together. */}}
{{- define "sentiment.check" -}}
{{- $keys := include "sentiment.keysSecret" . -}}
{{- $metrics := get .Values.settings "SENTIMENT_METRICS" | default "auto" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $cores := .Values.resources.limits.cpu | toString -}}
{{- if not (regexMatch "^[1-9][0-9]*$" $cores) -}}
{{- fail (printf "resources.limits.cpu: must be whole cores, such as 2; the service leaves a part of a core out (got %s)" $cores) -}}
{{- end -}}
{{- if not (regexMatch "^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$" .Values.rootPath) -}}
{{- fail (printf "rootPath: must be like /sentiment: a slash first and none at the end, in letters, digits, . _ ~ - (got %s)" .Values.rootPath) -}}
{{- end -}}
{{- if and .Values.apiKeys.lines .Values.apiKeys.existingSecret -}}
{{- fail "apiKeys: lines and existingSecret are two files of keys; leave one empty" -}}
{{- end -}}
{{- if and (not $keys) (hasKey .Values.settings "SENTIMENT_RATE_LIMIT") -}}
{{- fail "settings.SENTIMENT_RATE_LIMIT counts by key; give apiKeys.lines or apiKeys.existingSecret" -}}
{{- end -}}
{{- range $name := list "SENTIMENT_METRICS" "SENTIMENT_DOCS" -}}
{{- if and (not $keys) (eq (get $.Values.settings $name | default "auto") "admin") -}}
{{- fail (printf "settings.%s: admin needs apiKeys.lines or apiKeys.existingSecret" $name) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "SENTIMENT_" .name -}}
{{- fail (printf "extraEnv: %s is a setting; put it into settings, where it is checked" .name) -}}
{{- end -}}
{{- end -}}
{{- if .Values.monitoring.serviceMonitor.enabled -}}
{{- if eq $metrics "off" -}}
{{- fail "monitoring.serviceMonitor: settings.SENTIMENT_METRICS is off, so there is nothing to scrape" -}}
{{- end -}}
{{- if and $keys (ne $metrics "public") (not .Values.monitoring.serviceMonitor.keySecret) -}}
{{- fail "monitoring.serviceMonitor.keySecret: with API keys /metrics asks for one of scope admin; name the secret that holds it, or set settings.SENTIMENT_METRICS to public" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.monitoring.probe.enabled (not .Values.monitoring.probe.prober) -}}
{{- fail "monitoring.probe.prober: give the address of a blackbox exporter, such as blackbox-exporter.monitoring:9115" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- fail "gateway.parentRefs: name your gateway, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.ingress.tlsSecret (not .Values.ingress.host) -}}
{{- fail "ingress.host: give the host that the certificate in ingress.tlsSecret is for" -}}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas: %d is more than maxReplicas, %d" (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq $scaling.type "keda") (not $scaling.prometheusAddress) -}}
{{- fail "autoscaling.prometheusAddress: keda asks Prometheus; give its address, such as http://prometheus-operated.monitoring:9090" -}}
{{- end -}}
{{- end -}}
