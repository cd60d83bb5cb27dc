#!/bin/sh
# debian_packages.sh PROGRAM=PACKAGE...: has the packages of those programs that are missing installed, as root on Debian; a
# file is named by its whole path. Elsewhere it says which are missing: a test that needs one must not be skipped in silence.
set -eu
PATH=$PATH:/usr/sbin:/sbin
missing='' packages=''
for pair in "$@"; do
    if ! command -v "${pair%%=*}" >/dev/null && ! [ -e "${pair%%=*}" ]; then
        missing="$missing ${pair%%=*}" packages="$packages ${pair#*=}"
    fi
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing:$missing. On Debian and Ubuntu:  apt-get install$packages" >&2
    exit 1
fi
echo "installing$packages ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086  # package names are words
apt-get -qq install --no-install-recommends -y $packages >/dev/null
