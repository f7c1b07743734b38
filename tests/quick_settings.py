"""Spare the tests what Hydra does anew for every command, 0.1 s in all: they run thousands.

The YAML files of ``configs/`` are read and merged once in a process for each choice among them, and
a word of a command line is parsed once. What the line sets besides choices is applied by Hydra each
time, as always. Settings of which a file lies elsewhere (``--config-dir``) are composed by Hydra
alone, and so are those of real processes. A file of ``configs/`` that changes while the tests run
is not read again. Settings are copied by pickle, which takes about half of the time.
"""

import pickle
from dataclasses import astuple, replace

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from cam_repro.config import config_dir

composed_by_hydra = ConfigLoaderImpl._compose_config_from_defaults_list
listed_by_hydra = config_loader_impl.create_defaults_list
parsed_by_hydra = OverridesParser.parse_rule
copied_by_omegaconf = DictConfig.__deepcopy__

_OURS = {str(config_dir()), "hydra.conf", "cam_repro.cli", ""}  # without groups: the package
_lists, _merged, _words = {}, {}, {}


def _stored():
    """What Hydra reads besides files: the names that a command stores, or none."""
    return tuple(sorted(ConfigStore.instance().repo))


def _listed(repo, config_name, overrides_list, prepend_hydra, skip_missing):
    """As Hydra's ``create_defaults_list``, which looks at the choices among the overrides alone."""
    settings = [one for one in overrides_list if not one.is_sweep_override()]
    choices = [one for one in settings if _is_choice(repo, one)]
    sources = tuple(source.path for source in repo.get_sources())
    if not _OURS.issuperset(sources):
        return listed_by_hydra(repo, config_name, overrides_list, prepend_hydra, skip_missing)
    words = tuple(one.input_line for one in choices)
    key = (sources, _stored(), config_name, words, prepend_hydra, skip_missing)
    if key not in _lists:
        _lists[key] = listed_by_hydra(repo, config_name, choices, prepend_hydra, skip_missing)
    return replace(
        _lists[key], config_overrides=[one for one in settings if not _is_choice(repo, one)]
    )


def _is_choice(repo, override):
    """Whether an override names a file of a group, as Hydra's ``Overrides`` tells."""
    return repo.group_exists(override.key_or_group) and not isinstance(override.value(), dict)


def _composed(self, defaults, repo):
    """As Hydra's method, whose result is kept; whoever asks gets a copy."""
    sources = tuple(source.path for source in repo.get_sources())
    if not _OURS.issuperset(sources):
        return composed_by_hydra(self, defaults, repo)
    key = (sources, _stored(), *map(astuple, defaults))
    if key not in _merged:
        _merged[key] = pickle.dumps(composed_by_hydra(self, defaults, repo))
    return pickle.loads(_merged[key])


def _parsed(self, s, rule_name):
    """As Hydra's method, whose result is kept; whoever asks gets a copy."""
    key = (s, rule_name)
    if key not in _words:
        _words[key] = pickle.dumps(parsed_by_hydra(self, s, rule_name))
    return pickle.loads(_words[key])


def _copied(self, memo):
    """As OmegaConf's method: the parent is kept, but not copied."""
    parent, self.__dict__["_parent"] = self.__dict__["_parent"], None
    try:
        copied = pickle.loads(pickle.dumps(self))
    except (pickle.PicklingError, AttributeError, TypeError):  # of a class in a function
        self.__dict__["_parent"] = parent
        return copied_by_omegaconf(self, memo)
    copied.__dict__["_parent"] = self.__dict__["_parent"] = parent
    return copied


def install():
    """Take Hydra's place for the rest of the process."""
    config_loader_impl.create_defaults_list = _listed
    ConfigLoaderImpl._compose_config_from_defaults_list = _composed
    OverridesParser.parse_rule = _parsed
    DictConfig.__deepcopy__ = _copied
