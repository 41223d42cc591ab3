#!/usr/bin/env bash
# Kills a training run (SIGKILL) at ten random moments after its first checkpoint, resumes it each time, and compares what it leaves with a
# run that was left alone. After each kill it checks that the newest checkpoint is at most one save interval behind the log.
#
# usage: kill_resume.sh DYAG [finetune arguments without --output and --save-steps]
# environment: KILLS (10), LEAST kills that will do when the run ends before all of them (KILLS), SAVE_STEPS (2), SEED of the moments (the time of day), WORK (a new temporary folder, removed when all went well)
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dyag=$1
shift
kills=${KILLS:-10}
least=${LEAST:-$kills}
save_steps=${SAVE_STEPS:-2}
RANDOM=${SEED:-$(($(date +%s) % 32768))}
work=${WORK:-$(mktemp -d)}
here=$(dirname "$0")
mkdir -p "$work"

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
log_lines() { if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi; }
newest_checkpoint() {
    find "$1" -maxdepth 1 -type d -name 'checkpoint-*' 2>/dev/null | sed -n 's/.*checkpoint-\([0-9][0-9]*\)$/\1/p' | sort -n | tail -n 1
}
# Only in a subshell: it becomes the program, so that the subshell's process is the one to kill.
train() {
    local output=$1
    shift
    exec "$dyag" finetune "$@" --output "$output" --save-steps "$save_steps" >>"$work/out.txt" 2>>"$work/err.txt"
}

echo "the run that is left alone: $work/whole"
start=$(milliseconds)
train "$work/whole" "$@" &
pid=$!
first_step=""
while kill -0 "$pid" 2>/dev/null; do
    if [ -z "$first_step" ] && [ "$(log_lines "$work/whole/log.jsonl")" -gt 0 ]; then first_step=$(milliseconds); fi
    sleep 0.02
done
wait "$pid" || { tail -n 5 "$work/err.txt" >&2; exit 2; }
end=$(milliseconds)
steps=$(grep -c '"loss"' "$work/whole/log.jsonl")
startup=$((${first_step:-$end} - start))
step=$(((end - ${first_step:-$start}) / steps + 1))
echo "$steps steps, $startup ms to the first, then $step ms each"

resume=()
for ((kill = 1; kill <= kills; kill++)); do
    train "$work/killed" "$@" "${resume[@]}" &
    pid=$!
    while [ -z "$(newest_checkpoint "$work/killed")" ]; do
        kill -0 "$pid" 2>/dev/null || { wait "$pid" || true; tail -n 5 "$work/err.txt" >&2; exit 2; }
        sleep 0.02
    done
    # Anywhere from the program's start to one and a half save intervals into its work.
    range=$((startup + step * save_steps * 3 / 2))
    delay=$(((RANDOM * 32768 + RANDOM) % range))
    sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
    if ! kill -KILL "$pid" 2>/dev/null; then
        wait "$pid" || { tail -n 5 "$work/err.txt" >&2; exit 2; }
        echo "the run ended before kill $kill"
        [ "$kill" -gt "$least" ] || { echo "fewer than $least kills: give it more steps" >&2; exit 1; }
        break
    fi
    wait "$pid" 2>/dev/null || true
    at=$(newest_checkpoint "$work/killed")
    logged=$(tail -n 1 "$work/killed/log.jsonl" | sed -n 's/.*"step": *\([0-9][0-9]*\).*/\1/p')
    echo "kill $kill after $delay ms: resumes from step $at, the log had reached ${logged:-0}"
    [ "$at" -gt 0 ] || exit 1
    if [ $((${logged:-0} - at)) -gt "$save_steps" ]; then
        echo "more than one save interval of work is lost" >&2
        exit 1
    fi
    resume=(--resume)
done
[ -d "$work/killed/final" ] || (train "$work/killed" "$@" --resume) || { tail -n 5 "$work/err.txt" >&2; exit 2; }
"$here/compare_runs.sh" "$work/whole" "$work/killed"
[ -n "${WORK:-}" ] || rm -r "$work"
