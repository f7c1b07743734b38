# Sourced by the other scripts: makes the virtual environment .venv once, with pinned versions,
# and leaves its programs on PATH. CAM_REPRO_VENV names another place for it.
set -euo pipefail
# Without compiled files each of the tests' processes would compile torch anew, for seconds.
unset PYTHONDONTWRITEBYTECODE
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv="${CAM_REPRO_VENV:-$PWD/.venv}"
# Installed again when the requirements change: the stamp is a checksum of those installed.
stamp="$venv/.cam_repro-installed"
wanted="$(cat pyproject.toml constraints.txt | cksum)"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  echo "installing into $venv (torch and what it needs are several GB, once)" >&2
  # Each candidate is run: a version manager may put a name on PATH that starts no Python.
  python="" candidates=(python3.11 python3.12 python3.13 python3)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    python="$candidate"
    break
  done
  if [ -z "$python" ]; then
    echo "error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3" >&2
    exit 1
  fi
  "$python" -m venv "$venv"
  # Python compiles what is imported, once: far less than pip would compile.
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
    --constraint constraints.txt --editable '.[dev,pretrained,tensorboard]'
  echo "$wanted" >"$stamp"
fi
export PATH="$venv/bin:$PATH"
