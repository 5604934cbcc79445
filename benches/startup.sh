#!/bin/bash
# Writes .cargo/startup.ld again: the functions that a short run calls. The linker puts them side by
# side, so that the kernel reads fewer pages when retry starts.
#   benches/startup.sh && cargo bench --bench overhead
# It needs valgrind. Run it after an update of a dependency, or if retry starts more slowly.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p')
CARGO_PROFILE_RELEASE_STRIP=false cargo build --quiet --release --locked --bin retry --target-dir target/startup
calls() { # ARG...
    valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file="$work/calls" \
        "target/startup/$host/release/retry" "$@" 2>"$work/errors" || [ $? -lt 125 ]
    grep -oE 'fn=\([0-9]+\) [^ ]+' "$work/calls" | cut -d ' ' -f 2
}
{
    calls -- true
    calls --max 3 --jitter full --timeout 1m -- true
    calls --max 2 --delay 1ms --deadline 1h -- false
    calls --breaker startup --state "$work/state" -- true
} >"$work/functions"
{
    echo '/* The functions of a short run, by benches/startup.sh. A name that does not exist has no effect. */'
    printf 'SECTIONS\n{\n    .text.startup :\n    {\n'
    # The hash, the number of a crate and the number of a repeated call differ between compilers and versions.
    sed -nE "/^_/{s/'[0-9]+\$//; s/17h[0-9a-f]{16}E.*/17h*/; s/Cs[0-9A-Za-z]{5,14}_/Cs*_/g; p}" "$work/functions" |
        awk '!seen[$0]++ { print "        *(.text." $0 ")" }'
    printf '    }\n}\nINSERT BEFORE .text;\n'
} >"$work/startup.ld"
install -m 644 "$work/startup.ld" .cargo/startup.ld
