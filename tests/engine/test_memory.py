"""Freed memory is kept inside, and given back afterwards."""

import subprocess
import sys

PROGRAM = """
import resource
import numpy as np
from cam_repro.engine.memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        np.zeros(2**20).fill(1)  # 8 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

print(faults())
with freed_memory_kept():
    faults()
    print(faults())
    held = np.full(2**23, 1.0)  # 64 MB
    full = resident()
    del held
    print(full - resident())
print(full - resident())
print(faults())
"""


def test_pages_are_not_fetched_again_inside_and_free_ones_are_given_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, inside, kept, given_back, after = map(int, done.stdout.split())
    assert inside < before / 4
    assert kept < 2**20  # freed, but with the process still
    assert given_back > 60 * 2**20
    assert after > before / 4
