"""The prose of the package, the notebooks and the pages does not slide back into the old style."""

from tests.old_style import count, files

MOST = 45
"""Signs of the old style in all files. The number only goes down."""


def test_the_signs_of_the_old_style_do_not_grow() -> None:
    phrases, by_file = count(files())
    assert sum(phrases.values()) <= MOST, f"run python -m tests.old_style; most are in {by_file.most_common(5)}"


def test_the_signs_are_found_in_docstrings_comments_messages_and_pages(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tests.old_style.ROOT", tmp_path)
    code, page = tmp_path / "code.py", tmp_path / "page.md"
    code.write_text('"""What it says."""\n\nX = "beside y"  # so many\nnothing_but = 1\n')
    page.write_text("It stands here.\n\n```\nbeside\n```\n")
    phrases, by_file = count([code, page])
    assert {phrase for phrase, hits in phrases.items() if hits} == {"what it", "say", "beside", "so many", "stand"}
    assert by_file == {"code.py": 4, "page.md": 1}
