#!/usr/bin/env bash
# Trains once with one thread and once with two, and compares the bytes.
# usage: threads.sh DYAG [finetune arguments without --output and --threads]
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
dyag=$1
shift
work=$(mktemp -d)
for threads in 1 2; do
    "$dyag" finetune "$@" --threads "$threads" --output "$work/threads-$threads" >"$work/out-$threads.txt" 2>&1 ||
        { tail -n 5 "$work/out-$threads.txt" >&2; exit 2; }
done
"$(dirname "$0")/compare_runs.sh" "$work/threads-1" "$work/threads-2"
rm -r "$work"
