#!/bin/sh
# Installs what `make run`, `make test`, `make static-arm64` or .ci/run need on Debian 12; elsewhere
# names it and stops.
# usage: install-packages.sh run|test|arm64|ci
set -eu
here=$(dirname "$0")
case "${1:-}" in
run) groups='run' ;;
test) groups='run test' ;;
arm64) groups='run test arm64' ;;
ci) groups='run test ci' ;;
*)
    echo "usage: $0 run|test|arm64|ci" >&2
    exit 2
    ;;
esac

wanted=
for group in $groups; do
    wanted="$wanted $(awk -v g="$group" '$1 == g { print $2 }' "$here/packages.debian")"
done

id=
version=
if [ -r /etc/os-release ]; then
    # shellcheck disable=SC1091
    id=$(. /etc/os-release && echo "${ID:-}")
    # shellcheck disable=SC1091
    version=$(. /etc/os-release && echo "${VERSION_ID:-}")
fi
if [ "$id" != debian ] || [ "$version" != 12 ] || ! command -v dpkg-query >/dev/null 2>&1; then
    if [ -n "${LLLM_HAVE_PACKAGES:-}" ]; then
        exit 0
    fi
    echo "This is not Debian 12. Install what these Debian 12 packages hold:" >&2
    for package in $wanted; do echo "  $package" >&2; done
    echo "and run the same command with LLLM_HAVE_PACKAGES=1 in front." >&2
    exit 1
fi

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    case "$status" in ii*) ;; *) missing="$missing $package" ;; esac
done
[ -n "$missing" ] || exit 0

echo "Installing$missing" >&2
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Not root and no sudo here. As root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
case "$missing" in
*:arm64*) $as_root dpkg --add-architecture arm64 ;;
esac
$as_root apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
