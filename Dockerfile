# One image, three programs: bowline-operator (what it runs unless told otherwise), bowline-worker, bowline.
# `make image` builds it with docker, podman or buildah.

# Debian 13 brings pg_dump 17. A newer source needs a base whose distribution has a newer one: pg_dump refuses to read
# a server that is newer than itself.
ARG PYTHON=python:3.13-slim-trixie

FROM ${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml requirements.lock ./
# The packages first, so that a change of the code does not install them again. Only what the operator and the workers
# need, in the versions that are tested, and as wheels: nothing is compiled here.
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        print(*project["dependencies"], *extras["kubernetes"], *extras["oracle"], sep="\n")' > wanted \
 && python -m venv --without-pip /opt/bowline \
 && python -m pip --python /opt/bowline/bin/python install --no-cache-dir --no-compile --only-binary :all: \
        --constraint requirements.lock --requirement wanted
# The calls of the Kubernetes client that is not asyncio's: 23 MB that nothing here loads.
RUN rm -r /opt/bowline/lib/python*/site-packages/kubernetes/client/api
COPY README.md LICENSE ./
COPY operator operator
COPY worker worker
# The root is read-only where this runs, so what is not compiled now is compiled at every start. By content, not by
# time: builders change the times of files. Not the Kubernetes client's hundreds of models: three are ever loaded.
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
 && python -m pip --python /opt/bowline/bin/python install --no-cache-dir --no-compile --no-deps dist/*.whl \
 && /opt/bowline/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -x 'kubernetes/.*(api|models)/' /opt/bowline/lib

FROM ${PYTHON} AS client
RUN apt-get update \
 && apt-get install --yes --no-install-recommends postgresql-client

FROM ${PYTHON}
# pg_dump's libraries without its package, which would bring all of Perl.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libpq5 liblz4-1 libzstd1 zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
 && groupadd --gid 10001 bowline \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bowline
COPY --from=client /usr/lib/postgresql/*/bin/pg_dump /usr/local/bin/
COPY --from=build /opt/bowline /opt/bowline
ENV PATH=/opt/bowline/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
CMD ["bowline-operator"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Bowline" \
      org.opencontainers.image.description="Moves a live database to another one, and keeps a line back" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
