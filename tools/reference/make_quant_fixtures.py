"""Random blocks of each GGUF format and what the Python `gguf` package widens them to.

    python tools/reference/make_quant_fixtures.py fixtures/quant

writes FORMAT.bin for each format: the number of blocks (u32, little-endian), the blocks, then their elements as f32. Bits of the blocks are random, so that
every field is exercised, but f16 scales are finite (the first block of each file has the largest, the second the smallest).
"""

import pathlib
import sys

import gguf
import numpy as np

# Format: (bytes a block, offsets of its f16 fields).
FORMATS = {
    "F16": (2, [0]),
    "BF16": (2, []),
    "Q4_0": (18, [0]),
    "Q4_1": (20, [0, 2]),
    "Q5_0": (22, [0]),
    "Q5_1": (24, [0, 2]),
    "Q8_0": (34, [0]),
    "Q4_K": (144, [0, 2]),
    "Q5_K": (176, [0, 2]),
    "Q6_K": (210, [208]),
}


def random_blocks(rng: np.random.Generator, n_blocks: int, n_bytes: int, halves: list[int]) -> np.ndarray:
    blocks = rng.integers(0, 256, (n_blocks, n_bytes), dtype=np.uint8)
    for at in halves:
        scale = (rng.standard_normal(n_blocks) * 10.0 ** rng.uniform(-7, 2, n_blocks)).astype(np.float16)
        scale[0], scale[1] = np.float16(65504), np.float16(6e-8)
        blocks[:, at : at + 2] = scale.view(np.uint8).reshape(n_blocks, 2)
    return blocks


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20)
    for name, (n_bytes, halves) in FORMATS.items():
        kind = gguf.GGMLQuantizationType[name]
        block_len, type_size = gguf.GGML_QUANT_SIZES[kind]
        assert type_size == n_bytes, (name, type_size)
        n_blocks = 512 if block_len == 1 else 33 if block_len == 32 else 7
        blocks = random_blocks(rng, n_blocks, n_bytes, halves)
        if name == "BF16":
            blocks[:, 1] &= 0xBF  # no infinities and no NaN
        values = gguf.dequantize(blocks, kind).astype("<f4").ravel()
        assert values.size == n_blocks * block_len and np.isfinite(values).all(), name
        with open(folder / f"{name}.bin", "wb") as file:
            file.write(np.uint32(n_blocks).tobytes() + blocks.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()
