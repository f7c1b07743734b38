"""``cam-figures``: draw figures of runs as PNG, PDF or SVG."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("figures")
def main(cfg: DictConfig) -> None:
    """Draw a figure, and print where it is."""
    from cam_repro.commands.figures import FiguresSettings, run_figures  # slow imports
    from cam_repro.config import validate

    print(run_figures(validate(cfg, FiguresSettings)))


if __name__ == "__main__":
    main()
