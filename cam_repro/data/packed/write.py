"""Write packed data: a data set becomes a few large files, which ``read.py`` reads.

The same images and settings give the same bytes at any time and with any number of threads; only
the manifest differs.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, features

from cam_repro.classes import ClassTable
from cam_repro.data.check import other_sizes
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy, ImageFiles, Size, UnreadableImage
from cam_repro.data.packed.read import (
    INDEX,
    MANIFEST,
    NOWHERE,
    SCHEMA,
    load_packed_set,
    read_pack_manifest,
    shard_path,
)
from cam_repro.data.views import squash
from cam_repro.errors import UserError, one_of
from cam_repro.files import check_writable, says_if_full, sha256, sync, with_checksum, write_json
from cam_repro.locks import sole_writer
from cam_repro.progress import Bar
from cam_repro.threads import thread_pool
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)

LOSSLESS: dict[str, dict[str, Any]] = {
    "webp": {"format": "WEBP", "lossless": True, "quality": 0, "method": 0},
    "png": {"format": "PNG", "compress_level": 1, "compress_type": 3},  # 3: zlib's Z_RLE, quick
}
JPG = "jpg"
FORMATS = (*LOSSLESS, JPG)
JPG_QUALITY = 95
LARGEST = 16_383
"""Largest side in pixels, which is webp's limit."""

Result = TypeVar("Result")


@dataclass
class Stored:
    """Hold the settings of how images are stored, and encode images by them.

    size: side in pixels of the square that images are squashed to; None: store the bytes of the
        original files.
    format: one of ``FORMATS``, webp by default. quality: of jpg, 1 to 100, 95 by default.
    shard_bytes: approximate size of a shard.
    decode: read the pixels of every image, to find broken files. It may be false only where
        ``size`` is None; then only files with broken headers are found.

    webp and png are lossless. Measured on 60 ILSVRC validation images at 256 pixels (Pillow 13, one
    core), against decoding and squashing the originals (91 kB): webp has 85 kB a file and takes
    0.49 of the time to decode, png 109 kB and 0.71, jpg 29 kB and 0.16.
    """

    size: int | None
    format: str | None = None
    quality: int | None = None
    shard_bytes: int = 500_000_000
    decode: bool = True

    def __post_init__(self) -> None:
        def require(ok: bool, message: str) -> None:
            if not ok:
                raise UserError(message)

        require(self.shard_bytes > 0, f"shard_bytes={self.shard_bytes}: must be over 0")
        if self.size is None:
            require(
                self.format is None and self.quality is None,
                "size=null packs the files as they are: leave format and jpg_quality out",
            )
            return
        require(
            self.decode,
            "decode=false: size=null alone packs images without looking at their pixels",
        )
        require(0 < self.size <= LARGEST, f"size={self.size}: must be 1 to {LARGEST:,}, or null")
        self.format = self.format or FORMATS[0]
        one_of("format", self.format, FORMATS)
        has_it = self.format != "webp" or bool(features.check("webp"))
        require(has_it, "format=webp: this Pillow was built without it, choose png or jpg")
        if self.format == JPG:
            self.quality = JPG_QUALITY if self.quality is None else self.quality
            require(1 <= self.quality <= 100, f"jpg_quality={self.quality}: must be 1 to 100")
        else:
            lossless = f"format={self.format} keeps every pixel: leave jpg_quality out"
            require(self.quality is None, lossless)

    @property
    def altered(self) -> str | None:
        """Say how it changes the pixels, always in the same words; None if it does not."""
        if self.size is None:
            return None
        return f"{self.size}x{self.size}" + (f" {JPG} {self.quality}" if self.quality else "")

    @property
    def words(self) -> str:
        """Say how images are stored, for the description of a data set."""
        if self.size is None:
            return "packed as it was"
        quality = f" of quality {self.quality}" if self.quality else ""
        return f"packed at {self.size}x{self.size} as {self.format}{quality}"

    def name(self, source: str) -> str:
        """Name the packed data set, given the name of its source."""
        return source if self.size is None else f"{source}-{self.size}"

    def encode(self, image: Image.Image) -> bytes:
        """Squash and encode an RGB image; ``size`` must not be None."""
        assert self.size is not None
        assert self.format is not None
        options = LOSSLESS.get(self.format) or {"format": "JPEG", "quality": self.quality}
        buffer = io.BytesIO()
        Image.fromarray(squash(image, self.size)).save(buffer, **options)
        return buffer.getvalue()


def pack(
    sources: Sequence[ImageSet],
    output: Path,
    stored: Stored,
    *,
    threads: int,
    policy: ErrorPolicy,
    provenance: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Pack the splits into the new folder ``output``; give its manifest.

    What is packed there already, from these images by these settings, is left as it is.

    sources: the splits. stored: how images are stored. policy: whether an unreadable image stops
        the packing. provenance: more keys for the manifest.

    Where an unreadable image does not stop it, the manifest names the image, and the index has a
    row for it but no bytes: source and packed set have the same images and the same unreadable
    ones. All is written to a temporary folder beside ``output``, which is renamed when it is
    complete and on the disk.

    Raises UserError where ``output`` holds anything else or cannot be written, where another
    command packs it, and where a split is packed already, has no images, or has other classes than
    the first split.
    """
    check_writable(output)
    for images in sources:
        if not isinstance(images.store, ImageFiles):
            raise UserError(f"{images.folder}: no files of images: pack the original data set")
        if images.classes.wnids != sources[0].classes.wnids:
            raise UserError(
                f"{images.folder}: has other classes than {sources[0].folder}; name one list of "
                "them for all with data.classes="
            )
    place = output.absolute()
    temporary = place.with_name(f".{place.name}.packing")
    with sole_writer(output, lock=place.with_name(f".{place.name}.lock")):
        there = _packed_before(sources, output, stored)
        if there is not None:
            log.info("packed already: %s", output)
            return there
        if output.exists() and any(output.iterdir()):
            raise UserError(f"{output}: is not empty; give a new folder with output=DIR")
        shutil.rmtree(temporary, ignore_errors=True)  # of a start that was killed
        try:
            with says_if_full(output):
                manifest = _write(sources, temporary, stored, threads, policy, provenance or {})
                temporary.replace(output)
                sync(place.parent)
        except OSError as error:
            if error.filename is not None:
                raise
            raise UserError(f"{output}: cannot be written ({error.strerror})") from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _packed_before(
    sources: Sequence[ImageSet], output: Path, stored: Stored
) -> dict[str, Any] | None:
    """Give the manifest of what is packed in ``output``, if it is these splits stored this way.

    Raises UserError where it is, and is damaged or lacks images: they may be readable now.
    """
    if not (output / MANIFEST).is_file():
        return None
    manifest = read_pack_manifest(output)
    before = {split: packed.get("source") for split, packed in manifest["splits"].items()}
    wanted = {images.split: _source(images) for images in sources}
    same = [manifest.get(key) == value for key, value in _settings(stored).items()]
    if before != wanted or not all(same):
        return None
    skipped = sum(len(manifest["splits"][split].get("skipped", [])) for split in wanted)
    if skipped:
        raise UserError(
            f"{output}: is packed already, without {skipped} images that could not be read then: "
            "to pack them again, give a new folder with output=DIR"
        )
    for split in wanted:
        load_packed_set(output, split)
    return manifest


def _write(
    sources: Sequence[ImageSet],
    folder: Path,
    stored: Stored,
    threads: int,
    policy: ErrorPolicy,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Write shards, indices and manifest to a new folder; give the manifest."""
    folder.mkdir(parents=True)
    splits = {}
    for images in sources:
        writer = SplitWriter(folder / images.split, images, stored)
        splits[images.split] = writer.write(threads, policy)
    manifest = {
        "packed_schema": SCHEMA,
        **_settings(stored),
        "classes": _classes(sources[0].classes),
        "splits": splits,
        **provenance,
    }
    write_json(folder / MANIFEST, with_checksum(manifest))
    return manifest


def _settings(stored: Stored) -> dict[str, Any]:
    """Give what the manifest says of how images are stored."""
    return {
        "size": stored.size,
        "format": stored.format,
        "quality": stored.quality,
        "shard_bytes": stored.shard_bytes,
    }


def _source(images: ImageSet) -> dict[str, str]:
    """Give what the manifest says of where a split comes from."""
    return {
        "name": images.name,
        "folder": str(images.folder),
        "fingerprint": images.fingerprint,
    }


def _classes(classes: ClassTable) -> dict[str, Any]:
    ids_C = classes.devkit_ids_C
    return {
        "wnids": list(classes.wnids),
        "names": list(classes.names),
        "devkit_ids": None if ids_C is None else ids_C.tolist(),
        "ids_from": classes.ids_from,
    }


@dataclass
class SplitWriter:
    """Write one split into its folder."""

    folder: Path
    images: ImageSet
    stored: Stored

    def write(self, threads: int, policy: ErrorPolicy) -> dict[str, Any]:
        """Write shards and index; give what the manifest says of the split."""
        images = self.images
        n_images, skipped_before = len(images), len(policy.skipped)
        shard_N = np.full(n_images, NOWHERE, np.int32)
        offset_N, length_N = np.zeros(n_images, np.int64), np.zeros(n_images, np.int32)
        crc32_N = np.zeros(n_images, np.uint32)
        sizes_N2 = np.zeros((n_images, 2), np.int32)
        self.folder.mkdir()
        shards = ShardWriter(self.folder, images.split, self.stored.shard_bytes)
        with Bar(n_images, f"packing {images.split}") as bar, shards:
            for index, found in enumerate(in_order(self._content, n_images, threads)):
                bar.update()
                if isinstance(found, UnreadableImage):
                    policy.handle([found])
                    continue
                content, size = found
                suffix = self.stored.format or images[index].path.suffix[1:].lower()
                place = shards.add(f"{index:09d}", suffix, content, self._about(index, size))
                shard_N[index], offset_N[index], length_N[index] = *place, len(content)
                sizes_N2[index] = size
                crc32_N[index] = zlib.crc32(content)
        images.warn_of_other_sizes(sizes_N2)
        stated_N2 = sizes_N2 if images.sizes_N2 is None else images.sizes_N2
        others = other_sizes(images.ids, stated_N2, sizes_N2)
        columns = {
            "id": pa.array(list(images.ids), pa.string()),
            "label": pa.array(images.labels_N, pa.int32()),
            "width": sizes_N2[:, 0],
            "height": sizes_N2[:, 1],
            "boxes": pa.ListArray.from_arrays(
                pa.array(4 * images.boxes.offsets, pa.int32()),
                pa.array(images.boxes.values_T4.ravel(), pa.int32()),
            ),
            "shard": shard_N,
            "offset": offset_N,
            "length": length_N,
            "crc32": crc32_N,
        }
        if images.label_sets is not None:
            columns["label_set"] = pa.ListArray.from_arrays(
                pa.array(images.label_sets.offsets, pa.int32()),
                pa.array(images.label_sets.values_T, pa.int32()),
            )
        if images.masks is not None:
            log.info("%s: masks are not packed: what needs them takes the original", images.split)
        if images.blacklisted_N is not None:
            columns["blacklisted"] = images.blacklisted_N
        pq.write_table(pa.table(columns), self.folder / INDEX)
        for path in (*shards.paths, self.folder / INDEX, self.folder):
            sync(path)
        blacklisted_N = images.blacklisted_N
        return {
            "name": self.stored.name(images.name),
            "images": n_images,
            "boxes": len(images.boxes.values_T4),
            "images_with_boxes": int(np.count_nonzero(images.boxes.counts_N)),
            "shards": [path.stat().st_size for path in shards.paths],
            "shards_sha256": [sha256(path) for path in shards.paths],
            "index_sha256": sha256(self.folder / INDEX),
            "skipped": policy.skipped[skipped_before:],
            "blacklisted": None if blacklisted_N is None else int(blacklisted_N.sum()),
            "is_ilsvrc": images.is_ilsvrc,
            "altered": self.stored.altered,
            "described": f"{self.stored.words}; {images.described}"
            + (f"; {len(others)} of another size than annotated" if others else ""),
            "other_size": others,
            "source": _source(images),
        }

    def _content(self, index: int) -> tuple[bytes, Size] | UnreadableImage:
        """Give the bytes to store for an image, and the size of its original; or its error."""
        images = self.images
        try:
            if self.stored.size is not None:
                image, size = images.read(index)
                return self.stored.encode(image), size
            size = images.read(index)[1] if self.stored.decode else images.size(index)
            return images[index].path.read_bytes(), size
        except UnreadableImage as error:
            return error

    def _about(self, index: int, size: Size) -> dict[str, Any]:
        sample = self.images[index]
        known = sample.label != NO_LABEL
        return {
            "id": sample.id,
            "label": sample.label,
            "wnid": self.images.classes.wnids[sample.label] if known else None,
            "width": size[0],
            "height": size[1],
            "boxes": sample.boxes_M4.tolist(),
        }


def in_order(function: Callable[[int], Result], count: int, threads: int) -> Iterator[Result]:
    """Yield ``function(0)``, ... ``function(count - 1)`` in order, computed by threads.

    The threads are at most 4 x ``threads`` items ahead, because results wait in memory.
    """
    with thread_pool(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for index in range(count):
            waiting.append(pool.submit(function, index))
            if len(waiting) > 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class ShardWriter:
    """Write tars of about ``limit`` bytes, one after another.

    The two members of an image are always in the same tar.
    """

    def __init__(self, folder: Path, split: str, limit: int) -> None:
        self.folder, self.split, self.limit = folder, split, limit
        self.paths: list[Path] = []
        self.tar: tarfile.TarFile | None = None

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self.tar is not None:
            self.tar.close()

    def add(
        self, key: str, suffix: str, content: bytes, about: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Write an image and what is known of it; give its shard and the offset of its bytes."""
        text = json.dumps(about).encode()
        if self.tar is None or self.tar.offset + len(content) > self.limit:
            self.__exit__()
            self.paths.append(shard_path(self.folder, self.split, len(self.paths)))
            # Closed when the next tar is opened, or by __exit__.
            self.tar = tarfile.open(self.paths[-1], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        offset = self.tar.offset + tarfile.BLOCKSIZE  # after the header
        for name, member in ((f"{key}.{suffix}", content), (f"{key}.json", text)):
            # The other fields of TarInfo (time, owner) keep their constant defaults, so that the
            # same images give the same bytes.
            info = tarfile.TarInfo(name)
            info.size = len(member)
            self.tar.addfile(info, io.BytesIO(member))
        return len(self.paths) - 1, offset
