"""Pure translation: bytes and text to values and back; argument vectors for outside programs."""
