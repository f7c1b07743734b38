"""A wheel of this tree, installed into a folder of its own, works from anywhere."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIXTURE = ROOT / "tests" / "fixtures" / "devkit_scoring"
COMMANDS = ["train", "eval", "tables", "score", "data", "reproduce", "show", "report", "figures"]
COMMANDS += ["features", "generic", "concept", "units"]
OFFLINE = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]


def pip(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder with the package installed from a wheel."""
    pytest.importorskip("hatchling", reason="the build backend is not installed")
    wheels = tmp_path_factory.mktemp("wheels")
    pip("wheel", ".", "--no-build-isolation", *OFFLINE, "-w", str(wheels))
    (wheel,) = wheels.iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    site = tmp_path_factory.mktemp("site")
    pip("install", *OFFLINE, "--target", str(site), str(wheel))
    return site


@pytest.fixture
def python(site, tmp_path):
    """Runs Python in an empty folder, with the wheel's package before any other."""

    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )

    return python


def test_the_wheel_carries_its_configuration(python, site):
    done = python(
        "-c",
        "import cam_repro, cam_repro.cli.app as app\nprint(cam_repro.__file__, app.config_dir())",
    )
    assert done.stdout.split() == [
        str(site / "cam_repro" / "__init__.py"),
        str(site / "cam_repro" / "configs"),
    ], done.stderr
    ours = {str(p.relative_to(ROOT / "configs")) for p in (ROOT / "configs").rglob("*.yaml")}
    theirs = site / "cam_repro" / "configs"
    assert {str(path.relative_to(theirs)) for path in theirs.rglob("*.yaml")} == ours
    assert (site / "cam_repro" / "py.typed").is_file()
    templates = sorted((ROOT / "cam_repro" / "report" / "templates").iterdir())
    there = sorted((site / "cam_repro" / "report" / "templates").iterdir())
    assert [path.name for path in there] == [path.name for path in templates]
    assert {path.name for path in site.iterdir() if not path.name.endswith("dist-info")} == {
        *("cam_repro", "bin")
    }


def test_every_command_is_installed(site):
    assert {path.name for path in (site / "bin").iterdir()} == {f"cam-{c}" for c in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick_and_about_the_command(python, name, tmp_path):
    code = (
        "import atexit, sys\n"
        "heavy = lambda: [name for name in ('torch', 'cv2') if name in sys.modules]\n"
        "atexit.register(lambda: print('heavy:', heavy()))\n"
        f"sys.argv[0] = 'cam-{name}'\n"
        f"from cam_repro.cli.{name} import main\n"
        "main()"
    )
    done = python("-c", code, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cam-{name} ")
    assert "Settings as they are now:" in done.stdout
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_modules_are_commands(python, name):
    # torchrun needs this form.
    done = python("-m", f"cam_repro.cli.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cam-{name} ")


def test_cam_score_works(python):
    files = [f"submission={FIXTURE}/submission.txt", f"ground_truth={FIXTURE}/ground_truth.csv"]
    done = python("-m", "cam_repro.cli.score", *files)
    assert done.returncode == 0, done.stderr
    (expected,) = (
        row
        for row in json.loads((FIXTURE / "expected.json").read_text())
        if not row["blacklist"] and row["guesses"] == 5
    )
    found = json.loads(done.stdout)["guesses"][4]
    assert found["cls_error"] == pytest.approx(expected["cls_error"], abs=1e-6)
    assert found["clsloc_error"] == pytest.approx(expected["clsloc_error"], abs=1e-6)


def test_training_works(python, tiny_run, site, tmp_path):
    done = python("-m", "cam_repro.cli.train", *tiny_run, "optim.iterations=1")
    assert done.returncode == 0, done.stderr
    manifest = tmp_path / "runs" / "tiny" / "alexnet_gap" / "train" / "manifest.json"
    assert json.loads(manifest.read_text())["git"] is None  # not that of the folder it runs in
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_the_wheel_carries_the_licence_and_says_so(site):
    (about,) = site.glob("cam_repro-*.dist-info")
    assert (about / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "License-Expression: MIT" in (about / "METADATA").read_text().splitlines()
