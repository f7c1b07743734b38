"""Check the settings of ``configs/loader``: how images are read. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from cam_repro.errors import UserError, one_of


@dataclass
class LoaderSettings:
    """Hold the settings of configs/loader/*.yaml; the files explain every key."""

    on_error: str = "stop"
    preload: str = "auto"
    workers: int | None = None

    def __post_init__(self) -> None:
        for key, choices in (("on_error", ("stop", "skip")), ("preload", ("auto", "yes", "no"))):
            one_of(f"loader.{key}", getattr(self, key), choices)
        if self.workers is not None and self.workers < 0:
            raise UserError(f"loader.workers={self.workers}: must be 0 or more")
