#!/usr/bin/env bash
# From a bare machine to Tables 1 to 3 on the built-in data set: installs into .venv, trains and
# scores every network, prints the tables. Run again, it goes on where it was stopped.
source "$(dirname "$0")/setup.sh"
# Sums depend on the number of threads, and so do trained networks: two, whatever the machine has,
# give README's digits.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
cam-reproduce experiment=demo "$@"
