#!/usr/bin/env bash
# Peak memory of a command in gigabytes of 10^9 bytes, without the mapped pages of files.
# usage: anonymous_memory.sh COMMAND [argument ...]      environment: LIMIT_GB, past which the exit status is 1
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
"$@" &
pid=$!
peak=0
while kill -0 "$pid" 2>/dev/null; do
    now=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB$/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    if [ -n "$now" ] && [ "$now" -gt "$peak" ]; then peak=$now; fi
    sleep 0.02
done
wait "$pid" || exit 2
gigabytes=$(awk -v kb="$peak" 'BEGIN { printf "%.3f", kb * 1024 / 1e9 }')
echo "peak memory beside mapped files: $gigabytes GB" >&2
awk -v peak="$gigabytes" -v limit="${LIMIT_GB:-0}" 'BEGIN { exit !(limit == 0 || peak <= limit) }' ||
    { echo "over the limit of $LIMIT_GB GB" >&2; exit 1; }
