# Two stages: the first builds a virtual environment from pinned, hashed packages; the second is the image that runs,
# without compiler, pip or sources. For a release, pin both FROM lines to the digest of the image that was tested.

FROM python:3.11-slim-bookworm AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN ["python", "-m", "venv", "--without-pip", "/opt/caducee"]
# Install the packages first, so that this layer changes only with the pins.
COPY requirements/run.txt requirements/build.txt requirements/
RUN pip --python /opt/caducee/bin/python install --no-deps --only-binary=:all: --require-hashes -r requirements/run.txt \
 && pip install --no-deps --only-binary=:all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE cli.py ./
COPY app app
COPY migrations migrations
COPY scheduler scheduler
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/caducee/bin/python install --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim-bookworm AS runtime
# 10001 faces the network, 10002 deletes and signs (docs/operations.md). No account of the host has these numbers, so a file
# that is left behind belongs to nobody.
RUN groupadd --gid 10001 caducee \
 && useradd --uid 10001 --gid caducee --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin caducee \
 && useradd --uid 10002 --gid caducee --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin caducee-scheduler \
 && install --directory --owner caducee-scheduler --group caducee --mode 2750 /var/lib/caducee /var/lib/caducee-vault
COPY --from=builder /opt/caducee /opt/caducee
# MALLOC_*: otherwise glibc returns and reallocates memory for every piece of a large body, which makes uploads two to
# three times slower. PYTHONDONTWRITEBYTECODE: the container may run with a read-only root file system.
ENV PATH=/opt/caducee/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=268435456 \
    MALLOC_TOP_PAD_=16777216 \
    CADUCEE_DATA_DIR=/var/lib/caducee \
    CADUCEE_VAULT=/var/lib/caducee-vault \
    CADUCEE_SEPARATE_USERS=1
# Two volumes: back up the first; never back up, replicate or snapshot the second, the key vault.
VOLUME ["/var/lib/caducee"]
VOLUME ["/var/lib/caducee-vault"]
WORKDIR /var/lib/caducee
USER 10001:10001
EXPOSE 8000
# Liveness only: /readyz also fails for reasons that a restart does not fix. Disable this check in a container that runs
# another command, such as `scheduler`.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["caducee"]
# The other audience, the scheduler and the purge: deploy/compose.yaml.
CMD ["serve", "--host", "0.0.0.0", "--audience", "recipient"]
