# The connector as an image: `docker build --tag amazon-conversions-connector .`
#
# Built in one stage and run in another, so that what builds it is not in what runs. What is installed is what
# requirements.lock names, by hash; the image runs as a user without a name, needs no volume and writes no file.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/connector
COPY requirements.lock .
RUN /opt/connector/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY schemas schemas
COPY connector connector
# Without build isolation, so that nothing unlocked is fetched; then what only built it leaves.
RUN /opt/connector/bin/pip install --no-cache-dir --no-index --no-deps --no-build-isolation . \
    && /opt/connector/bin/pip uninstall --yes hatchling pathspec pluggy tomlkit trove-classifiers setuptools pip

FROM python:3.11-slim-bookworm
COPY --from=build /opt/connector /opt/connector
ENV PATH=/opt/connector/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('LISTEN_PORT') or 8080}/livez\", timeout=4)"]
# A signal that comes before Python runs waits, blocked, until the connector listens: to the first process of a container it
# would be lost. `env` then is the connector itself: it has no shell and no process of its own.
ENTRYPOINT ["env", "--block-signal=TERM", "connector"]
CMD ["run"]
