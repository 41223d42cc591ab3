"""Values, and what the reference implementations make of them in each GGUF format.

    python tools/reference/make_quantize_fixtures.py fixtures/quant/quantize [--ggml libggml-base.so]

writes values.bin (f32, rows of 256 of several distributions), FORMAT.bin for the formats that the Python `gguf` package writes (their blocks), and, with
llama.cpp's library, errors.tsv: for the "K" formats the root of the mean square error of each kind of rows, after llama.cpp quantised them and the Python
package widened them again, relative to that of the values (format, kind, rows, error).
"""

import argparse
import ctypes
import pathlib

import gguf
import numpy as np

DETERMINISTIC = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
SEARCHED = ["Q4_K", "Q5_K", "Q6_K"]
ROWS = 16


def kinds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of 256 by kind."""
    size = (ROWS, 256)
    outlier = rng.standard_normal(size) * 0.02
    outlier[np.arange(ROWS), rng.integers(0, 256, ROWS)] = rng.choice([-1.0, 1.0], ROWS)
    edges = np.zeros(size)
    edges[1] = 0.25
    edges[2] = -3.0
    edges[3, 7] = 1e-30
    edges[4] = np.linspace(-1, 1, 256)
    edges[5] = np.abs(rng.standard_normal(256))
    edges[6] = -edges[5]
    edges[7] = np.round(rng.standard_normal(256) * 4) / 2
    edges[8] = rng.standard_normal(256) * 1e-6
    edges[9] = rng.standard_normal(256) * 1e4
    edges[10, ::2] = 1.0
    return {
        "normal": rng.standard_normal(size) * 0.02,
        "heavy tails": rng.standard_t(3, size) * 0.01,
        "one outlier": outlier,
        "sizes by column": rng.standard_normal(size) * np.exp(rng.standard_normal((1, 256))) * 0.02,
        "shifted": rng.standard_normal(size) * 0.02 + 0.05,
        "edges": edges,
    }


def ggml_quantize(library: ctypes.CDLL, kind: gguf.GGMLQuantizationType, values: np.ndarray) -> np.ndarray:
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros(values.size // block_len * block_bytes, dtype=np.uint8)
    call = library.ggml_quantize_chunk
    call.restype = ctypes.c_size_t
    call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    assert call(kind.value, values.ctypes.data, out.ctypes.data, 0, values.size // 256, 256, None) == out.size
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--ggml", help="llama.cpp's libggml-base.so")
    o = parser.parse_args()
    o.folder.mkdir(parents=True, exist_ok=True)
    rows = {name: rows.astype("<f4") for name, rows in kinds(np.random.default_rng(7)).items()}
    values = np.concatenate(list(rows.values()))
    (o.folder / "values.bin").write_bytes(values.tobytes())
    for name in DETERMINISTIC:
        blocks = gguf.quantize(values, gguf.GGMLQuantizationType[name])
        (o.folder / f"{name}.bin").write_bytes(np.ascontiguousarray(blocks).view(np.uint8).tobytes())
    if o.ggml:
        library = ctypes.CDLL(o.ggml)
        lines = []
        for name in SEARCHED:
            kind = gguf.GGMLQuantizationType[name]
            for label, part in rows.items():
                part = np.ascontiguousarray(part)
                back = gguf.dequantize(ggml_quantize(library, kind, part).reshape(ROWS, -1), kind).reshape(part.shape)
                error = np.sqrt(np.mean((back.astype("f8") - part) ** 2) / np.mean(part.astype("f8") ** 2))
                lines.append(f"{name}\t{label}\t{ROWS}\t{error:.9f}\n")
        for name in ["Q4_0", "Q5_0", "Q5_1", "Q8_0"]:
            kind = gguf.GGMLQuantizationType[name]
            same = np.array_equal(ggml_quantize(library, kind, values), gguf.quantize(values, kind).ravel())
            print(name, "as the Python package" if same else "differs from the Python package")
        (o.folder / "errors.tsv").write_text("".join(lines))


if __name__ == "__main__":
    main()
