#!/usr/bin/env bash
# Measures speed: each stage against its floor, and cam_repro against torch-cam, pytorch-grad-cam and
# the one-image recipe on the same images. Prints tables of ratios, writes a CSV to
# results/benchmarks/. Options: bash scripts/benchmark.sh --help (a first try: --quick).
from="$PWD"
source "$(dirname "$0")/setup.sh"
# The packages compared with are of no use otherwise, so setup.sh leaves them out.
if ! python -c 'from importlib.metadata import version as v; v("torchcam"), v("grad-cam")' 2>/dev/null
then
  echo "installing torch-cam and pytorch-grad-cam, to be compared with" >&2
  python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable '.[bench]'
fi
root="$PWD"
cd "$from"  # paths among the options are the caller's
exec python "$root/scripts/benchmark" "$@"
