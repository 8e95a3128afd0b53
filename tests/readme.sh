#!/usr/bin/env bash
# The README's first minute, as a stranger would type it, against the release binary.
set -euo pipefail
kraft=${KRAFT:-$(cd "$(dirname "$0")/.." && pwd)/target/release/kraft}
work=$(mktemp -d)
cd "$work"
trap '"$kraft" down >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

"$kraft" up --detach
"$kraft" topics create orders --partitions 3 --replication-factor 2
seq 1 100000 > lines
"$kraft" produce orders < lines
"$kraft" consume orders --from-beginning --exit-at-end > out
sort -n out | cmp - lines
"$kraft" topics describe orders
"$kraft" quorum status
"$kraft" brokers list
"$kraft" status
"$kraft" down
echo "the README's commands work"
