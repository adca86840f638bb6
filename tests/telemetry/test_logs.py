from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio import Server

from backend.telemetry import logs
from backend.telemetry.lines import JsonLines, Lines, TextLines
from backend.telemetry.redaction import Redaction, one_line

KEY = "sk-canary-1234"
FORMATS = [TextLines(Redaction([KEY])), JsonLines(Redaction([KEY]))]
ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Everything that `str.splitlines`, and so some reader of logs, takes for the end of a line."""
FORGED = "2026-01-01T00:00:00.000+00:00 INFO backend: all is well"


def record(
    message: str, *args: object, exc: BaseException | None = None, **extra: object
) -> logging.LogRecord:
    exc_info = (type(exc), exc, exc.__traceback__) if exc else None
    made = logging.LogRecord("backend.test", logging.INFO, "here.py", 1, message, args, exc_info)  # type: ignore[arg-type]
    made.created = 1_700_000_000.1239
    vars(made).update(extra)
    return made


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as exc:
        return exc


def test_a_line_for_people() -> None:
    line = TextLines(Redaction([])).format(
        record(
            "GET %s %d", "/x", 200, request_id="r1", stream_id="s1", status=200, ms=1.5, door="sse", type=None
        )
    )
    assert line == (
        "2023-11-14T22:13:20.123+00:00 INFO backend.test: GET /x 200 door=sse request_id=r1 stream_id=s1"
    )


def test_a_line_for_machines() -> None:
    line = JsonLines(Redaction([])).format(
        record("GET %s %d", "/x", 200, request_id="r1", stream_id=None, method="GET", status=200, ms=1.5)
    )
    assert line == (
        '{"ts": "2023-11-14T22:13:20.123+00:00", "level": "info", "logger": "backend.test", '
        '"message": "GET /x 200", "request_id": "r1", "method": "GET", "status": 200, "ms": 1.5}'
    )


def test_of_several_processes_a_line_says_which_one_it_is_from() -> None:
    assert TextLines(Redaction([]), 71).format(record("up")).endswith(" INFO backend.test[71]: up")
    assert json.loads(JsonLines(Redaction([]), 71).format(record("up")))["pid"] == 71


def test_a_traceback_has_its_own_lines_and_its_causes() -> None:
    try:
        raise KeyError("outer") from raised("inner")
    except KeyError as exc:
        story = TextLines(Redaction([])).format(record("it broke", exc=exc)).split("\n")
    assert story[0].endswith("INFO backend.test: it broke")
    assert story[1] == "Traceback (most recent call last):"
    assert story[2].startswith('  File "')
    assert "ValueError: inner" in story
    assert "The above exception was the direct cause of the following exception:" in story
    assert story[-1] == "KeyError: 'outer'"


def test_a_circle_of_causes_ends() -> None:
    one, other = raised("one"), raised("other")
    one.__context__, other.__context__ = other, one
    assert TextLines(Redaction([])).format(record("it broke", exc=one)).count("Traceback") == 2


def test_a_traceback_is_a_field_of_the_object() -> None:
    line = JsonLines(Redaction([])).format(record("it broke", exc=raised("why")))
    assert json.loads(line)["traceback"].split("\n")[-1] == "ValueError: why"


@pytest.mark.parametrize("lines", FORMATS, ids=["text", "json"])
@given(before=st.text(), end=st.sampled_from(ENDS))
def test_no_text_makes_a_second_line(lines: Lines, before: str, end: str) -> None:
    text = f"{before}{end}{FORGED}"
    for made in (record(text), record("%s", text), record("a", request_id=text)):
        assert len(lines.format(made).splitlines()) == 1
    told = lines.format(record("a", exc=raised(text))).splitlines()
    assert not any(line.startswith("2026-01-01") for line in told)


@given(st.text(st.sampled_from("a\x00\t\n\r\x1b\x7f\x80\x85\x9b\u2028\u2029\u202e\u2066\ufeff\ud800")))
def test_what_is_shown_cannot_steer_a_terminal(text: str) -> None:
    assert one_line(text).isascii()
    assert one_line(text).isprintable()


def test_other_writing_stays_as_it_is() -> None:
    assert one_line("Grüße, 你好 🙂 \\n") == "Grüße, 你好 🙂 \\n"


@pytest.mark.parametrize("lines", FORMATS, ids=["text", "json"])
def test_a_secret_is_hidden_wherever_it_stands(lines: Lines) -> None:
    exc = raised(f"bad key {KEY}")
    exc.__cause__ = raised(f"http://x/?key={KEY}")
    line = lines.format(record(f"a {KEY} %s %r", KEY, {"k": KEY}, exc=exc, request_id=f"id-{KEY}"))
    assert "canary" not in line
    assert line.count("[redacted]") == 6


@pytest.mark.parametrize(
    "secret", ["quote'and\"both", "back\\slash", "pass word&more", "schlüssel-ß", "two\nlines"]
)
def test_a_secret_is_hidden_however_it_is_spelt(secret: str) -> None:
    clean = Redaction([secret]).clean
    for text in (secret, repr(secret), json.dumps(secret), f"{secret!r}"):
        assert clean(text).strip("'\"") == "[redacted]"


def test_of_two_secrets_the_longer_is_hidden_whole() -> None:
    assert Redaction(["12345678", "123456789"]).clean("x 123456789 y") == "x [redacted] y"


def test_what_is_too_short_to_be_a_secret_is_left() -> None:
    assert Redaction(["", "seven77"]).clean("seven77") == "seven77"


def test_words_that_do_not_fit_their_format_are_not_lost() -> None:
    assert "%d ('many',)" in TextLines(Redaction([])).format(record("%d", "many"))


@contextmanager
def installed() -> Iterator[None]:
    """A log at its loudest; afterwards all is as before."""
    root, ours, urllib3 = (logging.getLogger(name) for name in ("", "backend", "urllib3"))
    kept = root.handlers[:]
    levels = [(logger, logger.level) for logger in (root, ours, urllib3)]
    root.handlers.clear()  # pytest's own; installing would close them
    logs.install("debug", "text", [KEY])
    try:
        yield
    finally:
        root.handlers[:] = kept
        for logger, level in levels:
            logger.setLevel(level)
        logging.raiseExceptions = True


def test_libraries_say_nothing_below_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with installed():
        logging.getLogger("backend.chat").debug("ours")
        logging.getLogger("urllib3.connectionpool").debug('"GET /?token=x HTTP/1.1" 200')
        logging.getLogger("urllib3.connectionpool").warning("Retrying after connection broken: /?token=x")
        logging.getLogger("werkzeug").info("GET /?token=x")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("DEBUG backend.chat: ours")


def test_the_socket_libraries_repeat_nothing_that_clients_sent(capsys: pytest.CaptureFixture[str]) -> None:
    with installed():
        server = Server(async_mode="threading", logger=True)
        logs.hush_sockets()
        for logger in (server.logger, server.eio.logger):
            assert logger.handlers == []
            logger.info("received event %s", "payload")
            logger.error("Invalid session payload")
            try:
                raise KeyError("payload")
            except KeyError:
                logger.exception("message handler error: payload")
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    for line in told:
        assert "KeyError in test_logs.py:" in line
        assert "payload" not in line


def test_a_line_that_cannot_be_written_is_not_shown_raw(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(KEY)

    with installed():
        logging.getLogger("backend").error("%s", Broken())
        logging.getLogger("backend").error("the next one")
    told = capsys.readouterr().err
    assert "canary" not in told
    assert "the next one" in told
