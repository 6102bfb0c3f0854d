# The model server's image: the program and the libraries that it is linked with or loads, nothing else.
#
#   docker build -f deploy/images/model-server.Dockerfile -t model-server:0.1.0 .
#   docker build -f deploy/images/model-server.Dockerfile -t model-server-cuda:0.1.0 --build-arg FLAVOR=cuda .
#
# FLAVOR=cpu serves ONNX. FLAVOR=cuda serves TorchScript too, on a GPU or without one; libtorch makes it 3.5 GB.
ARG RUST_IMAGE=docker.io/library/rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
ARG FLAVOR=cpu
# ONNX Runtime and libtorch come from PyPI.
RUN apt-get update && apt-get install --yes --no-install-recommends python3-pip
WORKDIR /src
COPY . .
ARG COMMIT=unknown
ARG PROFILE=release
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/root/.cache --mount=type=cache,target=/src/target \
    COMMIT=${COMMIT} PROFILE=${PROFILE} deploy/images/assemble model-server-${FLAVOR} /out

FROM scratch
COPY --from=build /out/ /
# Where libtorch lies, and where container runtimes put the GPU driver's libraries.
ENV LD_LIBRARY_PATH=/opt/libtorch/lib:/usr/lib64
# Of the driver, what computes and what tells how busy the GPU is.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A number, so that a kubelet can tell that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/model-server"]
ARG VERSION=0.1.0
ARG COMMIT=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="model-server" \
      org.opencontainers.image.description="Serves a model and exports metrics that an autoscaler can trust" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
