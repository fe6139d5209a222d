# The connector as an image: `docker build --tag amazon-conversions-connector .`
#
# Two stages build and another runs, so that build tools are not in the final image. Only the packages
# that the lock file names, by hash, are installed: the dependencies, and the extras for AWS, Azure and
# Google. The image runs as a user without a name, needs no volume and writes no file.

FROM rust:1.90-slim-bookworm AS native
COPY native native
# For any Python, so that none is needed here, nor its library to link with.
RUN PYO3_NO_PYTHON=1 PYO3_BUILD_EXTENSION_MODULE=1 cargo build --release --locked --manifest-path native/Cargo.toml

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/connector
COPY deploy/requirements-extras.lock requirements.lock
RUN /opt/connector/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY LICENSE README.md pyproject.toml ./
COPY schemas schemas
COPY connector connector
COPY --from=native native/target/release/libconnector_native.so \
    /opt/connector/lib/python3.11/site-packages/connector_native.abi3.so
# No build isolation, so that nothing unlocked is fetched. Then the build tools are removed.
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
# `env` blocks SIGTERM until the connector listens for it. Without that, a signal that comes before
# Python runs would be lost, because the first process of a container ignores it. `env` becomes the
# connector: no shell and no second process remain.
ENTRYPOINT ["env", "--block-signal=TERM", "connector"]
CMD ["run"]
