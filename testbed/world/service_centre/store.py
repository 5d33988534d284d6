"""The alerts that the service centre has accepted: checked, kept once per id, on disk before anybody hears "yes".

It must never report an alert as stored before it is on disk, and never keep one id twice.
"""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed.errors import TestbedError

SCHEMA = "avance.alert/1"
_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_CODE = re.compile(r"[a-z0-9_.-]{1,64}")
_TEXT_LIMIT = 4096


class BadAlert(TestbedError):
    """A body is no valid alert; the text is the sentence that the sender gets with status 400."""


class AlertKind(StrEnum):
    """What an alert is about."""

    FAULT = "fault"
    RECOVERY = "recovery"
    WARNING = "warning"


class Severity(StrEnum):
    """How urgent an alert is."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class ReceivedAlert:
    """One alert as a node sent it (schema avance.alert/1); `wall` is the node's own, untrusted clock."""

    id: str
    node: str
    seq: int
    kind: AlertKind
    code: str
    severity: Severity
    text: str
    epoch: int
    wall: str


def parse_alert(body: bytes) -> ReceivedAlert:
    """Check a request body against the schema and give the alert, or raise BadAlert with one sentence."""
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAlert("The body is not JSON.") from error
    if not isinstance(document, dict):
        raise BadAlert("The body is not a JSON object.")
    if document.get("schema") != SCHEMA:
        raise BadAlert(f"The schema is {document.get('schema')!r:.60}, expected {SCHEMA!r}.")
    alert = ReceivedAlert(
        id=_text(document, "id"),
        node=_text(document, "node"),
        seq=_number(document, "seq"),
        kind=AlertKind(_word(document, "kind", [str(kind) for kind in AlertKind])),
        code=_text(document, "code"),
        severity=Severity(_word(document, "severity", [str(severity) for severity in Severity])),
        text=_text(document, "text"),
        epoch=_number(document, "epoch"),
        wall=_text(document, "wall"),
    )
    for key, value, pattern in (("id", alert.id, _ID), ("node", alert.node, _ID), ("code", alert.code, _CODE)):
        if not pattern.fullmatch(value):
            raise BadAlert(f"The field {key!r} does not look like {pattern.pattern}.")
    return alert


def _text(document: dict[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT:
        raise BadAlert(f"The field {key!r} is missing or is no text of at most {_TEXT_LIMIT} characters.")
    return value


def _number(document: dict[str, object], key: str) -> int:
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadAlert(f"The field {key!r} is missing or is no whole number from 0 up.")
    return value


def _word(document: dict[str, object], key: str, words: list[str]) -> str:
    value = _text(document, key)
    if value not in words:
        raise BadAlert(f"The field {key!r} is {value!r:.60}, expected one of {', '.join(words)}.")
    return value


class AlertStore:
    """A JSONL file of alerts, one line per id, synced before `add` returns; may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._ids: set[str] = set()
        self._fd = -1

    def __enter__(self) -> Self:
        new = not self._path.exists()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._load()
            if new:
                _sync_directory(self._path.parent)
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            os.close(self._fd)
            self._fd = -1

    @property
    def count(self) -> int:
        """How many different alerts are stored."""
        return len(self._ids)

    def add(self, alert: ReceivedAlert) -> bool:
        """Store the alert durably and say whether it is new; a known id changes nothing. OSError: nothing was kept."""
        with self._lock:
            if alert.id in self._ids:
                return False
            if self._fd < 0:
                raise OSError(f"the alert store {self._path} is closed; the alert was not kept")
            line = json.dumps(asdict(alert), ensure_ascii=True).encode() + b"\n"
            start = os.fstat(self._fd).st_size
            try:
                _write_all(self._fd, line)
                os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, start)
                raise
            self._ids.add(alert.id)
            return True

    def _load(self) -> None:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1  # a torn last line was never acknowledged: cut it off
        if whole < len(content):
            os.ftruncate(self._fd, whole)
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                self._ids.add(json.loads(line)["id"])
            except (ValueError, KeyError, TypeError) as error:
                raise BadAlert(
                    f"Line {number} of {self._path} is no stored alert; nothing was changed. Move the file away."
                ) from error


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
