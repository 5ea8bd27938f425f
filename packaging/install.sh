#!/bin/sh
# Install Shoal on this host: a venv of its own in /opt/shoal, shoal and shoald in /usr/local/bin, the systemd unit. Run it again to upgrade.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "install.sh: needs root" >&2; exit 1; }
prefix=${PREFIX:-/opt/shoal}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "install.sh: $python is not Python 3.11 to 3.13; set PYTHON=/path/of/one" >&2
    exit 1
}
[ -x "$prefix/bin/python" ] || "$python" -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt .
mkdir -p "$prefix/share/doc" /usr/local/bin
cp -r README.md ARCHITECTURE.md docs "$prefix/share/doc/"
for name in shoal shoald; do
    ln -sf "$prefix/bin/$name" "/usr/local/bin/$name"
done
if [ -d /etc/systemd/system ]; then
    getent group docker >/dev/null || groupadd --system docker  # who may use the socket; the engine's package makes it too
    cp packaging/shoald.service packaging/shoald.socket /etc/systemd/system/
    if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
echo "Installed. Start the daemon with: systemctl enable --now shoald   (or, without systemd: shoald &)"
