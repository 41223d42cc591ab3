#!/usr/bin/env python3
"""Whether the model hub's own package reads a cache that `dyag models pull` wrote, and whether dyag reads one that the package's rules made.

    check_hub_cache.py CACHE REPO        looks at a model in a cache, without any network
    check_hub_cache.py --make CACHE REPO FOLDER
                                         puts the files of a folder into a cache, in the layout that the package documents

Needs huggingface_hub. Exits with 1 and says why when something is not as it should be.
"""

import hashlib
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from huggingface_hub import scan_cache_dir, snapshot_download, try_to_load_from_cache


def look(cache: str, repo: str) -> None:
    info = scan_cache_dir(cache)
    if info.warnings:
        sys.exit(f"scan_cache_dir warns: {info.warnings}")
    found = [entry for entry in info.repos if entry.repo_id == repo and entry.repo_type == "model"]
    if len(found) != 1:
        sys.exit(f"scan_cache_dir finds {[entry.repo_id for entry in info.repos]}, expected {repo}")
    for revision in found[0].revisions:
        print(f"{repo} {revision.commit_hash} refs={sorted(revision.refs)} {revision.size_on_disk_str}")
        for file in sorted(revision.files, key=lambda file: file.file_name):
            content = file.file_path.read_bytes()
            name = file.blob_path.name
            if len(name) == 64:
                digest = hashlib.sha256(content).hexdigest()
            else:
                digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if digest != name:
                sys.exit(f"{file.file_name}: the blob is called {name}, its hash is {digest}")
            print(f"  {file.file_name} {file.size_on_disk} {name[:12]}")
    folder = Path(snapshot_download(repo, cache_dir=cache, local_files_only=True))
    config = try_to_load_from_cache(repo, "config.json", cache_dir=cache)
    if Path(config).resolve() != (folder / "config.json").resolve():
        sys.exit(f"try_to_load_from_cache says {config}, snapshot_download {folder}")
    print(f"snapshot_download(local_files_only=True): {folder}")


def make(cache: str, repo: str, source: str) -> None:
    root = Path(cache) / ("models--" + repo.replace("/", "--"))
    commit = hashlib.sha1(repo.encode()).hexdigest()
    for part in ("blobs", "refs", f"snapshots/{commit}"):
        (root / part).mkdir(parents=True)
    for path in sorted(Path(source).iterdir()):
        content = path.read_bytes()
        large = path.suffix in (".safetensors", ".gguf")
        name = hashlib.sha256(content).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        (root / "blobs" / name).write_bytes(content)
        (root / "snapshots" / commit / path.name).symlink_to(os.path.join("..", "..", "blobs", name))
    (root / "refs/main").write_text(commit)
    print(snapshot_download(repo, cache_dir=cache, local_files_only=True))


if len(sys.argv) == 5 and sys.argv[1] == "--make":
    make(*sys.argv[2:])
elif len(sys.argv) == 3:
    look(*sys.argv[1:])
else:
    sys.exit(__doc__)
