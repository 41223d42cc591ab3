# What a developer runs. `just` lists the recipes.

default:
    @just --list

# Format, lints, tests: what must pass before a commit
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# The tests alone; `just test attention` runs those whose name holds the word
test *filter:
    cargo test --workspace {{filter}}

# The whole gate, with the stage that trains a real model where one can be had
ci:
    .ci/run

# Training speed of a model, ten steps on the example dataset
bench model:
    cargo run --release -- finetune --base-model {{model}} --dataset examples/apps10/train.jsonl --max-steps 10 --output $(mktemp -d)/run

# A run killed ten times and resumed must end with the bytes of a run left alone
kill-resume model dataset="examples/apps10/train.jsonl":
    cargo build --release
    tools/acceptance/kill_resume.sh target/release/dyag --base-model {{model}} --dataset {{dataset}}

# One thread and two must give the same bytes
threads model dataset="examples/apps10/train.jsonl":
    cargo build --release
    tools/acceptance/threads.sh target/release/dyag --base-model {{model}} --dataset {{dataset}} --max-steps 4

# Peak memory of a training run
memory model dataset="examples/apps10/train.jsonl":
    cargo build --release
    tools/acceptance/memory.sh target/release/dyag --base-model {{model}} --dataset {{dataset}} --max-steps 4

# The page of a comparison in a browser: accessibility, widths, filters, screenshots in tools/page/seen (needs Node and Chromium)
page file:
    cd tools/page && npm install --no-package-lock --no-fund --no-audit && node check.mjs {{absolute_path(file)}} seen
