#!/bin/sh
# Install what is missing to run and test Shoal from this folder: a venv of its own, and Debian packages when we are root.
# Says what it does; does nothing the second time.
set -eu
cd "$(dirname "$0")/.."

packages="docker.io nftables libnftables1 iproute2 conntrack busybox-static docker-registry curl ca-certificates"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ]; then
        echo "Installing Debian packages:$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        # shellcheck disable=SC2086
        apt-get install -y -qq --no-install-recommends $missing >/dev/null
    else
        echo "Some tests and the demo need Debian packages. As root, run:"
        echo "    apt-get update && apt-get install -y --no-install-recommends$missing"
    fi
fi

python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3.11 python3.12 python3.13 python3; do
        if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    echo "Shoal needs Python 3.11, 3.12 or 3.13: install one (Debian 12: apt-get install python3 python3-venv)" >&2
    exit 1
fi

stamp=.venv/.installed
wanted=$(cat pyproject.toml constraints.txt | cksum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "Installing Python packages into .venv"
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' 2>&1 | grep -v '^WARNING: Location' || true
    .venv/bin/python -c 'import grpc, msgspec, lmdb, aiodocker, uvloop, pytest, mypy'
    echo "$wanted" > "$stamp"
fi
