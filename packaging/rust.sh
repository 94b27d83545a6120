# Finds a Rust that can build kobune, or fetches one. Sourced by install.sh and tests/run: sets PATH,
# and RUSTUP_HOME where needed.
#
#   find_rust FOLDER     0 if `cargo` is there afterwards. FOLDER: where a fetched Rust lives
# shellcheck shell=sh

RUST_WANTED=1.95

rust_is_new_enough() {
    command -v cargo >/dev/null 2>&1 || return 1
    rust_has=$(rustc --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$rust_has" ] && [ "$(printf '%s\n%s\n' "$RUST_WANTED" "$rust_has" | sort -V | head -n 1)" = "$RUST_WANTED" ]
}

find_rust() {
    # sudo leaves the caller's PATH behind, and rustup's cargo looks for its toolchain in HOME, which is root's now.
    for rust_home in "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)" /root; do
        [ -x "$rust_home/.cargo/bin/cargo" ] || continue
        PATH=$rust_home/.cargo/bin:$PATH
        if [ -d "$rust_home/.rustup" ]; then export RUSTUP_HOME="${RUSTUP_HOME:-$rust_home/.rustup}"; fi
        break
    done
    rust_is_new_enough || fetch_rust "$1"
}

# Debian 12's own Rust is too old. The official one goes into a folder of ours: nobody's PATH or home changes.
fetch_rust() {
    command -v curl >/dev/null 2>&1 || apt-get install -y -qq --no-install-recommends curl ca-certificates >/dev/null 2>&1
    mkdir -p "$1"
    export RUSTUP_HOME="$1/rustup" CARGO_HOME="$1/cargo"
    PATH=$CARGO_HOME/bin:$PATH
    rust_is_new_enough && return 0
    echo "fetching Rust $RUST_WANTED with rustup into $1" >&2
    curl --proto '=https' --tlsv1.2 -sSf --connect-timeout 20 https://sh.rustup.rs -o "$1/rustup-init.sh" &&
        sh "$1/rustup-init.sh" -y -q --no-modify-path --profile minimal --default-toolchain "$RUST_WANTED" &&
        rust_is_new_enough
}
