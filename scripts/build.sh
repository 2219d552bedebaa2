#!/bin/sh
# Configures once and builds all, or the targets in TARGETS. usage: build.sh FOLDER [MESON OPTIONS]
set -eu
folder=$1
shift
if [ ! -f "$folder/build.ninja" ]; then
    meson setup "$folder" "$@" >"$folder.log" 2>&1 || {
        cat "$folder.log" >&2
        exit 1
    }
    rm -f "$folder.log"
elif grep -qi "dependency cmocka found: NO" "$folder/meson-logs/meson-log.txt" 2>/dev/null; then
    # Configured before the test packages were there.
    meson setup --reconfigure "$folder" >/dev/null
fi
# shellcheck disable=SC2086  # a list of targets; none: all
ninja -C "$folder" --quiet ${TARGETS:-}
