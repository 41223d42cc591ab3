#!/usr/bin/env bash
# Peak resident memory of a training run, in gigabytes of 10^9 bytes, mapped pages of the model's file included.
# usage: memory.sh DYAG [finetune arguments without --output]      environment: LIMIT_GB, past which the exit status is 1
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
dyag=$1
shift
work=$(mktemp -d)
"$dyag" finetune "$@" --output "$work/run" >"$work/out.txt" 2>&1 &
pid=$!
peak=0
# The kernel keeps the high-water mark itself, so reading it now and then misses nothing but what is grown between the last look and the end.
while kill -0 "$pid" 2>/dev/null; do
    now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    if [ -n "$now" ] && [ "$now" -gt "$peak" ]; then peak=$now; fi
    sleep 0.05
done
wait "$pid" || { tail -n 5 "$work/out.txt" >&2; exit 2; }
gigabytes=$(awk -v kb="$peak" 'BEGIN { printf "%.2f", kb * 1024 / 1e9 }')
echo "peak resident memory: $gigabytes GB"
rm -r "$work"
awk -v peak="$gigabytes" -v limit="${LIMIT_GB:-0}" 'BEGIN { exit !(limit == 0 || peak <= limit) }' ||
    { echo "over the limit of $LIMIT_GB GB" >&2; exit 1; }
