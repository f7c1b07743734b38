#!/usr/bin/env bash
# From a bare machine to Tables 1 to 3 on the built-in data set: installs into .venv, trains and
# scores every network, prints the tables. Run again, it goes on where it was stopped.
source "$(dirname "$0")/setup.sh"
cam-reproduce experiment=demo "$@"
