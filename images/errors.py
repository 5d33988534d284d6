"""The one error that an image build raises; it must never be raised for a programming mistake."""


class BuildError(RuntimeError):
    """An image could not be built; the text says what happened, what is now true and what to do."""
