#!/usr/bin/env bash
# Lint, types and tests, in .venv (made if missing).
source "$(dirname "$0")/setup.sh"
ruff check .
ruff format --check .
mypy
pytest "$@"
