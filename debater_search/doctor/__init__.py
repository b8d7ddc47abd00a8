"""The doctor: why is it slow or broken here? `examine(Asked(index="indexes/papers"))` finds out."""

from debater_search.doctor.checks import CHECKS, Check, examine
from debater_search.doctor.finding import Asked, Finding, Level

__all__ = ["CHECKS", "Asked", "Check", "Finding", "Level", "examine"]
