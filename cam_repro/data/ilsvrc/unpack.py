"""Unpack ILSVRC's official archives to a tree, for ``cam-data unpack``.

::

    ILSVRC2012_img_train.tar (a tar of 1,000 tars)  ->  train/<wnid>/*.JPEG
    ILSVRC2012_img_val.tar                          ->  val/*.JPEG
    ILSVRC2012_img_test_v10102019.tar               ->  test/*.JPEG
    ILSVRC2012_bbox_train_v2.tar.gz                 ->  bbox/train/<wnid>/*.xml
    ILSVRC2012_bbox_val_v3.tgz                      ->  bbox/val/*.xml
    ILSVRC2012_devkit_t12.tar.gz                    ->  ILSVRC2012_devkit_t12/

Every archive is read once, from its first byte to its last. Inner archives are read from within
the outer one, so only the files of the tree are written. Where a file goes depends on its own name,
which must match the archive's pattern; folders inside an archive do not matter.

If it is stopped, the next call goes on: a file that exists with the right size is kept, and an
archive whose stamp (``.unpack/<archive>.json``) says that it is finished is not read, where the
files are there, and as large. Any other archive is read from its start, because the MD5 needs all
its bytes. A stamp is written when all files are on the disk, so that it is true after a power cut.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tarfile
import time
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from cam_repro.data.image_set import SPLITS
from cam_repro.errors import UserError, one_of
from cam_repro.files import (
    at_home,
    check_writable,
    of_full_disk,
    path_within,
    size_in_words,
    write_json,
)
from cam_repro.locks import sole_writer
from cam_repro.progress import Bar

log = logging.getLogger(__name__)

STAMPS = ".unpack"
"""Folder of the tree that holds a JSON file, the stamp, for each archive that was read."""

MD5 = {  # as image-net.org states them on its download page
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
    "ILSVRC2012_img_test_v10102019.tar": "e1b8681fff3d63731c599df9b4b6fc02",
    "ILSVRC2012_img_test.tar": "fe64ceb247e473635708aed23ab6d839",
    "ILSVRC2012_bbox_train_v2.tar.gz": "9271167e2176350e65cfe4e546f14b17",
    "ILSVRC2012_bbox_val_v3.tgz": "f4cd18b5ea29fe6bbea62ec9c20d80f0",
    "ILSVRC2012_devkit_t12.tar.gz": "fa75699e90414af021442c21a62c3abf",
}
"""MD5 sums of the official archives."""

CHUNK = 1 << 20
MAX_PADDING = 1 << 20
"""Most zero bytes allowed after a tar's end mark; tar programs pad to 10 kilobytes by default."""
SHOWN = 3
"""How many unexpected members a warning names."""


@dataclass(frozen=True)
class Kind:
    """Describe one of the official archives.

    names: its file names, the preferred one first.
    split: the split it belongs to; an archive with None is always unpacked.
    folder: where its files go, below the tree's root.
    pattern: a regular expression for the names of its files; its group, if any, is the sub-folder.
        None: keep the paths inside the archive, which must begin with ``folder``.
    files: how many files the official archive holds.
    nested: whether it may hold archives, one for each class.
    room: bytes needed on disk for each byte of the archive. It is large for XML files, as each
        takes a disk block of 4 kB for half a kilobyte.
    """

    names: tuple[str, ...]
    split: str | None
    folder: str
    pattern: str | None
    files: int | None = None
    nested: bool = False
    room: int = 1

    def place(self, path: PurePosixPath) -> PurePosixPath | None:
        """Give the path of a member in the tree, relative to the root; None if it has none."""
        if self.pattern is None:
            return path if path.parts[:1] == (self.folder,) and len(path.parts) > 1 else None
        match = re.fullmatch(self.pattern, path.name, re.ASCII)
        return PurePosixPath(self.folder, *match.groups(), path.name) if match else None


# Small archives first, so that val can be scored while train is being unpacked.
KINDS = (
    Kind(("ILSVRC2012_devkit_t12.tar.gz",), None, "ILSVRC2012_devkit_t12", pattern=None, room=10),
    Kind(
        ("ILSVRC2012_bbox_val_v3.tgz",),
        "val",
        "bbox/val",
        r"ILSVRC2012_val_\d{8}\.xml",
        files=50_000,
        room=110,
    ),
    Kind(("ILSVRC2012_img_val.tar",), "val", "val", r"ILSVRC2012_val_\d{8}\.JPEG", files=50_000),
    Kind(
        ("ILSVRC2012_bbox_train_v2.tar.gz",),
        "train",
        "bbox/train",
        r"(n\d{8})_\d+\.xml",
        files=544_546,
        nested=True,
        room=120,
    ),
    Kind(
        ("ILSVRC2012_img_test_v10102019.tar", "ILSVRC2012_img_test.tar"),
        "test",
        "test",
        r"ILSVRC2012_test_\d{8}\.JPEG",
        files=100_000,
    ),
    Kind(
        ("ILSVRC2012_img_train.tar",),
        "train",
        "train",
        r"(n\d{8})_\d+\.JPEG",
        files=1_281_167,
        nested=True,
    ),
)
INNER = re.compile(r"n\d{8}\.(tar|tar\.gz|tgz)", re.ASCII)


@dataclass(frozen=True)
class ArchiveReport:
    """Report what was done with one archive.

    archive: its file name. written: number of files written. kept: number of files that existed
        already with the right size.
    unexpected: number of members left out because their names do not match the archive's pattern.
        examples: the names of some of them.
    md5: of the archive; None where it was not computed.
    finished_before: whether an earlier call finished the archive, so that it was not read now.
    """

    archive: str
    written: int
    kept: int
    unexpected: int
    examples: tuple[str, ...]
    seconds: float
    md5: str | None
    finished_before: bool = False


@dataclass(frozen=True)
class UnpackReport:
    """Hold a report for each archive, in the order of reading, and warnings."""

    archives: list[ArchiveReport] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def unpack(
    tars: Path | str | Sequence[Path | str],
    output: Path | str,
    splits: Collection[str] = SPLITS,
    *,
    verify: bool = True,
    progress: bool = True,
) -> UnpackReport:
    """Unpack the official archives in ``tars`` to a tree at ``output``; go on where it was stopped.

    tars: a folder that holds archives (its sub-folders are not searched), an archive, or several
        of these.
    splits: the splits to unpack; the development kit is always unpacked.
    verify: compute each archive's MD5 while reading (some 4 minutes for the 138 GB of train) and
        warn where it is not the official one.
    progress: show a bar for each archive.

    Files are written under a temporary name and renamed, so none is ever half written. A file that
    exists with the right size is kept, unless an earlier call found its archive damaged.

    Raises UserError where there is no archive, where another command unpacks to ``output``, where
    the disk has too little space, where an archive is truncated or corrupt, and for a member that
    is a link or a device or would be written outside ``output``; such a member is not written.
    """
    output = at_home(output)
    found = _find_archives(tars, splits)
    check_writable(output)
    report = UnpackReport()
    with sole_writer(output):
        stamps = {path: _finished(kind, path, output) for kind, path in found}
        _check_space([(kind, path) for kind, path in found if stamps[path] is None], output)
        for kind, path in found:
            stamp = stamps[path]
            if stamp is None:
                done = _unpack_archive(kind, path, output, verify, progress)
            else:
                done = ArchiveReport(path.name, 0, stamp.files, 0, (), 0.0, stamp.md5, True)
            _say(done)
            report.archives.append(done)
            report.warnings.extend(_doubts(kind, done))
    for warning in report.warnings:
        log.warning("%s", warning)
    return report


# --- which archives, what is done, what fits -----------------------------------------------------


def _find_archives(
    tars: Path | str | Sequence[Path | str], splits: Collection[str]
) -> list[tuple[Kind, Path]]:
    """Find the archives to read, in the order of ``KINDS``; UserError where there is none."""
    for split in splits:
        one_of("splits", split, SPLITS)
    known = [name for kind in KINDS for name in kind.names]
    files: dict[str, Path] = {}
    for place in [tars] if isinstance(tars, str | Path) else tars:
        path = at_home(place)
        if path.is_dir():
            for entry in filter(Path.is_file, path.iterdir()):
                files.setdefault(entry.name, entry)
        elif path.is_file() and path.name in known:
            files.setdefault(path.name, path)
        elif path.is_file():
            raise UserError(
                f"tars={path}: not the name of an official archive ({', '.join(known)}); "
                "if it is one, give it its own name back"
            )
        else:
            raise UserError(f"tars={path}: no such file or folder")
    found = []
    for kind in KINDS:
        names = [name for name in kind.names if name in files]
        if names and (kind.split is None or kind.split in splits):
            found.append((kind, files[names[0]]))
    chosen = {path.name for _, path in found}
    if not chosen:
        looked_for = [n for k in KINDS if k.split is None or k.split in splits for n in k.names]
        raise UserError(
            f"tars={tars}: found none of {', '.join(looked_for)}; download them from image-net.org "
            "and give the folder that holds them"
        )
    left = sorted(name for name in files if name.startswith("ILSVRC2012_") and name not in chosen)
    if left:
        log.info("left alone: %s", ", ".join(left))
    return found


@dataclass
class _Stamp:
    """Hold what is known of an archive; a JSON file keeps it from the start of reading on.

    keep: whether a file that this archive wrote to the tree is right if its size is right.
    finished: whether the archive was read to its end. files: how many of its files are in the tree.
    n_bytes: how many bytes they have together; 0 in stamps of older versions.
    """

    archive: str
    size: int
    mtime_ns: int
    keep: bool
    finished: bool = False
    files: int = 0
    n_bytes: int = 0
    md5: str | None = None

    def write(self, output: Path) -> None:
        write_json(_stamp_path(self.archive, output), asdict(self))

    def is_of(self, path: Path) -> bool:
        status = path.stat()
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


def _stamp_path(name: str, output: Path) -> Path:
    return output / STAMPS / f"{name}.json"


def _read_stamp(name: str, output: Path) -> _Stamp | None:
    try:
        return _Stamp(**json.loads(_stamp_path(name, output).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):  # no stamp, or not in this form
        return None


def _finished(kind: Kind, path: Path, output: Path) -> _Stamp | None:
    """Give the stamp of this archive if it was read to its end and all its files are there.

    Their sizes are added up: after a power cut files may be there and be empty.
    """
    stamp = _read_stamp(path.name, output)
    if stamp is None or not stamp.finished or not stamp.is_of(path):
        return None
    sizes = [entry.stat().st_size for entry in _files(output / kind.folder)]
    return stamp if len(sizes) >= stamp.files and sum(sizes) >= stamp.n_bytes else None


def _may_keep(kind: Kind, path: Path, output: Path) -> bool:
    """Tell whether a file that exists with the right size can be trusted to have the right bytes.

    It cannot where another archive wrote it: a damaged one before this one, or the other version
    of the test images, because their files may have the same sizes.
    """
    stamp = _read_stamp(path.name, output)
    if stamp is None:
        return not any(_stamp_path(name, output).exists() for name in kind.names)
    if stamp.is_of(path):
        return stamp.keep
    return stamp.finished and stamp.md5 == MD5[path.name]


def _files(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder except hidden ones; none where the folder does not exist."""
    if not os.path.isdir(folder):  # noqa: PTH112 (entries of scandir, a million of them)
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            elif not entry.name.startswith("."):
                yield entry


def _check_space(todo: list[tuple[Kind, Path]], output: Path) -> None:
    """Raise UserError where the files of these archives do not fit on the disk.

    Each disk is checked by itself, because ``output/train`` may be a link to another disk.
    """
    needed: dict[int, int] = defaultdict(int)
    disks: dict[int, tuple[Path, list[Path]]] = {}
    for kind, path in todo:
        folder = place = (output / kind.folder).absolute()
        while not place.exists():
            place = place.parent
        disk = place.stat().st_dev
        disks.setdefault(disk, (place, []))[1].append(folder)
        needed[disk] += kind.room * path.stat().st_size
    for disk, (place, folders) in disks.items():
        free = shutil.disk_usage(place).free
        if needed[disk] <= free:
            continue
        there = sum(512 * entry.stat().st_blocks for f in folders for entry in _files(f))
        if needed[disk] - there > free:
            raise UserError(
                f"{output}: about {size_in_words(needed[disk] - there)} are needed on the disk of "
                f"{place}, and {size_in_words(free)} are free; free some, choose another output= "
                "or fewer splits="
            )


# --- reading an archive --------------------------------------------------------------------------


class _Source(io.RawIOBase):
    """Read an archive; every byte moves the progress bar and enters the MD5 once, in order."""

    def __init__(self, path: Path, bar: Bar, verify: bool) -> None:
        self._file = path.open("rb", buffering=0)
        self._bar = bar
        self._md5 = hashlib.md5(usedforsecurity=False) if verify else None
        self._seen = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        # Bytes that are skipped (mostly padding) must enter the MD5 too.
        while self._seen < offset and self.read(min(CHUNK, offset - self._seen)):
            pass
        return self._file.seek(offset)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        count = self._file.readinto(view) or 0
        new = self._file.tell() - self._seen
        if count and new > 0:
            if self._md5 is not None:
                self._md5.update(view[count - new : count])
            self._bar.update(new)
            self._seen += new
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def md5(self) -> str | None:
        """Read the rest of the file and give the MD5 of all of it; None without ``verify``."""
        if self._md5 is None:
            return None
        while self.read(CHUNK):
            pass
        return self._md5.hexdigest()


@dataclass
class _Unpacking:
    """Write the files of one archive to the tree, and count them.

    keep: whether a file that exists with the right size is kept. written, kept, unexpected,
    examples: as of ``ArchiveReport``. n_bytes: of all files, written or kept. folders: those known
    to exist.
    fault: what is wrong at the end of a tar (the first such tar); it does not count if the archive
    has the official MD5.
    """

    kind: Kind
    archive: Path
    output: Path
    keep: bool
    bar: Bar
    written: int = 0
    kept: int = 0
    unexpected: int = 0
    examples: list[str] = field(default_factory=list)
    fault: str | None = None
    n_bytes: int = 0
    folders: set[Path] = field(default_factory=set)

    def read(self, file: IO[bytes], where: str = "") -> None:
        """Handle every member of a tar, compressed or not, and of the tars in it.

        where: the name of the tar if it is an inner one. Raises one of ``DAMAGE`` where the tar
        cannot be read any further.
        """
        if cast(io.BufferedReader, file).peek(2)[:2] == b"\x1f\x8b":
            file = cast(IO[bytes], gzip.GzipFile(fileobj=file))
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps all in memory
                content = self._open(tar, member)
                if content is not None:
                    self._take(content, member, where)
            fault = _fault_at_end(file, tar.offset)
        if fault and self.fault is None:
            self.fault = f"{where}: {fault}" if where else fault

    def _open(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes] | None:
        """Open a member; give None for a folder or a hidden file (macOS adds ``._name``).

        Raises UserError for a member that could be written outside ``output``.
        """
        fault = None
        if member.name.startswith("/") or re.match(r"[A-Za-z]:|.*\\", member.name, re.DOTALL):
            fault = "an absolute or foreign path"
        elif ".." in PurePosixPath(member.name).parts:
            fault = "a path out of the output folder"
        elif member.issym() or member.islnk():
            fault = f"a link to {member.linkname!a}"
        elif not (member.isreg() or member.isdir()) or member.issparse():
            fault = "neither a plain file nor a folder"
        if fault:
            raise UserError(
                f"{self.archive}: refused, its member {member.name!a} is {fault}; the official "
                "archives have none such; " + _advice(self.archive)
            )
        if member.size < 0:
            raise tarfile.ReadError("negative size")
        if member.isdir() or PurePosixPath(member.name).name.startswith("."):
            return None
        return tar.extractfile(member)

    def _take(self, content: IO[bytes], member: tarfile.TarInfo, where: str) -> None:
        """Write a file to its place, read an inner archive, or count the member as unexpected."""
        path = PurePosixPath(member.name)
        place = self.kind.place(path)
        if place is not None:
            target = path_within(self.output, *place.parts)
            self._write(content, target, member.size)
        elif self.kind.nested and not where and INNER.fullmatch(path.name):
            try:
                self.read(content, path.name)
            except DAMAGE as error:
                raise tarfile.ReadError(f"{path.name}: {error}") from error
        else:
            self.unexpected += 1
            if len(self.examples) < SHOWN:
                self.examples.append(ascii(member.name))

    def _write(self, content: IO[bytes], target: Path, size: int) -> None:
        """Write one file, unless it exists and may be kept."""
        self.n_bytes += size
        if self.keep:
            try:
                if target.stat().st_size == size:
                    self.kept += 1
                    return
            except FileNotFoundError:
                pass
        if target.parent not in self.folders:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.folders.add(target.parent)
        # Hidden and without the suffix of an image: if the machine stops, no reader will take it.
        # Always the same name: the next start writes over what this one leaves when it is killed.
        temporary = target.with_name(f".{target.name}.part")
        try:
            with temporary.open("wb") as file:
                shutil.copyfileobj(content, file, CHUNK)
                assert file.tell() == size
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        self.written += 1
        self.bar.say(f"{self.written:,} files written")


DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)
"""The errors that reading a truncated or corrupt archive raises."""


def _fault_at_end(file: IO[bytes], offset: int) -> str | None:
    """Say what is wrong at the byte where tarfile took a tar to end; None if nothing is.

    tarfile takes anything that it cannot read for the end, so the end is checked here. A tar ends
    with a block of zeros, then only padding. Without the block, the tar is cut or a header is
    corrupt. Other bytes after it mean that the block is a hole in the tar, which a download in
    several pieces leaves when it is stopped.
    """
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        return f"no end mark at byte {offset}"
    padding = 0
    while chunk := file.read(CHUNK):  # to the end, where gzip checks its checksum
        padding += len(chunk)
        if padding > MAX_PADDING or any(chunk):
            return f"more bytes after its end mark at byte {offset}"
    return None


def _unpack_archive(
    kind: Kind, path: Path, output: Path, verify: bool, progress: bool
) -> ArchiveReport:
    """Read one archive, write its files and its stamp; UserError where it is not whole."""
    started = time.perf_counter()
    status = path.stat()
    keep = _may_keep(kind, path, output)
    stamp = _Stamp(path.name, status.st_size, status.st_mtime_ns, keep)
    stamp.write(output)
    bar = Bar(status.st_size, path.name, "B", unit_scale=True, disable=not progress)
    job = _Unpacking(kind, path, output, keep, bar)
    try:
        with bar, _Source(path, bar, verify) as source, io.BufferedReader(source, CHUNK) as file:
            job.read(cast(IO[bytes], file))
            stamp.md5 = source.md5()
        if job.fault and stamp.md5 != MD5[path.name]:
            raise tarfile.ReadError(job.fault)
        if not job.written + job.kept:
            raise tarfile.ReadError("it holds no file that the official archive has")
    except (*DAMAGE, UserError) as error:
        stamp.keep = False
        stamp.write(output)
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: truncated or corrupt ({error}); {_advice(path)}") from error
    except OSError as error:
        stopped = f"{path}: stopped ({error}); mend that and run it again, it goes on here"
        raise of_full_disk(error, output) or UserError(stopped) from error
    stamp.keep = stamp.finished = True
    stamp.files, stamp.n_bytes = job.written + job.kept, job.n_bytes
    os.sync()  # all of a million files at once, each by itself would take hours
    stamp.write(output)
    return ArchiveReport(
        archive=path.name,
        written=job.written,
        kept=job.kept,
        unexpected=job.unexpected,
        examples=tuple(job.examples),
        seconds=time.perf_counter() - started,
        md5=stamp.md5,
    )


# --- what is said --------------------------------------------------------------------------------


def _advice(path: Path) -> str:
    return f"download it again (the MD5 of the official file is {MD5[path.name]})"


def _say(done: ArchiveReport) -> None:
    if done.finished_before:
        log.info("%s: finished before, %d files", done.archive, done.kept)
        return
    log.info(
        "%s: %d files written, %d there already, %.0f s, MD5 %s",
        done.archive,
        done.written,
        done.kept,
        done.seconds,
        "not computed" if done.md5 is None else done.md5,
    )


def _doubts(kind: Kind, done: ArchiveReport) -> list[str]:
    """Give warnings for all that differs between an archive and the official one."""
    official = MD5[done.archive]
    doubts = []
    if done.md5 not in (None, official):
        doubts.append(
            f"{done.archive}: its MD5 is {done.md5}, the official file's is {official}; unless it "
            "is a selection of your own, download it again and unpack it again"
        )
    total = done.written + done.kept
    if kind.files is not None and done.md5 != official and total != kind.files:
        doubts.append(f"{done.archive}: {total:,} files, the official one has {kind.files:,}")
    if done.unexpected:
        more = ", ..." if done.unexpected > len(done.examples) else ""
        doubts.append(
            f"{done.archive}: left out {done.unexpected:,} members with names that the official "
            f"archive does not have ({', '.join(done.examples)}{more})"
        )
    return doubts
