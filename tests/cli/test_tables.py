import subprocess
import sys
from dataclasses import asdict

import pytest
from run_builder import edit_manifest, make_manifest

from cam_repro.runs.scores import write_scores


def cam_tables(*arguments, cwd):
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from cam_repro.cli.tables import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_without_arguments_every_data_set_gets_its_tables(make_run, tmp_path):
    make_run("nin", cls_right=4, loc_right=4)
    make_run("nin", data="other")
    done = cam_tables(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "data set: demo (1 scored runs under runs)"
    assert "data set: other (1 scored runs under runs)" in lines
    assert max(map(len, lines)) <= 100
    for data, error in (("demo", "0.00"), ("other", "100.00")):
        folder = tmp_path / "runs" / data / "tables"
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["runs.csv", "table1.csv", "table2.csv", "table3.csv", "tables.md"]
        assert f"NIN,{error},{error},41.90" in (folder / "table1.csv").read_text()
        assert (folder / "tables.md").read_text() in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_output_holds_one_data_set_or_a_folder_for_each(command, make_run, tmp_path):
    make_run("nin")
    make_run("nin", data="other")
    assert command("tables", "output=a", "data=other").status == 0
    assert (tmp_path / "a" / "table1.csv").is_file()
    assert command("tables", "output=b").status == 0
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["demo", "other"]


def test_sources(command, make_run, tmp_path):
    make_run("nin", cls_right=4, loc_right=4)
    boxes = ["dt_box", "dt_box_heuristic"]
    folder = tmp_path / "runs" / "demo" / "tables"

    def files(*arguments):
        done = command("tables", *arguments)
        assert done.status == 0, done.err
        assert max(map(len, done.out.splitlines())) <= 100
        assert (folder / "tables.md").read_text() in done.out
        names = sorted(path.name for path in folder.iterdir())
        for path in folder.iterdir():
            path.unlink()
        return names, done.err

    paper = ["runs.csv", "table1.csv", "table2.csv", "table3.csv", "tables.md"]
    authors = ["table1_authors.csv", "table2_authors.csv", "table3_authors.csv"]
    sides = ["table1_sources.csv", "table2_sources.csv", "table3_sources.csv"]
    assert files() == files("source=paper") == files("source=both") == (paper, "")
    names, warning = files("source=authors")
    assert names == sorted({*paper, *authors} - {f"table{i}.csv" for i in (1, 2, 3)})
    assert warning == (
        "demo: no run has the view ten and the box rule dt_box or dt_box_heuristic of "
        "source=authors: its tables are empty\n"
    )

    make_run("nin", view="ten", cls_right=4, loc_right=3, rules=boxes)
    assert files("source=authors")[1] == ""
    assert files("source=both") == (sorted([*paper, *authors, *sides]), "")
    command("tables", "source=both")
    line = (folder / "table2_sources.csv").read_text().splitlines()[11]
    assert line.startswith("NIN,top-1,65.47,0.00,25.00,+25.00,4,4,demo,val,val,,")


def test_mistakes_are_one_line(command, make_run):
    def error(*arguments):
        done = command("tables", *arguments)
        assert (done.status, done.out) == (1, "")
        return done.err

    assert error() == "error: no scored runs under runs: run cam-reproduce or cam-eval first\n"
    path = make_run("nin")
    assert error("data=foo") == "error: no scored runs of data=foo under runs; choose one of demo\n"
    assert error("dat=foo") == "error: there is no setting 'dat'; did you mean data?\n"
    assert error("source=foo") == "error: source=foo: choose one of paper, authors, both\n"
    (path / "manifest.json").write_text('{"schema": 7}')
    broken = (
        "left out: runs/demo/nin/eval/val-cam/manifest.json has schema 7, this version reads 1 to "
        "2: score the run again with cam-eval overwrite=true\n"
    )
    assert error() == f"{broken}error: no scored run under runs can be read\n"
    make_run("vgg_gap", data="other")
    done = command("tables")
    assert (done.status, done.err) == (0, broken)
    assert done.out.startswith("data set: other (1 scored runs under runs)\n")


def test_help_is_about_the_command(tmp_path):
    done = cam_tables("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("cam-tables [data=NAME]")
    assert not list(tmp_path.iterdir())


def test_runs_are_named_by_folder_list_and_glob(command, make_run, tmp_path):
    make_run("nin", cls_right=4, loc_right=4)
    make_run("vgg")
    make_run("nin", data="other")
    done = command("tables", "runs=runs/demo")
    assert done.out.startswith("data set: demo (2 scored runs under runs/demo)\n")
    assert done.out.endswith(
        "written to runs/demo/tables: table1.csv table2.csv table3.csv runs.csv tables.md\n\n"
    )
    done = command("tables", "runs=[runs/demo/vgg/eval/val-cam,runs/other/*/eval/*]")
    assert "data set: other (1 scored runs under runs/demo/vgg/eval/val-cam, runs/other/" in (
        done.out.replace("\n", " ")
    )
    assert done.out.count("not written to files: name a folder with output=DIR") == 2
    assert command("tables", "runs=runs/*/nin", "output=o").status == 0
    runs = (tmp_path / "o" / "demo" / "runs.csv").read_text().splitlines()
    assert [line.split(",")[13] for line in runs[1:]] == 2 * ["runs/demo/nin/eval/val-cam"]


def test_a_sweeps_folder_gets_its_tables_itself(command, make_run, tmp_path):
    make_run("nin").rename(tmp_path / "a")
    make_run("nin").rename(tmp_path / "b")
    for name in "ab":
        (tmp_path / "sweep").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "sweep" / name)
    assert "written to sweep/tables: " in command("tables", "runs=sweep").out
    assert [line.split(",")[13] for line in (tmp_path / "sweep/tables/runs.csv").open()][1:] == [
        *("a", "a", "b", "b")
    ]


def test_compare(command, make_run, tmp_path):
    make_run("nin", cls_right=4, loc_right=4)
    make_run("vgg", cls_right=1)
    done = command("tables", "runs=[runs/demo/nin,runs/demo/vgg]", "compare=true", "box=heuristic")
    assert done.status == 0, done.err
    assert [line.split()[1] for line in done.out.splitlines()[6:] if line[:1] == "|"] == [
        *("error", "---------", "cls", "cls", "loc", "loc", "GT-known")
    ]
    assert done.out.endswith("not written to files: name a folder with output=DIR\n\n")
    assert command("tables", "compare=true").out.endswith(
        "written to runs/demo/tables: comparison.csv comparison.md\n\n"
    )
    names = sorted(path.name for path in (tmp_path / "runs/demo/tables").iterdir())
    assert names == ["comparison.csv", "comparison.md"]


def test_tables_of_an_earlier_call_are_not_taken_for_new_ones(command, make_run):
    """Here protocols.csv is of a run that is not among those of the second call."""
    write_scores(make_run("nin"), "pointing_game", {"pointing_game": 50.0, "n_images": 4})
    make_run("vgg")
    assert "protocols.csv" in command("tables", "output=o").out
    assert command("tables", "runs=runs/demo/vgg", "output=o").out.endswith(
        "written to o: table1.csv table2.csv table3.csv runs.csv tables.md; also there, but not "
        "written now:\nprotocols.csv\n\n"
    )


@pytest.mark.parametrize("data", ["../out", "..", "/tmp", "a/b", "."])
def test_a_data_sets_name_leads_nowhere_else(command, make_run, tmp_path, data):
    folder = make_run("nin")
    edit_manifest(folder, data={**asdict(make_manifest().data), "name": data})
    before = sorted(tmp_path.rglob("*"))
    for words in ([], ["compare=true", "box=[threshold,heuristic]"]):
        done = command("tables", *words)
        (error,) = done.errors
        assert error.startswith(f"error: '{data}' is no name of a file or folder in runs, so ")
    assert command("report").errors == done.errors
    assert sorted(tmp_path.rglob("*")) == before
    assert command("tables", "output=mine").status == 0
    assert (tmp_path / "mine" / "runs.csv").is_file()
    make_run("vgg")
    (error,) = command("tables", "output=both").errors
    assert error.startswith(f"error: '{data}' is no name of a file or folder in both, so ")
    assert not (tmp_path / "both").exists()
    assert command("report", f"data={data}", "output=page.html").status == 0


def test_mistakes_in_comparing_are_one_line(command, make_run):
    make_run("nin")
    for words, said in {
        "box=threshold": "box=threshold: is used with compare=true only; leave it out",
        "compare=true box=[a,b,c]": "box=['a', 'b', 'c']: name one box rule, or two as in "
        "box=[A,B]",
        "runs=3": "no scored runs under 3: run cam-reproduce or cam-eval first",
        "runs=[]": "runs=[]: name folders of runs, as runs=DIR or runs=[A,B]",
        "runs=[runs,no]": "no scored runs under no: run cam-reproduce or cam-eval first",
        "compare=true": "demo/nin/eval/val-cam is the only run: name another one too, as in "
        "runs=[A,B], or two of its box rules (threshold, heuristic), as in box=[A,B]",
    }.items():
        assert command("tables", *words.split()).errors == [f"error: {said}"]
