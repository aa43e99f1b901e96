"""A small part of each campaign, so that none of them stops working unnoticed."""

import pytest

from layerscope.cli import app
from tests.campaigns import api, arguments, damaged_files, folders, kills, processes, schedules
from tests.campaigns.report import Report, Trial


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAYERSCOPE_CACHE", str(tmp_path / "cache"))


def _report(campaign, count: int, *more: str) -> Report:
    report = Report("trials", (*campaign.RIGHT, *more))
    for trial in campaign.trials(count, 1):
        report.add(trial)
    assert not report.faults, str(report)
    return report


def test_schedule_strings_are_refused_or_read_back():
    total = _report(schedules, 300).total
    assert total["refused"] > 40
    assert total["read back"] > 40


def test_misuse_of_the_python_interface_is_refused():
    # TypeCheckError: the tests also look into lists of texts, which users' calls leave to the reader of the texts.
    assert _report(api, 60, "TypeCheckError").total["refused"] > 30


def test_argument_vectors_end_in_two_lines_at_most():
    assert _report(arguments, 10).total.total() == 10


def test_damaged_files_are_refused_or_harmless():
    assert _report(damaged_files, 10).total["refused"] >= 3


def test_killed_commands_are_run_again_as_if_undisturbed():
    assert _report(kills, 4).total.total() == 4


def test_hostile_folders_are_refused_or_harmless():
    assert _report(folders, 10).total["refused"] >= 5


def test_a_process_that_crashes_or_talks_is_a_fault():
    def name(code: int, said: str) -> str:
        return processes._name(code, said)

    assert name(0, "note: a\nnote: b\nwarning: c\n") == processes.DONE
    assert name(1, "layerscope: a\nb\n") == processes.REFUSED
    assert name(1, "layerscope: a\nb\nc\n") not in processes.RIGHT
    assert name(-11, "") == "crash (SIGSEGV)"
    assert name(1, "layerscope: x\nThis is a fault of layerscope: report it.") not in processes.RIGHT
    assert name(99, "Traceback (most recent call last):") not in processes.RIGHT


def test_a_report_counts_what_is_not_right():
    report = Report("things", ("fine",))
    added = [
        report.add(Trial(subject, ending, "an example"))
        for subject, ending in zip("aab", ["fine", "odd", "fine"], strict=True)
    ]
    assert added == [True, False, True]
    assert report.faults == 1
    assert str(report).splitlines()[0] == "things: 3 trials, 1 faults"
    assert "| a | 2 | 1 | 1 |" in str(report)
    assert "odd: a: an example" in str(report)


def test_vectors_reach_every_command():
    commands = {one.name or one.callback.__name__ for one in app.registered_commands}
    assert commands <= {vector[0] for vector in arguments.vectors(400, seed=0)}
