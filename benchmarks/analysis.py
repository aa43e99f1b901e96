"""Time an analysis, relative to reading the file and to a loop over the pairs of layers.

Times the pass that computes cosine, cosine_sequence and norms. CKA is compared with the time that its matrix products alone
would take at this machine's speed. Run it on an idle machine::

    python benchmarks/analysis.py [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from layerscope.capturing.capture import capture
from layerscope.measures.accumulators.pair_sums import PairSums
from layerscope.measures.analysis import analyze
from layerscope.measures.passes.rows import AnalysisRows, split
from layerscope.models.packaged import fetch
from layerscope.store.capture_source import CaptureSource
from layerscope.threads import thread_pool

CHUNK = 1024


def read_only(path: Path) -> None:
    """Read all rows as the analysis does, into one buffer."""
    with CaptureSource(path) as source:
        tokens = len(source.position)
        buffer = torch.empty(CHUNK, len(source.layer), source.width, dtype=source.dtype)
        for start in range(0, tokens, CHUNK):
            stop = min(start + CHUNK, tokens)
            source.read(start, stop, out=buffer[: stop - start])


def sums_only(path: Path) -> None:
    """Read all rows and sum the products of all pairs of layers, without the report on massive activations."""
    with CaptureSource(path) as source:
        reader = AnalysisRows(source, None, 0)
        layers, threads = len(source.layer), thread_pool().size
        shares = [PairSums(layers, None, source.dtype, sequences=reader.sequences) for _ in range(threads)]
        for rows, _ in reader:
            parts = list(split(rows, None, -(-len(rows) // threads)))
            jobs = [
                thread_pool().submit(partial(share.update, part.hidden, None, part.sequence_index, part.position == 0))
                for share, (part, _) in zip(shares, parts, strict=False)
            ]
            for job in jobs:
                job.result()
        for share in shares[1:]:
            shares[0].merge(share)


def pair_loop(states: torch.Tensor) -> torch.Tensor:
    """Baseline: torch's cosine for every pair of layers."""
    layers = states.shape[1]
    result = torch.empty(layers, layers)
    for one in range(layers):
        for other in range(layers):
            result[one, other] = torch.nn.functional.cosine_similarity(states[:, one], states[:, other], dim=-1).mean()
    return result


def seconds(job: Callable[[], object]) -> float:
    started = time.perf_counter()
    job()
    return time.perf_counter() - started


def matmul_speed() -> float:
    """Return the highest floating point operations a second of a large float32 matrix product."""
    one, other = torch.randn(4096, 4096), torch.randn(4096, 4096)
    return 2 * 4096**3 / min(seconds(lambda: one @ other) for _ in range(5))


def report(name: str, ratios: list[float]) -> None:
    print(f"{name:66} {statistics.median(ratios):8.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        print(capture(fetch("smollm2-135m"), "builtin:passages", path, store_dtype="bfloat16"))
        over_reading, over_loop, whole, sums_reading, sums_loop = [], [], [], [], []
        with CaptureSource(path) as source:
            tokens, layers, width = len(source.position), len(source.layer), source.width
            states = source.read(0, tokens)
        sums = ["cosine", "cosine_sequence", "norm"]
        for turn in range(options.rounds + 1):
            reading = seconds(lambda: read_only(path))
            one_pass = seconds(lambda: analyze(path, measures=sums))
            bare = seconds(lambda: sums_only(path))
            loop = seconds(lambda: pair_loop(states))
            default = seconds(lambda: analyze(path))
            if turn:
                over_reading.append(one_pass / reading)
                over_loop.append(loop / one_pass)
                sums_reading.append(bare / reading)
                sums_loop.append(loop / bare)
                whole.append(default / reading)
        print(f"{tokens:,} tokens, {layers} layers, {width} features, {path.stat().st_size / 1e6:.0f} MB of bfloat16")
        report("sums for cosine, cosine_sequence, norm: times reading alone", sums_reading)
        report("loop of torch cosine_similarity over pairs: times those sums", sums_loop)
        report("analyze for them, massive activations too: times reading alone", over_reading)
        report("loop of torch cosine_similarity over pairs: times that analysis", over_loop)
        report("analyze with the default measures: times reading alone", whole)
        speed = matmul_speed()
        batches = max(1, tokens // 1024) if tokens > 4096 else 1
        gram = 2 * batches * (tokens / batches) ** 2 * layers * (width + layers)
        cka = min(seconds(lambda: analyze(path, measures=["cka"])) for _ in range(options.rounds))
        print(f"matrix product: {speed / 1e9:.0f} GFLOP/s; CKA needs {gram / 1e9:.0f} GFLOP")
        print(f"CKA: {cka:.2f} s, {cka / (gram / speed):.1f} times its matrix products at that speed")


if __name__ == "__main__":
    main()
