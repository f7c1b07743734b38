"""Which device and precision are chosen."""

import pytest
import torch

from cam_repro.engine import hardware
from cam_repro.engine.hardware import pick_device, pick_precision
from cam_repro.errors import UserError

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
def test_auto_trains_in_bf16_where_the_hardware_has_matrix_units_for_it(
    flags, device, precision, monkeypatch
):
    monkeypatch.setattr(hardware, "_of_processor", lambda key: flags)
    assert pick_precision("auto", device, training=True) == precision
    assert pick_precision("auto", device) == "fp32"  # bf16 would move errors
    assert pick_precision("fp32", device) == "fp32"
    assert pick_precision("bf16", device) == "bf16"


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that there are GPUs; returns those that were made the current one."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.mark.parametrize(
    ("wanted", "local_rank", "device"),
    [("auto", 2, "cuda:2"), ("cuda", 3, "cuda:3"), ("cuda:1", 3, "cuda:1"), ("cpu", 3, "cpu")],
)
def test_each_process_takes_its_own_gpu_unless_one_is_named(gpus, wanted, local_rank, device):
    assert pick_device(wanted, local_rank) == torch.device(device)
    assert gpus == [torch.device(device)] * (device != "cpu")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(UserError, match="device=cuda: no CUDA GPU is to be seen here"):
        pick_device("cuda")
    with pytest.raises(UserError, match="device=gpu: not a device; use auto, cpu or cuda"):
        pick_device("gpu")
