#!/usr/bin/env bash
# Compares two folders written by `dyag finetune`, byte for byte. What measures time is left out: `timing` in JSON files, and the sums of those files.
# usage: compare_runs.sh RUN RUN        exit status 1 and a list when they differ
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }

without_timing() {
    case "$1" in
        */SHA256SUMS) grep -v '\.json$' "$1" ;;
        *) tr -d '\n' <"$1" | sed -e 's/"timing": *{[^{}]*}//g' ;;
    esac
}

files_of() { (cd "$1" && find . -type f | sort); }

if ! diff <(files_of "$1") <(files_of "$2") >&2; then
    echo "different files in $1 and $2" >&2
    exit 1
fi
differences=0
while read -r file; do
    case "$file" in
        *.json | *.jsonl | */SHA256SUMS) cmp -s <(without_timing "$1/$file") <(without_timing "$2/$file") ;;
        *) cmp -s "$1/$file" "$2/$file" ;;
    esac || { echo "differs: $file" >&2; differences=$((differences + 1)); }
done < <(files_of "$1")
[ "$differences" -eq 0 ] || exit 1
echo "same bytes: $(files_of "$1" | wc -l) files in $1 and $2"
