# The CPU image: docker build -t sentiment-service .
# With CUDA:     docker build -t sentiment-service:cuda --build-arg TORCH=cuda .
# Smaller:       docker build -t sentiment-service:slim --target slim .
# All packages have exact versions and hashes, see requirements/. The base image gets one by its digest:
#                docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:... .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS environment
WORKDIR /build
RUN python3 -m venv --without-pip /opt/venv
# Whatever is installed by it goes beside the environment, so that it becomes a layer of its own.
ENV INSTALL="pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes --prefix"

# PyTorch: cpu, of its own index, or cuda.
FROM environment AS torch
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements/torch*.txt ./
RUN ${INSTALL} /opt/torch ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --requirement torch.txt --requirement "torch-${TORCH}.txt" \
 && cd /opt/torch/lib/python3*/site-packages \
    # What only building on torch and testing need. Without torch_shm_manager it cannot be imported.
 && rm -rf torch/include torch/share torch/test setuptools setuptools-* _distutils_hack distutils-precedence.pth \
 && find torch/bin -type f ! -name torch_shm_manager -delete \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 python3 -c "import torch; torch.nn.GRU(2, 2)(torch.zeros(1, 2))"

# What serving needs.
FROM environment AS libraries
COPY requirements/serve.txt .
RUN ${INSTALL} /opt/libraries --requirement serve.txt \
 && find /opt/libraries -type d -name tests -prune -exec rm -rf {} +

# The same, and what reads Parquet and exports traces.
FROM environment AS all-libraries
COPY requirements/image.txt .
RUN ${INSTALL} /opt/libraries --requirement image.txt \
 && find /opt/libraries -type d -name tests -prune -exec rm -rf {} + \
 && cd /opt/libraries/lib/python3*/site-packages/pyarrow && rm -rf include src

# The package, as any user of it would install it.
FROM environment AS package
COPY requirements/build.txt requirements/compiler.txt ./
RUN python3 -m venv --without-pip /opt/build \
 && pip --python /opt/build/bin/python install --no-cache-dir --no-deps --require-hashes \
        --requirement build.txt --requirement compiler.txt
COPY pyproject.toml setup.py README.md LICENSE ./
COPY app app
COPY sentiment_service sentiment_service
COPY model_store model_store
RUN pip --python /opt/build/bin/python wheel --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
 && pip --python /opt/venv/bin/python install --no-deps --no-index --no-compile --prefix /opt/package /opt/wheel/*.whl \
 && ls /opt/package/lib/python3*/site-packages/sentiment_service/_app/native/_kernel.so \
 && mv /opt/package/lib/python3*/site-packages/sentiment_service/_app/model_store /opt/model_store \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s /opt/package -p /opt/venv /opt/package

FROM ${BASE} AS runtime
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sentiment-service" \
      org.opencontainers.image.description="Sentiment of review texts over HTTP, by small recurrent networks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sentiment
# The application is found from any working directory; nothing is written to but /tmp and SENTIMENT_FILE_FOLDER.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
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
ENTRYPOINT ["python", "-m", "sentiment_service"]
CMD ["serve"]

# For the CPU, without PyTorch, Parquet and traces, with the one model that is served.
FROM runtime AS slim
COPY --from=environment /opt/venv /opt/venv
COPY --from=libraries /opt/libraries /opt/venv
COPY --from=package /opt/model_store model_store
COPY --from=package /opt/package /opt/venv

FROM runtime AS full
COPY --from=environment /opt/venv /opt/venv
COPY --from=torch /opt/torch /opt/venv
COPY --from=all-libraries /opt/libraries /opt/venv
COPY model_store model_store
COPY --from=package /opt/package /opt/venv
