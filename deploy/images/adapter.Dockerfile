# The adapter's image: one static program, certificate authorities, and nothing else.
#
#   docker build -f deploy/images/adapter.Dockerfile -t adapter:0.1.0 .
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
ARG COMMIT=unknown
ARG PROFILE=release
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/root/.cache --mount=type=cache,target=/src/target \
    COMMIT=${COMMIT} PROFILE=${PROFILE} deploy/images/assemble adapter /out

FROM scratch
COPY --from=build /out/ /
# A number, so that a kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/adapter"]
ARG VERSION=0.1.0
ARG COMMIT=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="adapter" \
      org.opencontainers.image.description="Serves the Kubernetes metrics APIs from Prometheus by prometheus-adapter's rules" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
