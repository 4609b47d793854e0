# Image without a screen: the command line, Python, and workers of dask. Build it in a clone:
#     docker build -t napari-n2n .
#     docker build -t napari-n2n:cuda --build-arg TORCH=cu126 .
# BASE is any image with Python 3.11 or newer. The torch for CUDA brings its own CUDA libraries: the
# host needs only the driver and the NVIDIA container toolkit.
ARG BASE=python:3.11-slim
FROM ${BASE}
ARG TORCH=cpu

# Python of Debian or Ubuntu otherwise refuses to install beside its own packages.
ENV PIP_BREAK_SYSTEM_PACKAGES=1

WORKDIR /opt/napari-n2n
# First the dependencies: this layer is built again only if they change.
COPY requirements-headless.txt constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt -r requirements-headless.txt \
    --extra-index-url https://download.pytorch.org/whl/${TORCH}
COPY . .
RUN pip install --no-cache-dir --no-deps .

# The folder that is shared with the host; with --user the files belong to the caller.
WORKDIR /data
ENV HOME=/tmp
# Not through a shell, so that SIGTERM reaches the command.
ENTRYPOINT ["napari-n2n"]
CMD ["--help"]
