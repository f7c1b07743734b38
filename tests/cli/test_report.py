import json
import re
import subprocess
import sys


def test_every_data_set_gets_its_page_without_torch(make_run, tmp_path):
    make_run("nin", cls_right=2)
    make_run("vgg_gap", data="other")
    code = (
        "import sys; from cam_repro.cli.report import main; main(); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "False"
    pages = [tmp_path / "runs" / data / "report.html" for data in ("demo", "other")]
    for line, page in zip(lines, pages, strict=True):
        megabytes = f"{page.stat().st_size / 1e6:.1f} MB"
        data, place = page.parent.name, page.relative_to(tmp_path)
        assert line == f"report of {data} (1 scored run): {place}, {megabytes}"
        assert f"<title>Localization report: {data}</title>" in page.read_text()
    # Nothing but the page was written.
    assert {path.name for path in (tmp_path / "runs" / "demo").iterdir()} == {"nin", "report.html"}


def test_a_page_of_ones_own_name(make_run, command, tmp_path):
    folder = make_run("nin", cls_right=2)
    done = command("report", f"runs=[{folder}]", "output=sub/page.html")
    assert (done.status, done.errors) == (0, [])
    assert "nin, cam" in (tmp_path / "sub" / "page.html").read_text()
    assert not (tmp_path / "runs" / "demo" / "report.html").exists()


def test_mistakes_are_answered_in_one_line(make_run, command, tmp_path):
    folder = make_run("nin")
    make_run("nin", data="other")
    (tmp_path / "full").mkdir()
    for words, message in {
        ("source=talk",): "source=talk: choose one of paper, authors, both",
        ("output=page.txt",): "output=page.txt: is one file; give it a name that ends in .html",
        ("output=page.html",): (
            "there are runs of demo, other, and the report of each is a file of its own: "
            "choose one with data=NAME"
        ),
        (f"runs={folder}",): (
            "output not given: runs= names no folder to write to; add output=F.html"
        ),
        ("runs=full",): "no scored runs under full: run cam-reproduce or cam-eval first",
        ("data=third",): "no scored runs of data=third under runs; choose one of demo, other",
    }.items():
        done = command("report", *words)
        assert done.status == 1
        assert done.errors == [f"error: {message}"]
    assert not list(tmp_path.rglob("*.html"))


def test_a_broken_run_and_broken_examples_are_left_out_and_said(make_run, command, tmp_path):
    whole, broken = make_run("nin"), make_run("vgg")
    (broken / "predictions.parquet").write_bytes(b"x")
    (whole / "examples.parquet").write_bytes(b"x")
    done = command("report")
    assert done.status == 0
    assert len(done.err.splitlines()) == 2
    said = r"left out: .*vgg/eval/val-cam/predictions.parquet is not as it was written"
    assert re.search(said, done.err)
    assert re.search(r"no pictures: .*nin/eval/val-cam/examples.parquet is damaged", done.err)
    page = (tmp_path / "runs" / "demo" / "report.html").read_text()
    assert "nin, cam" in page
    # The page says it as well, as nobody keeps what a terminal said.
    assert "<code>demo/vgg/eval/val-cam</code>.\n" in page


def test_a_run_of_an_older_version_is_shown(make_run, command, tmp_path):
    """Schema 1, without names of classes and without thresholds."""
    folder = make_run("nin", cls_right=3)
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    values["strategies"] = values.pop("rules")
    del values["data"]["class_names"]
    del values["checksum"]
    path.write_text(json.dumps(values | {"schema": 1}))
    assert command("report").status == 0
    text = (tmp_path / "runs" / "demo" / "report.html").read_text()
    assert "class 0" in text
