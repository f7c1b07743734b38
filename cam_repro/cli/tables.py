"""``cam-tables``: fill the paper's tables from the scored runs of each data set."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("tables", groups=False)
def main(cfg: DictConfig) -> None:
    """Write the tables of each data set, and print them."""
    from cam_repro.commands.tables import TablesSettings, run_tables  # slow imports
    from cam_repro.config import validate

    run_tables(validate(cfg, TablesSettings))


if __name__ == "__main__":
    main()
