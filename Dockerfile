# syntax=docker/dockerfile:1
# Two images: `docker build --target server .` and `docker build --target agent .`

# What the dashboard ships to browsers, by the lock file.
FROM node:20-bookworm AS assets
WORKDIR /src
COPY package.json package-lock.json .npmrc Makefile ./
RUN npm ci --omit=dev && make copy-assets

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends cmake pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
COPY --from=assets /src/static/vendor static/vendor
# Queries are checked against .sqlx: no database is needed to build.
ENV SQLX_OFFLINE=true
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin muster-server --bin muster-agent \
 && install -D --target-directory=/out target/release/muster-server target/release/muster-agent

FROM debian:bookworm-slim AS runtime
# ca-certificates brings openssl along, with which docker-compose.yml makes its certificates.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 muster \
 && useradd --uid 10001 --gid muster --home-dir /var/lib/muster --create-home muster \
 && install --directory --owner=muster --group=muster /etc/muster /etc/muster/tls
USER muster
WORKDIR /var/lib/muster

FROM runtime AS server
COPY --from=build /out/muster-server /usr/local/bin/
ENV MUSTER_WEB_ADDR=0.0.0.0:4000 MUSTER_DEVICE_ADDR=0.0.0.0:4001
EXPOSE 4000 4001
# /bin/sh has no sockets; bash has.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
  CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/4000; printf 'GET /status/ready HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3; read -r line <&3; [[ $line == *' 200 '* ]]"]
ENTRYPOINT ["muster-server"]
CMD ["serve"]

FROM runtime AS agent
COPY --from=build /out/muster-agent /usr/local/bin/
# A device's keys, its disk and agent.toml lie here.
VOLUME /var/lib/muster
ENTRYPOINT ["muster-agent"]
CMD ["run", "--config", "/var/lib/muster/agent.toml"]
