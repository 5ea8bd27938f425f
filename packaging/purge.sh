#!/bin/sh
# Take Shoal off this host: `shoald purge` (asks first; --yes does not), then what install.sh put there.
set -eu
[ "$(id -u)" = 0 ] || { echo "purge.sh: needs root" >&2; exit 1; }
prefix=${PREFIX:-/opt/shoal}
"$prefix/bin/shoald" purge "$@"
rm -rf "$prefix" /etc/systemd/system/shoald.service /etc/systemd/system/shoald.socket /usr/local/bin/shoal /usr/local/bin/shoald
