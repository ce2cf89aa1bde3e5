"""Print one JSON line: CPU milliseconds per phantom, normal and with findings, in both views."""

from __future__ import annotations

import json
import platform
import statistics
import time

import numpy as np

from chexalign.demo.phantom import render

CASES = {
    "normal": ["normal"],
    "one": ["Opacity/lung/base/left/patchy"],
    "four": ["Cardiomegaly", "Pulmonary Edema", "Pleural Effusion/bilateral", "Implanted Medical Device/left"],
}
ROUNDS, IMAGES = 7, 12


def _cpu_ms(codes: list[str], view: str, first_seed: int) -> float:
    start = time.process_time()
    for k in range(IMAGES):
        render(codes, view=view, seed=first_seed + k)
    return 1000 * (time.process_time() - start) / IMAGES


def main() -> None:
    result = {"what": "phantom CPU ms per image", "size_px": 128, "images": IMAGES, "rounds": ROUNDS}
    result |= {"numpy": np.__version__, "python": platform.python_version(), "machine": platform.machine()}
    for view in ("frontal", "lateral"):
        for name, codes in CASES.items():
            _cpu_ms(codes, view, 0)
            times = [_cpu_ms(codes, view, 100 * k) for k in range(ROUNDS)]
            low, _, high = statistics.quantiles(times, n=4)
            result[f"{view}/{name}"] = {"median": round(statistics.median(times), 2), "iqr": round(high - low, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
