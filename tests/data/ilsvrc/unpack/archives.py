"""Archives that the tests of ``cam-data unpack`` make, and how they unpack them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from cam_repro.data.ilsvrc.unpack import ArchiveReport, UnpackReport, unpack
from cam_repro.errors import UserError

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
TEST = "ILSVRC2012_img_test_v10102019.tar"
OLD_TEST = "ILSVRC2012_img_test.tar"
BBOX_TRAIN = "ILSVRC2012_bbox_train_v2.tar.gz"
BBOX_VAL = "ILSVRC2012_bbox_val_v3.tgz"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
Member = tuple[str, bytes] | tarfile.TarInfo


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, content) files and of whatever else a TarInfo describes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def image(split: str, number: int, content: bytes) -> tuple[str, bytes]:
    return f"ILSVRC2012_{split}_{number:08d}.JPEG", content


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` but the stamps; leftovers of interrupted writing included."""
    files = (path for path in root.rglob("*") if path.is_file())
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return {name: found[name] for name in sorted(found) if not name.startswith(".unpack/")}


CONTENT = {f"ILSVRC2012_val_{i:08d}.JPEG": bytes([i]) * (700 * i) for i in range(1, 7)}
"""Six val images, which fill two to nine blocks of a tar."""
UNPACKED = {f"val/{name}": content for name, content in CONTENT.items()}


def run(tars: Path, output: Path, **more: object) -> UnpackReport:
    return unpack(tars, output, progress=False, **more)  # type: ignore[arg-type]


def only(report: UnpackReport) -> ArchiveReport:
    (archive,) = report.archives
    return archive


def refusal(tars: Path, output: Path, **more: object) -> str:
    with pytest.raises(UserError) as caught:
        run(tars, output, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message
