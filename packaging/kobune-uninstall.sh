#!/bin/sh
# Removes kobune from this machine: the server, its pods, its network, its state. Nothing else.
set -u
[ "$(id -u)" = 0 ] || { echo "this needs root: run it with sudo" >&2; exit 1; }

if [ -d /run/systemd/system ] && [ -e /etc/systemd/system/kobune.service ]; then
    systemctl disable --now kobune
    rm -f /etc/systemd/system/kobune.service
    systemctl daemon-reload
elif [ -s /run/kobune/server.pid ]; then
    pid=$(cat /run/kobune/server.pid)
    # The number may have been given to another program since.
    if [ "$(readlink "/proc/$pid/exe" 2>/dev/null | sed 's/ (deleted)$//')" = /usr/local/bin/kobune ]; then
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    fi
fi
if [ -x /usr/local/bin/kobune ]; then
    /usr/local/bin/kobune reset --yes || { echo "kobune reset failed: nothing more was removed" >&2; exit 1; }
fi
rm -rf /etc/kobune
rm -f /usr/local/bin/kobune /usr/local/bin/kobune-uninstall.sh /var/log/kobune.log
echo "kobune is removed."
