"""One object says how networks are computed."""

import os

import pytest
import torch
from torch import nn

from cam_repro.engine.compute import Compute
from cam_repro.engine.processes import Processes
from cam_repro.engine.settings import EvalSettings, TrainSettings
from cam_repro.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def test_it_is_made_from_a_commands_settings():
    place = Processes(1, 2, 1)
    settings = EvalSettings(device="cpu", precision="bf16", compile=True, channels_last=False)
    assert Compute.of(settings, place) == Compute(CPU, "bf16", torch.contiguous_format, True, place)
    settings = TrainSettings(model={"name": "nin"}, device="cpu", precision="fp32")
    assert Compute.of(settings, Processes()) == Compute(
        CPU, "fp32", torch.channels_last, False, Processes()
    )
    with pytest.raises(UserError, match="device=gpu: not a device"):
        Compute.of(EvalSettings(device="gpu"), place)


def test_networks_and_images_have_its_memory_format():
    for memory_format in (torch.channels_last, torch.contiguous_format):
        compute = Compute(CPU, memory_format=memory_format)
        network = nn.Conv2d(3, 4, 3)
        compute.place(network)
        x_NCHW = compute.lay_out(torch.zeros(2, 3, 5, 7))
        assert network.weight.is_contiguous(memory_format=memory_format)
        assert x_NCHW.is_contiguous(memory_format=memory_format)


def test_mixed_precision_is_for_bf16_alone():
    x_NCHW = torch.ones(1, 3, 2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with Compute(CPU, precision).autocast():
            assert nn.Conv2d(3, 4, 1)(x_NCHW).dtype == dtype


def test_no_tf32_inside_fp32_and_as_before_afterwards():
    before = torch.backends.cudnn.allow_tf32
    with Compute(CPU, "fp32").exact_fp32():
        assert not torch.backends.cudnn.allow_tf32
    with Compute(CPU, "bf16").exact_fp32():
        assert torch.backends.cudnn.allow_tf32 == before
    assert torch.backends.cudnn.allow_tf32 == before


def test_nothing_is_compiled_unless_wanted():
    network = nn.Conv2d(3, 4, 1)
    network._extract = before = lambda x_NCHW: x_NCHW
    with Compute(CPU).compiled(network, gradients=False):
        assert network._extract is before
    with Compute(CPU, compile=True).compiled(network, gradients=False):
        assert network._extract is not before


def test_the_network_leaves_the_processors_to_loading_where_a_gpu_has_it(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(48)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cpu, gpu = Compute(CPU), Compute(GPU)
    assert [gpu.loader_workers(None), cpu.loader_workers(None), gpu.loader_workers(3)] == [
        *(16, 24, 3)
    ]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert (gpu.loader_workers(None), cpu.loader_workers(None)) == (6, 3)
    assert (gpu.box_threads, cpu.box_threads) == (3, 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert (gpu.loader_workers(None), cpu.loader_workers(None), gpu.box_threads) == (1, 1, 1)
