"""I/O adapters: one file per outside system; they translate and never decide."""
