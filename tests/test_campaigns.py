"""A small part of each campaign of wrong use, so that none of them stops working unnoticed."""

import os
import random

from layerscope.cli import app
from tests.campaigns import api, arguments, schedules
from tests.campaigns.report import Report


def test_schedule_strings_are_refused_or_read_back():
    report = Report("schedule strings", schedules.EXPECTED)
    for text in schedules.strings(150, seed=1):
        report.add(*schedules.attempt(text))
    assert not report.faults, str(report)
    assert report.counts["refused"] > 20
    assert report.counts["read back"] > 20


def test_misuse_of_the_python_interface_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw, report = random.Random(1), Report("misuse", (*api.EXPECTED, "TypeCheckError"))
    # TypeCheckError: the tests also look into lists of texts, which users' calls leave to the reader of the texts.
    for door in api.doors(tmp_path):
        api.misuse(door, report, share=lambda: draw.random() < 0.005)
    assert not report.faults, str(report)
    assert report.counts["refused"] > 100


def test_argument_vectors_end_in_two_lines_at_most(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "LAYERSCOPE_CACHE", str(tmp_path / "cache"))
    arguments.prepare(tmp_path)
    report, worker = Report("argument vectors", arguments.EXPECTED), arguments.Worker(tmp_path)
    for vector in arguments.vectors(20, seed=1):
        report.add(*worker.outcome(vector))
    worker.end()
    assert not report.faults, str(report)


def test_a_report_counts_what_is_not_expected():
    report = Report("things", ("fine",))
    for outcome in ("fine", "fine", "odd"):
        report.add(outcome, "an example")
    assert report.faults == 1
    assert str(report).splitlines()[0] == "things: 3 tried, 1 faults"
    assert "odd: an example" in str(report)


def test_vectors_reach_every_command():
    commands = {one.name or one.callback.__name__ for one in app.registered_commands}
    assert commands <= {vector[0] for vector in arguments.vectors(400, seed=0)}
