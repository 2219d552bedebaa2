#!/bin/sh
# Says how large the static program is, or why there is none. usage: show-static.sh FILE
set -eu
if [ ! -f "$1" ]; then
    echo "$1 was not made: static linking needs libc.a, libjansson.a and libutf8proc.a" >&2
    exit 1
fi
tenths=$((($(wc -c <"$1") + 50000) / 100000)) # of a megabyte
printf '%s: %d.%d MB, statically linked, without the built-in model\n' "$1" $((tenths / 10)) \
    $((tenths % 10))
