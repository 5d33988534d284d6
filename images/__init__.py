"""Build the node image that the test bed boots: Xen, a small Debian, the product and its workload guest.

This package must never import the product, the test bed or the fault injectors, and nothing imports it: the
only thing that leaves it is the manifest file that `python -m images build` names.
"""
