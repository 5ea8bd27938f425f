#!/bin/sh
# Take Shoal off this host: leave the swarm, end its tasks, stop the daemon and an engine it started, remove its state. Asks first.
set -eu
[ "$(id -u)" = 0 ] || { echo "purge.sh: needs root" >&2; exit 1; }
prefix=${PREFIX:-/opt/shoal}
data=${DATA_ROOT:-/var/lib/shoal}
runtime=${EXEC_ROOT:-/run/shoal}
if [ "${1:-}" != "--yes" ]; then
    printf 'This ends every task of the swarm on this host and deletes %s. Continue? [y/N] ' "$data"
    read -r answer
    [ "$answer" = y ] || exit 1
fi
shoal swarm leave --force 2>/dev/null || true
if [ -d /run/systemd/system ]; then systemctl disable --now shoald.socket shoald 2>/dev/null || true; fi
for file in "$runtime/shoald.pid" "$runtime/engine/dockerd.pid"; do
    if [ -f "$file" ]; then kill "$(cat "$file")" 2>/dev/null || true; fi
done
sleep 2
awk -v a="$data/" -v b="$runtime/" 'index($2, a) == 1 || index($2, b) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
    umount -l "$mount" || true
done
rm -rf "$data" "$runtime" "$prefix" /etc/systemd/system/shoald.service /etc/systemd/system/shoald.socket /usr/local/bin/shoal /usr/local/bin/shoald
echo "Shoal is gone from this host."
