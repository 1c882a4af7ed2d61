# One image for all programs: docker build -t qoe .
#
# Where nothing can be pulled, both bases are arguments, and BINARIES names a folder of the context
# with binaries that were built elsewhere, for the runtime stage to be the same (docs/images.md):
#   docker build --build-arg BUILD_IMAGE=local-bookworm --build-arg RUNTIME_IMAGE=local-bookworm \
#       --build-arg BINARIES=.build-binaries -t qoe .
# Both bases must be Debian 12: the programs are linked with its libraries.
ARG BUILD_IMAGE=swift:6.3-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
# Empty: compile here. Else: take the programs from this folder.
ARG BINARIES=
RUN test -n "$BINARIES" || { apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        pkg-config libnats-dev libpq-dev libssl-dev libsimdjson-dev zlib1g-dev libyaml-dev \
    && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
# The dependencies change seldom: a layer of their own.
COPY Package.swift Package.resolved ./
RUN test -n "$BINARIES" || swift package resolve
COPY . .
RUN set -e; mkdir /programs; \
    for program in probe ingest aggregator diagnoser qoectl; do \
        if [ -n "$BINARIES" ]; then \
            cp "$BINARIES/$program" /programs/; \
        else \
            swift build -c release --static-swift-stdlib --product "$program"; \
            strip -o "/programs/$program" ".build/release/$program"; \
        fi; \
    done

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="Network QoE Telemetry Platform" \
    org.opencontainers.image.description="probe, ingest, aggregator, diagnoser and qoectl"
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        libnats3.4 libpq5 libssl3 libyaml-0-2 zlib1g libsimdjson14 libstdc++6 \
        ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log \
    # A volume that is mounted here first gets this owner.
    && install -d -o 65532 -g 65532 -m 700 /var/lib/qoe-probe
COPY --from=build /programs/ /usr/local/bin/
# Every program writes there where it listens, and the health check reads it: /dev/shm is in memory,
# of this container alone, and can be written to with a read-only root.
ENV QOE_PORT_FILE=/dev/shm/qoe-ports
USER 65532:65532
# Only a program that listens can be asked: with --metrics-listen off, as is the probe's default,
# the container counts as unhealthy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["qoectl", "health"]
CMD ["qoectl", "--help"]
