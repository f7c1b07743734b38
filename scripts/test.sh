#!/usr/bin/env bash
# Lint, types and tests, in .venv (made if missing). Tests run in random order, on as many workers
# as there are processors; a file stays with one worker, so that what it trains is trained once.
# Arguments are passed to pytest, as in: scripts/test.sh -n 0 -p no:randomly tests/boxes
source "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check .
mypy
pytest -n auto --maxprocesses 8 --dist loadfile "$@"
