#!/usr/bin/env bash
# Measures speed: each stage against its floor (the least time that it could take), and cam_repro
# against torch-cam, pytorch-grad-cam and the one-image recipe on the same images. Prints tables of
# ratios and writes a CSV to results/benchmarks/. Options: bash scripts/benchmark.sh --help; for a
# first try: --quick.
from="$PWD"
source "$(dirname "$0")/setup.sh"
# setup.sh does not install the packages that are compared with: nothing else uses them.
if ! python -c 'from importlib.metadata import version as v; v("torchcam"), v("grad-cam")' 2>/dev/null
then
  echo "installing torch-cam and pytorch-grad-cam, to be compared with" >&2
  python -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt --editable '.[bench]'
fi
root="$PWD"
cd "$from"  # paths in the options are relative to the caller's folder
exec python "$root/scripts/benchmark" "$@"
