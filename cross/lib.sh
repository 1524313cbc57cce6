# What the scripts of this folder share. To be sourced from the root of the repository.
# shellcheck shell=bash

root=$PWD
tools=$root/target/tools
me=cross/$(basename "$0")

say() { printf '%s: %s\n' "$me" "$*"; }
fail() { printf "$me: %s\n" "$@" >&2; exit 1; }

# The lines of cross/targets.
targets() { sed -e '/^#/d' -e '/^$/d' cross/targets; }
target_names() { targets | awk '{ print $1 }'; }

# What follows the name of a target: its package architecture, then the emulator that runs it.
architecture() { targets | awk -v target="$1" '$1 == target { print $2 }'; }
emulator() { targets | awk -v target="$1" '$1 == target { $1 = $2 = ""; print substr($0, 3) }'; }

version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

# A date of the source, so that the same source gives the same bytes.
source_date() { git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md; }

# Fails unless each argument is a target; none, and a usage with what there is, is printed.
# The array `wanted` has them afterwards; `all` stands for every one.
wanted=()
want_targets() {
    [ $# -gt 0 ] || fail "usage: $me TARGET ...; targets:" "$(target_names | sed 's/^/  /')"
    if [ "$*" = all ]; then
        mapfile -t wanted < <(target_names)
        return
    fi
    local target
    for target; do
        target_names | grep -qx -- "$target" ||
            fail "$target is not a target of this project; see cross/targets"
    done
    wanted=("$@")
}

# Installs what is missing where that can be done: `need COMMAND PACKAGE`.
need() {
    ! command -v "$1" >/dev/null || return 0
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        say "installing $2"
        apt-get -q update >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-remove \
            --no-install-recommends "$2" >/dev/null || fail "apt-get could not install $2"
        return
    fi
    fail "$1 is missing; on Debian: apt-get install $2"
}
