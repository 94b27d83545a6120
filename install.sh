#!/bin/sh
# Installs kobune on this machine and starts a server: from a checkout (it is built then), or with a
# binary that is there already.
#
#   sudo ./install.sh                        build, install, start, wait until the node is Ready
#   sudo KOBUNE_BINARY=FILE ./install.sh     take this binary instead of building one
#   sudo KOBUNE_EXEC="--node-name edge-1" ./install.sh      flags for `kobune server`; for this server leave
#                                            --data-dir and --write-kubeconfig as they are
#   sudo KOBUNE_SKIP_START=true ./install.sh                install only
#   sudo kobune-uninstall.sh                 remove everything again
set -eu

BIN=/usr/local/bin/kobune
LOG=/var/log/kobune.log
STATE=/var/lib/kobune
READY=/run/kobune/ready
KUBECONFIG_FILE=/etc/kobune/kobune.yaml
WAIT_SECONDS=${KOBUNE_WAIT_SECONDS:-120}
here=$(cd "$(dirname "$0")" && pwd)

say()  { printf '[kobune] %s\n' "$*"; }
fail() { printf '[kobune] error: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || fail "this needs root: run it with sudo"

# --- what the distribution has -----------------------------------------------------------------
missing() { for program; do command -v "$program" >/dev/null 2>&1 || [ -x "/usr/sbin/$program" ] || return 0; done; return 1; }

install_packages() {
    packages=
    if missing containerd containerd-shim-runc-v2 runc; then packages="containerd runc"; fi
    if [ -z "${KOBUNE_BINARY:-}" ]; then
        missing protoc && packages="$packages protobuf-compiler"
        missing cc && packages="$packages gcc"
        [ -e /usr/lib/"$(uname -m)"-linux-gnu/libc.a ] || packages="$packages libc6-dev"
    fi
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null 2>&1 || fail "please install these with your package manager, then run this again:$packages"
    say "installing from the distribution:$packages"
    apt-get update -qq || true
    # shellcheck disable=SC2086 # packages are words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        fail "apt-get could not install:$packages"
}

# --- the binary --------------------------------------------------------------------------------
build() {
    # shellcheck source=packaging/rust.sh
    . "$here/packaging/rust.sh"
    find_rust "$here/target/rust" ||
        fail "building needs Rust $RUST_WANTED or newer, and fetching it failed: install it from https://rustup.rs, or name a binary with KOBUNE_BINARY=FILE"
    say "building (the first time takes some minutes)"
    commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo unknown)
    (cd "$here" && KOBUNE_COMMIT=$commit cargo build --quiet --release --package kobune) ||
        fail "the build failed; its messages are above (this is $(rustc --version))"
    host=$(rustc -vV | sed -n 's/^host: //p')
    KOBUNE_BINARY=${CARGO_TARGET_DIR:-$here/target}/$host/release/kobune
}

install_binary() {
    [ -x "$KOBUNE_BINARY" ] || fail "KOBUNE_BINARY=$KOBUNE_BINARY is no program"
    # A new file under a new inode: a running server keeps the old one.
    cp "$KOBUNE_BINARY" "$BIN.new" && chmod 755 "$BIN.new" && mv "$BIN.new" "$BIN"
    cp "$here/packaging/kobune-uninstall.sh" /usr/local/bin/kobune-uninstall.sh
    chmod 755 /usr/local/bin/kobune-uninstall.sh
    if ! command -v kubectl >/dev/null 2>&1; then say "kubectl is not installed: any version from 1.32 to 1.37 works"; fi
}

# --- the service -------------------------------------------------------------------------------
start() {
    rm -f "$READY"
    if [ -d /run/systemd/system ]; then
        # What sed and systemd would read as more than text.
        flags=$(printf '%s' "${KOBUNE_EXEC:-}" | sed 's/[\\&|]/\\&/g; s/%/%%/g')
        sed "s|@FLAGS@|$flags|" "$here/packaging/kobune.service" >/etc/systemd/system/kobune.service
        systemctl daemon-reload
        systemctl enable --quiet kobune
        systemctl restart --no-block kobune
        say "started the service kobune (systemctl status kobune)"
    else
        old=$(cat /run/kobune/server.pid 2>/dev/null || true)
        # The number may have been given to another program since.
        if [ -n "$old" ] && [ "$(readlink "/proc/$old/exe" | sed 's/ (deleted)$//')" = "$BIN" ]; then
            say "stopping the running server (containers run on)"
            kill "$old"
            while kill -0 "$old" 2>/dev/null; do sleep 0.1; done
        fi
        # shellcheck disable=SC2086 # flags are words
        setsid "$BIN" server ${KOBUNE_EXEC:-} >>"$LOG" 2>&1 </dev/null &
        server=$!
        say "started a server without systemd; its log is $LOG"
    fi
}

wait_until_ready() {
    waited=0
    while [ ! -e "$READY" ]; do
        if [ -n "${server:-}" ] && ! kill -0 "$server" 2>/dev/null; then
            tail -n 20 "$LOG"
            fail "the server ended; its last words are above, and \`kobune check-config\` may tell why"
        fi
        [ "$waited" -lt $((WAIT_SECONDS * 5)) ] || {
            if [ -d /run/systemd/system ]; then journalctl -u kobune -n 20 --no-pager; else tail -n 20 "$LOG"; fi
            fail "the node is not Ready after $WAIT_SECONDS s; the log's end is above, and \`kobune check-config\` may tell why"
        }
        if [ $((waited % 25)) = 0 ]; then say "waiting for the node to be Ready ($((waited / 5)) s)"; fi
        waited=$((waited + 1))
        sleep 0.2
    done
}

install_packages
[ -n "${KOBUNE_BINARY:-}" ] || build
install_binary
if [ "${KOBUNE_SKIP_START:-false}" = true ]; then
    say "installed $BIN; start it with: kobune server"
    exit 0
fi
start
wait_until_ready
say "the node is Ready. Next:"
echo
if [ "${SUDO_USER:-root}" = root ]; then
    echo "    export KUBECONFIG=$KUBECONFIG_FILE"
else
    # The file is root's alone.
    echo "    (umask 077; sudo cat $KUBECONFIG_FILE >~/kobune.yaml); export KUBECONFIG=~/kobune.yaml"
fi
cat <<MESSAGE
    kubectl get nodes
    kubectl create deployment web --image nginx

    state: $STATE    remove everything: sudo kobune-uninstall.sh
MESSAGE
