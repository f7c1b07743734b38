import subprocess
import sys


def cam_tables(*arguments, cwd):
    command = [sys.executable, "-c", "from cam_repro.cli.tables import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_without_arguments_every_data_set_gets_its_tables(make_run, tmp_path):
    make_run("nin", cls_right=4, loc_right=4)
    make_run("nin", data="other")
    done = cam_tables(cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "data set: demo (1 scored runs under runs, view squash)"
    assert "data set: other (1 scored runs under runs, view squash)" in lines
    assert max(map(len, lines)) <= 100
    for data, error in (("demo", "0.00"), ("other", "100.00")):
        folder = tmp_path / "runs" / data / "tables"
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["table1.csv", "table2.csv", "table3.csv", "tables.md"]
        assert f"NIN,{error},{error},41.90" in (folder / "table1.csv").read_text()
        assert (folder / "tables.md").read_text() in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_output_holds_one_data_set_or_a_folder_for_each(make_run, tmp_path):
    make_run("nin")
    make_run("nin", data="other")
    assert cam_tables("output=a", "data=other", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a" / "table1.csv").is_file()
    assert cam_tables("output=b", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["demo", "other"]


def test_mistakes_are_one_line(make_run, tmp_path):
    def error(*arguments):
        done = cam_tables(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    assert error() == "error: no scored runs under runs: run cam-reproduce or cam-eval first\n"
    path = make_run("nin")
    assert error("data=foo") == "error: no scored runs of data=foo under runs; there: demo\n"
    assert error("dat=foo") == "error: there is no setting 'dat': --help lists them\n"
    (path / "manifest.json").write_text('{"schema": 7}')
    assert error() == (
        "error: runs/demo/nin/eval/val-cam/manifest.json has schema 7, this version reads 1: "
        "score the run again with cam-eval\n"
    )


def test_help_is_about_the_command(tmp_path):
    done = cam_tables("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("cam-tables [data=NAME]")
    assert not list(tmp_path.iterdir())
