"""The error tree of the product: every error says what happened, what is now true and what to do.

AvanceError
├── ConfigError     the site file, a VM definition or a timer set is refused; nothing was changed
├── StoreError      the durable record cannot be read; this node must not start VMs
└── JournalError    a journal cannot be replayed: it has a gap, or is of another version
"""

from __future__ import annotations


class AvanceError(Exception):
    """Base of all errors that a person is meant to read; never raised itself."""


class ConfigError(AvanceError):
    """A configuration is refused; nothing was changed."""


class StoreError(AvanceError):
    """The durable record cannot be read; this node must not start VMs."""


class JournalError(AvanceError):
    """A journal cannot be replayed: it has a gap, or is of another version."""
