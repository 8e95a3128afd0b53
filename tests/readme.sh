#!/usr/bin/env bash
# The README's first minute, as a stranger would type it, against the release binary.
set -euo pipefail
binary=${KRAFT:-$(cd "$(dirname "$0")/.." && pwd)/target/release/kraft}
kraft() { "$binary" "$@"; }
work=$(mktemp -d)
cd "$work"
trap 'kraft down >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

kraft up --detach
kraft topics create orders --partitions 3 --replication-factor 2
seq 1 100000 > lines
kraft produce orders < lines
kraft consume orders --from-beginning --exit-at-end > out
sort -n out | cmp - lines
kraft topics describe orders
kraft quorum status
kraft brokers list

kraft kill 4
kraft status
kraft restart 5
kraft kill 6 --stay-down
kraft restart 6
kraft produce orders < lines
kraft down
kraft up --detach
# Not in the README: all of it is still there.
kraft consume orders --from-beginning --exit-at-end > out
sort -n out | uniq | cmp - lines
test "$(wc -l < out)" -eq 200000
kraft down
echo "the README's commands work"
