"""The type of parsed JSON before it has been checked; nothing but a parser may take or return it."""

from __future__ import annotations

from typing import Any

Json = Any
