# Everything that itr needs, from the lock, and the project in /app. How it is used: docs/scale.md
#   docker build -t itr .                                        torch for CPUs
#   docker build -t itr:cuda --build-arg TORCH_INDEX= .          torch for NVIDIA GPUs, several GB more
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm

# Where a build of torch for CPUs is found; without it pip takes the one for GPUs, of the same version
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# Extras of pyproject.toml, with commas
ARG EXTRAS=postgres

# git: which state of the code a result comes from. tini: the first process, which hands signals on and collects dead processes
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends git tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home itr \
 && mkdir /app \
 && chown 1000 /app \
 && chmod 1777 /home/itr

ENV HOME=/home/itr PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app

# What changes seldom comes first: a change of code installs no packages again.
COPY --chown=1000 pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=1000 itrcore/__init__.py itrcore/
RUN python -m venv /opt/venv \
 && pip install --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -e ".[$EXTRAS]"

COPY --chown=1000 . .
# Installed in place, so that a checkout mounted at /app is what runs. The project in here has no git, which DVC has to be told.
RUN pip install --no-cache-dir --no-deps -e . \
 && for folder in . experiments/*; do dvc --cd "$folder" config --local core.no_scm true; done \
 && chown -R 1000 /app

USER 1000
ENTRYPOINT ["tini", "--"]
CMD ["itr", "--help"]
