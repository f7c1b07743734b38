"""``cam-report``: write one HTML file about the scored runs of each data set."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("report", groups=False)
def main(cfg: DictConfig) -> None:
    """Write the report of each data set, and say where it is."""
    from cam_repro.commands.report import ReportSettings, run_report  # slow imports
    from cam_repro.config import validate

    run_report(validate(cfg, ReportSettings))


if __name__ == "__main__":
    main()
