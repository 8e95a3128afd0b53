#!/usr/bin/env bash
# Coverage-guided fuzzing on stable Rust: fuzz/run.sh [SECONDS] [TARGET]...
# The instrumentation is LLVM's own and needs no nightly and no sanitizer; a target's memory is bounded
# by its own allocator. Corpora grow in fuzz/corpus, findings land in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-20}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(peer_frame kafka_request segment_recovery)
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
target=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags leave build scripts and macros alone.
cargo build --quiet --release --target "$target" --target-dir ../target/fuzz
for name in "${targets[@]}"; do
  mkdir -p "corpus/$name" "artifacts/$name"
  echo "fuzzing $name for $seconds s"
  "../target/fuzz/$target/release/$name" "corpus/$name" "seeds/$name" \
    -artifact_prefix="artifacts/$name/" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
    -max_len=65536 -print_final_stats=1 2>&1 | tail -n 12
done
