"""The bed as its users see it; what is rarely wanted is imported from the modules beside this one."""

from testbed.bed.bed import Bed, BedOptions, Stage
from testbed.bed.session import Session

__all__ = ["Bed", "BedOptions", "Session", "Stage"]
