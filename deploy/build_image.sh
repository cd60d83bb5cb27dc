#!/bin/sh
# build_image.sh NAME [OPTION...]: builds the image with docker, podman or buildah, whichever works here, in this order.
set -eu
name=$1
shift
if docker info >/dev/null 2>&1; then
    set -- docker build "$@"
elif command -v podman >/dev/null; then
    set -- podman build --format docker "$@"
elif command -v buildah >/dev/null; then
    # The format docker holds the health check; OCI's has no place for it.
    set -- buildah build --format docker "$@"
else
    echo "building the image needs a running docker, podman or buildah (on Debian: apt-get install buildah)" >&2
    exit 1
fi
echo "building $name with $1 ..." >&2
exec "$@" --file Containerfile --tag "$name" .
