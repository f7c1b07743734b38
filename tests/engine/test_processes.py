"""Several processes: who started them, where they meet, what they tell each other."""

import json
import logging
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.engine import processes as processes_module
from cam_repro.engine.processes import (
    Processes,
    cpus,
    first_host,
    join_processes,
    place_of_this_process,
)
from cam_repro.errors import UserError

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "SUBMITIT_", "TORCHELASTIC_")


def without_launchers(environment):
    return {k: v for k, v in environment.items() if not k.startswith(LAUNCHERS)}


@pytest.fixture
def found(monkeypatch):
    """This process's place, in an environment that holds these variables of launchers alone."""
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def found(at_terminal=False, gpus=0, **variables):
        for name in list(os.environ):
            if name.startswith(LAUNCHERS):
                del os.environ[name]
        os.environ.update(variables)
        monkeypatch.setattr(os, "isatty", lambda number: at_terminal and number == 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        return place_of_this_process()

    return found


# What SLURM sets, by src/common/env.c and by shells that people have printed.
IN_BATCH_SCRIPT = {
    "SLURM_JOB_ID": "77",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_NODELIST": "gpu[003-004]",
}
IN_SALLOC_SHELL = {
    **IN_BATCH_SCRIPT,
    "SLURM_STEP_ID": "4294967290",
    "SLURM_STEP_NUM_TASKS": "1",
    "SLURM_STEP_NODELIST": "gpu003",
}
BY_SRUN = {
    **IN_BATCH_SCRIPT,
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[003-004]",
}
BY_TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
BY_SUBMITIT = {
    "SUBMITIT_EXECUTOR": "local",
    "SUBMITIT_LOCAL_JOB_ID": "4711",
    "SUBMITIT_LOCAL_NTASKS": "2",
    "SUBMITIT_LOCAL_GLOBALID": "1",
    "SUBMITIT_LOCAL_LOCALID": "1",
}
ALONE = Processes(0, 1, 0)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ALONE),
        (BY_TORCHRUN, Processes(3, 4, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, Processes(3, 4, 0)),
        (BY_SUBMITIT, Processes(1, 2, 1)),
        (BY_SRUN, Processes(5, 8, 1)),
        # submitit's SLURM launcher starts its tasks by srun.
        ({**BY_SRUN, "SUBMITIT_EXECUTOR": "slurm"}, Processes(5, 8, 1)),
        # One process each, though the job has eight tasks.
        (IN_BATCH_SCRIPT, ALONE),
        (IN_SALLOC_SHELL, ALONE),
        # The inner launcher counts.
        ({**BY_SRUN, **BY_TORCHRUN}, Processes(3, 4, 1)),
        ({**IN_BATCH_SCRIPT, **BY_TORCHRUN}, Processes(3, 4, 1)),
        ({**BY_SRUN, **BY_SUBMITIT}, Processes(1, 2, 1)),
        # A script that exports WORLD_SIZE and leaves the rank to srun.
        ({**BY_SRUN, "WORLD_SIZE": "8"}, Processes(5, 8, 1)),
    ],
)
def test_the_launcher_is_known_by_its_variables(found, variables, place):
    assert found(**variables) == place
    assert place_of_this_process() == place  # what was set for torch changes nothing


def meeting_point():
    return os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]


def test_tasks_of_srun_meet_on_the_first_machine_of_their_step(found):
    found(**BY_SRUN)
    assert meeting_point() == ("gpu003", "26873")  # crc32 of "77.0" modulo 15,000, plus 15,000
    points = {}
    for step in range(3):
        for rank in range(3):
            found(**{**BY_SRUN, "SLURM_STEP_ID": str(step), "SLURM_PROCID": str(rank)})
            points[step, rank] = meeting_point()
    assert len(set(points.values())) == 3
    assert all(points[step, rank] == points[step, 0] for step, rank in points)


def test_where_to_meet_can_be_said(found):
    found(**BY_SRUN, MASTER_ADDR="10.0.0.9", MASTER_PORT="2345")
    assert meeting_point() == ("10.0.0.9", "2345")
    found(**BY_SUBMITIT, MASTER_PORT="2345")
    assert meeting_point() == ("127.0.0.1", "2345")


def test_tasks_of_submitit_meet_on_this_machine_by_job(found):
    points = []
    for job, rank in (("4711", "0"), ("4711", "1"), ("4712", "0")):
        found(**{**BY_SUBMITIT, "SUBMITIT_LOCAL_JOB_ID": job, "SUBMITIT_LOCAL_GLOBALID": rank})
        points.append(meeting_point())
    assert points[0] == points[1] != points[2]
    assert {host for host, _ in points} == {"127.0.0.1"}


def test_whoever_types_in_the_shell_of_srun_is_alone(found):
    assert found(**BY_SRUN, at_terminal=True) == ALONE
    assert found(**BY_TORCHRUN, at_terminal=True) == Processes(3, 4, 1)


def test_a_process_that_sees_one_gpu_takes_that(found):
    assert found(**BY_SRUN, gpus=4).local_rank == 1
    assert found(**BY_SRUN, gpus=1).local_rank == 0


def test_processes_on_one_machine_share_the_processors(found, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    found()
    assert cpus() == 48
    found(**BY_TORCHRUN, LOCAL_WORLD_SIZE="8")
    assert cpus() == 6
    found(**BY_TORCHRUN, LOCAL_WORLD_SIZE="64")
    assert cpus() == 1
    found(**{**BY_SUBMITIT, "SUBMITIT_LOCAL_NTASKS": "4"})
    assert cpus() == 12
    found(**BY_SRUN)  # which gives each task processors of its own
    assert cpus() == 48


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("nid001096", "nid001096"),
        ("gpu[003-005,010],cpu7", "gpu003"),
        ("gpu[7,3]", "gpu7"),
        ("a,b", "a"),
        ("rack[0-1]n[03-10].hpc", "rack0n03.hpc"),
    ],
)
def test_first_host(nodes, host):
    assert first_host(nodes) == host


numbers = st.integers(0, 99).map(lambda n: f"{n:03d}")
ranges = st.tuples(numbers, numbers).map(lambda pair: "-".join(sorted(pair)))
brackets = st.lists(numbers | ranges, min_size=1, max_size=3).map(lambda p: f"[{','.join(p)}]")
names = st.text("abn-.", min_size=1, max_size=3)
groups = st.lists(names | brackets, min_size=1, max_size=3).map("".join)


@given(st.lists(groups, min_size=1, max_size=3).map(",".join))
def test_first_host_is_that_of_submitits_parser(nodes):
    slurm = pytest.importorskip("submitit.slurm.slurm")
    assert first_host(nodes) == slurm._parse_node_list(nodes)[0]


# --- meeting

MEET_TWICE = """
import json, logging, os, torch
from cam_repro.engine.processes import join_processes

logging.getLogger().setLevel(logging.INFO)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
said = []
for job in range(2):
    with join_processes("cpu") as processes:
        with join_processes("cpu") as again:
            assert again == processes
        assert torch.get_num_threads() == 1  # as many as the task has processors
        both = processes.gather([job, processes.rank, logging.getLogger().level])
        # Only the second says yes, and only in the second job.
        yes = processes.any(job == 1 and processes.rank == 1)
        said.append([both, yes, processes.any(False)])
        processes.wait()
    assert logging.getLogger().level == logging.INFO
print(json.dumps(said))
"""


def test_two_tasks_of_srun_meet_job_after_job():
    tasks = []
    for rank in range(2):
        step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost"}
        variables = {**BY_SRUN, **step, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": str(rank)}
        tasks.append(
            subprocess.Popen(
                [sys.executable, "-c", MEET_TWICE],
                env={**without_launchers(os.environ), **variables, "OMP_NUM_THREADS": "2"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    outputs = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    first, second = (json.loads(out) for out, _ in outputs)
    shared = [
        [[[job, 0, logging.INFO], [job, 1, logging.WARNING]], job == 1, False] for job in range(2)
    ]
    assert first == shared
    assert second == [[[], *rest] for _, *rest in shared]


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_nobody_joins_say_so(found, monkeypatch, rank):
    monkeypatch.setattr(processes_module, "MEETING_TIME", timedelta(seconds=1))
    found(**{**BY_SUBMITIT, "SUBMITIT_LOCAL_GLOBALID": str(rank)}, MASTER_PORT="22759")
    reason = r"the 2 processes .* cannot meet at 127\.0\.0\.1:22759"
    with pytest.raises(UserError, match=reason), join_processes("cpu"):
        pass


def test_a_variable_that_torch_misses_is_named(found):
    found(RANK="0", WORLD_SIZE="2", MASTER_ADDR="localhost")
    reason = r"cannot meet at localhost:\(MASTER_PORT\): .* variable MASTER_PORT expected"
    with pytest.raises(UserError, match=reason), join_processes("cpu"):
        pass


def test_one_process_needs_nobody(found):
    found(**IN_BATCH_SCRIPT)
    with join_processes("cpu") as processes:
        assert processes == ALONE
        assert processes.gather("x") == ["x"]
        assert [processes.any(value) for value in (True, False)] == [True, False]
        processes.wait()
