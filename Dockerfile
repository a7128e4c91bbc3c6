# The CPU image: docker build -t sentiment-service .
# With CUDA:     docker build -t sentiment-service:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# Smaller:       docker build -t sentiment-service --build-arg EXTRAS=traces .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS torch
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
COPY constraints.txt .
RUN python3 -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch \
    # What only building on torch and testing need.
 && (cd /opt/venv/lib/python3*/site-packages/torch && rm -rf bin include share test) \
 && find /opt/venv -type d -name tests -prune -exec rm -rf {} +

# Everything else goes beside the environment, so that it becomes a layer of its own.
FROM torch AS builder
# Files in every format, figures of a GPU, traces. pyarrow, of the extra files, is most of this layer.
ARG EXTRAS="files gpu traces"
COPY pyproject.toml .
RUN python3 -c "import sys, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = [line for extra in sys.argv[1:] for line in project['optional-dependencies'][extra]]; \
        print(*project['dependencies'], *extras, sep='\n')" ${EXTRAS} > requirements.txt \
 && pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt --prefix /opt/rest \
        --requirement requirements.txt \
 && find /opt/rest -type d -name tests -prune -exec rm -rf {} + \
 && rm -rf /opt/rest/lib/python3*/site-packages/pyarrow/include /opt/rest/lib/python3*/site-packages/pyarrow/src \
 && pip --python /opt/venv/bin/python install --no-cache-dir --constraint constraints.txt ziglang
COPY app app
RUN /opt/venv/bin/python -m app.compiler \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash app

FROM ${BASE}
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sentiment-service" \
      org.opencontainers.image.description="Sentiment of review texts over HTTP, by small recurrent networks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sentiment
COPY --from=torch /opt/venv /opt/venv
COPY --from=builder /opt/rest /opt/venv
COPY model_store /srv/model_store
COPY --from=builder /build/app /srv/app
# The application is found from any working directory; nothing is written to but /tmp and SENTIMENT_FILE_FOLDER.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/srv PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    SENTIMENT_HOST=0.0.0.0 SENTIMENT_MODEL_STORE=/srv/model_store
WORKDIR /srv
USER 10001
EXPOSE 8000
# Isolated and without site packages it takes a tenth of a second; http.client, because urllib would ask a proxy. The
# port is bound before anybody answers: waiting for that is sooner than asking again.
HEALTHCHECK --interval=2s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-ISc", "\
import http.client, os, sys; \
service = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SENTIMENT_PORT') or 8000), timeout=9); \
service.request('GET', '/health/ready'); \
sys.exit(service.getresponse().status != 200)"]
# The supervisor is process 1: it drains on SIGTERM and reaps.
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
