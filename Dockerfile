# One image for every service of docker-compose.yml except PostgreSQL. Its layout is that of a checkout (/app), so that it
# behaves as in the tests. Base images are pinned by release; pin them by digest where you build.

# npm packages contain the chain's native binary and the emoji. No install script is run (.npmrc).
FROM node:22.14.0-bookworm-slim AS parts
WORKDIR /parts
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
 && ANVIL=$(sed -n 's/.*anvil-linux-amd64": "\(.*\)".*/\1/p' package.json) \
 && npm install --no-save --omit=dev --ignore-scripts "@foundry-rs/anvil-linux-$(dpkg --print-architecture)@$ANVIL" \
 && cp node_modules/@foundry-rs/anvil-linux-*/bin/anvil /parts/anvil \
 && rm -rf node_modules/emoji-datasource-google/img/google/sheets*

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
RUN python -m venv .venv
COPY pyproject.toml constraints.txt ./
# torch has a layer of its own, first, because it is the largest and changes least. Set TORCH_INDEX="" for PyPI's build
# with CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN .venv/bin/pip install -c constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    "$(sed -n 's/^ *"\(torch[^"]*\)".*/\1/p' pyproject.toml)"
COPY README.md LICENSE ./
COPY contracts ./contracts
COPY curiosity ./curiosity
COPY node ./node
COPY trainer ./trainer
COPY validator ./validator
COPY witness ./witness
RUN .venv/bin/pip install -c constraints.txt -e . \
 && .venv/bin/python -m compileall -q contracts curiosity node trainer validator witness

FROM python:3.11.13-slim-bookworm AS run
# libseccomp2 is the system-call filter of the decode processes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libseccomp2 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 curiosity \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin curiosity \
 && install -d -o curiosity -g curiosity -m 0700 /data /chain /checkpoints /mirror /network /pairs
COPY --from=parts /parts/anvil /usr/local/bin/anvil
WORKDIR /app
COPY --from=build /app ./
COPY --from=parts /parts/node_modules/emoji-datasource-google ./node_modules/emoji-datasource-google
COPY --from=parts /parts/node_modules/emojibase-data ./node_modules/emojibase-data
COPY deploy/healthy.py ./deploy/healthy.py
ENV PATH=/app/.venv/bin:$PATH HOME=/data PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
USER 10001:10001
HEALTHCHECK NONE
CMD ["curiosity", "--help"]
