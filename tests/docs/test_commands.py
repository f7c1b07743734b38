"""Every command in the pages composes to valid settings, in words of this version."""

from itertools import product

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from pages import PAGES, ROOT, commands, shell_lines

from cam_repro.commands.concept import ConceptSettings
from cam_repro.commands.data import DataCommandSettings
from cam_repro.commands.figures import FiguresSettings
from cam_repro.commands.generic import GenericSettings
from cam_repro.commands.report import ReportSettings
from cam_repro.commands.reproduce import ReproduceSettings
from cam_repro.commands.score import ScoreSettings
from cam_repro.commands.show import ShowSettings
from cam_repro.commands.tables import TablesSettings
from cam_repro.commands.units import UnitsSettings
from cam_repro.config import choices, config_dir, validate
from cam_repro.engine.settings import EvalSettings, FeaturesSettings, TrainSettings
from cam_repro.words import compose, renamed

SCHEMAS = {
    "train": TrainSettings,
    "eval": EvalSettings,
    "features": FeaturesSettings,
    "generic": GenericSettings,
    "data": DataCommandSettings,
    "score": ScoreSettings,
    "tables": TablesSettings,
    "report": ReportSettings,
    "figures": FiguresSettings,
    "show": ShowSettings,
    "reproduce": ReproduceSettings,
    "units": UnitsSettings,
    "concept": ConceptSettings,
}
OTHERS = {"source", "export", "python", "pip", "torchrun", "srun"}
"""What else the pages have their reader type, besides scripts and the commands."""

TYPED = [line for page in PAGES for line in commands(page) if page.name != "extending.md"]
LINES = list(dict.fromkeys(TYPED))
"""Each once. Those of extending.md are run (test_extending.py)."""


def jobs(words):
    """The words of each job of a sweep: one for every combination of values given with commas."""
    flags = {"-m", "--multirun"}
    settings = [word for word in words if word not in flags]
    if len(settings) == len(words):
        return [settings]
    parsed = OverridesParser.create().parse_overrides(settings)
    of_each = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [each.input_line]
        for each in parsed
    ]
    return [list(job) for job in product(*of_each)]


def compose_plain(name, words):
    """cam-tables and cam-report have no groups: data=NAME is a plain setting of theirs."""
    settings = OmegaConf.load(config_dir() / f"{name}.yaml")
    del settings["defaults"], settings["hydra"]
    return OmegaConf.merge(settings, OmegaConf.from_dotlist(words))


def test_there_are_commands_to_test():
    assert {line.command for line in LINES} == SCHEMAS.keys()


@pytest.mark.parametrize("line", LINES, ids=str)
def test_a_command_composes(line):
    words = list(line.words)
    if line.command == "data":
        words[0] = f"action={words[0]}"
    yaml = "data_command" if line.command == "data" else line.command
    understood, notes = renamed(yaml, words)
    assert not notes, f"{line} has words of an earlier version"
    for job in jobs(understood):
        if line.command in ("tables", "report"):
            validate(compose_plain(line.command, job), SCHEMAS[line.command])
            continue
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            settings = validate(compose(yaml, job), SCHEMAS[line.command])
        if line.command in ("train", "eval") and "model" in {w.split("=")[0] for w in job}:
            assert settings.model is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_else_is_to_be_typed_but_what_is_there(page):
    for words in shell_lines(page):
        if words[0] == "bash":
            script = ROOT / words[1]
            assert script.is_file(), words
            if script.name == "benchmark.sh":
                options = (ROOT / "scripts" / "benchmark" / "__main__.py").read_text()
                flags = [word for word in words if word.startswith("--")]
                assert all(f'"{flag}"' in options for flag in flags), words
        else:
            assert words[0] in OTHERS or words[0].split("-")[0] in ("cam", "torchrun", "srun"), (
                words
            )


GROUPS = [path.name for path in config_dir().iterdir() if path.is_dir() and path.name != "loader"]
"""Of choices; ``loader`` has a single one."""


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_every_choice_is_in_the_table_of_choices(group):
    text = (ROOT / "docs" / "commands.md").read_text().partition("## The choices")[2]
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{group}` |")]
    missing = [name for name in choices(group) if f"`{name}`" not in row]
    assert not missing
