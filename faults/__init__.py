"""Breaks the bed, proves that it is broken, and heals it; uses the testbed's handles and never the product."""
