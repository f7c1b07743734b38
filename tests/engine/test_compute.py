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

from cam_repro.engine import compute as device_module
from cam_repro.engine.compute import (
    Processes,
    box_threads,
    cpus,
    exact_fp32,
    first_host,
    launched,
    pick_precision,
    processes,
    workers_for,
)
from cam_repro.errors import UserError

LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "SLURM_", "SUBMITIT_", "TORCHELASTIC_")


def without_launchers(environment):
    return {k: v for k, v in environment.items() if not k.startswith(LAUNCHERS)}


@pytest.fixture
def found(monkeypatch):
    """``launched()`` in an environment that holds these variables of launchers alone."""

    def found(at_terminal=False, gpus=0, **variables):
        for name in os.environ:
            if name.startswith(LAUNCHERS):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(os, "isatty", lambda number: at_terminal and number == 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        return launched()

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
    ("variables", "place", "url"),
    [
        ({}, ALONE, ""),
        (BY_TORCHRUN, Processes(3, 4, 1), "env://"),
        ({"RANK": "3", "WORLD_SIZE": "4"}, Processes(3, 4, 0), "env://"),
        # crc32 of "4711" is 3903472759, of "77.0" 1078121873: modulo 15,000, plus 15,000.
        (BY_SUBMITIT, Processes(1, 2, 1), "tcp://127.0.0.1:PORT_A"),
        (BY_SRUN, Processes(5, 8, 1), "tcp://gpu003:PORT_B"),
        (
            {**BY_SRUN, "MASTER_ADDR": "10.0.0.9", "MASTER_PORT": "2345"},
            Processes(5, 8, 1),
            "tcp://10.0.0.9:2345",
        ),
        # submitit's SLURM launcher starts its tasks by srun.
        ({**BY_SRUN, "SUBMITIT_EXECUTOR": "slurm"}, Processes(5, 8, 1), "tcp://gpu003:PORT_B"),
        # One process each, though the job has eight tasks.
        (IN_BATCH_SCRIPT, ALONE, ""),
        # The inner launcher counts.
        ({**BY_SRUN, **BY_TORCHRUN}, Processes(3, 4, 1), "env://"),
        ({**IN_BATCH_SCRIPT, **BY_TORCHRUN}, Processes(3, 4, 1), "env://"),
        ({**BY_SRUN, **BY_SUBMITIT}, Processes(1, 2, 1), "tcp://127.0.0.1:PORT_A"),
        # A script that exports WORLD_SIZE and leaves the rank to srun.
        ({**BY_SRUN, "WORLD_SIZE": "8"}, Processes(5, 8, 1), "tcp://gpu003:PORT_B"),
    ],
)
def test_the_launcher_is_known_by_its_variables(found, variables, place, url):
    url = url.replace("PORT_A", "22759").replace("PORT_B", "26873")
    assert found(**variables) == (place, url)


def test_a_shell_of_salloc_is_one_process(found):
    assert found(**IN_SALLOC_SHELL)[0] == ALONE


def test_whoever_types_in_the_shell_of_srun_is_alone(found):
    assert found(**BY_SRUN, at_terminal=True)[0] == ALONE
    assert found(**BY_TORCHRUN, at_terminal=True)[0] == Processes(3, 4, 1)


def test_a_process_that_sees_one_gpu_takes_that(found):
    assert found(**BY_SRUN, gpus=4)[0].local_rank == 1
    assert found(**BY_SRUN, gpus=1)[0].local_rank == 0


def test_processes_of_a_step_agree_and_steps_differ(found):
    urls = {
        (step, rank): found(**{**BY_SRUN, "SLURM_STEP_ID": str(step), "SLURM_PROCID": str(rank)})[1]
        for step in range(3)
        for rank in range(3)
    }
    assert len(set(urls.values())) == 3
    assert all(urls[step, rank] == urls[step, 0] for step, rank in urls)


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
from cam_repro.engine.compute import processes

logging.getLogger().setLevel(logging.INFO)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
said = []
for job in range(2):
    with processes("cpu") as group:
        with processes("cpu") as again:
            assert again == group
        assert torch.get_num_threads() == 1  # as many as the task has processors
        both = group.gather([job, group.rank, logging.getLogger().level])
        # Only the second says yes, and only in the second job.
        said.append([both, group.any(job == 1 and group.rank == 1), group.any(False)])
        group.wait()
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
    monkeypatch.setattr(device_module, "MEETING_TIME", timedelta(seconds=1))
    job = f"{os.getpid()} {rank}"  # the port follows from it: no other run of this test joins
    found(**{**BY_SUBMITIT, "SUBMITIT_LOCAL_JOB_ID": job, "SUBMITIT_LOCAL_GLOBALID": str(rank)})
    words = r"the 2 processes .* cannot meet at tcp://127\.0\.0\.1:\d{5}"
    with pytest.raises(UserError, match=words), processes("cpu"):
        pass


def test_one_process_needs_nobody(found):
    found(**IN_BATCH_SCRIPT)
    with processes("cpu") as group:
        assert group == ALONE
        assert group.gather("x") == ["x"]
        assert [group.any(value) for value in (True, False)] == [True, False]
        group.wait()


# --- precision


CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.mark.parametrize(
    ("flags", "device", "precision"),
    [
        ("fpu avx512f amx_tile amx_bf16", CPU, "bf16"),
        ("fpu avx512f avx512_bf16", CPU, "fp32"),  # no matrix unit: bf16 may be far slower
        ("fpu amx_tile amx_int8", CPU, "fp32"),
        ("", CPU, "fp32"),
        ("", GPU, "bf16"),
    ],
)
def test_auto_is_bf16_where_the_hardware_has_matrix_units_for_it(
    flags, device, precision, monkeypatch
):
    monkeypatch.setattr(device_module, "_of_processor", lambda key: flags)
    assert pick_precision("auto", device) == precision
    assert pick_precision("fp32", device) == "fp32"
    assert pick_precision("bf16", device) == "bf16"


def test_no_tf32_inside_fp32_and_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32
    with exact_fp32("fp32"):
        assert not torch.backends.cudnn.allow_tf32
    with exact_fp32("bf16"):
        assert torch.backends.cudnn.allow_tf32 == before
    assert torch.backends.cudnn.allow_tf32 == before


def test_processes_on_one_machine_share_the_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert (workers_for(None, GPU), workers_for(None, CPU), workers_for(3, GPU)) == (16, 24, 3)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert (workers_for(None, GPU), workers_for(None, CPU)) == (6, 3)
    assert (box_threads(GPU), box_threads(CPU)) == (3, 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert (workers_for(None, GPU), workers_for(None, CPU), box_threads(GPU)) == (1, 1, 1)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_NTASKS", "4")
    assert cpus() == 12
