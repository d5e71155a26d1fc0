"""What an examination finds: one line for each thing, and what to do about it."""

import enum

import attrs

__all__ = ["Finding", "Verdict", "fine", "problem", "skipped", "warning"]


class Verdict(enum.StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    """It works, and somebody should know."""
    PROBLEM = "problem"
    """It must be mended before money moves."""
    NOT_CHECKED = "not checked"


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        about: The thing, in a word or two.
        verdict: How it stands.
        told: What was found; never a secret.
        remedy: What to do, where there is something to do.
    """

    about: str
    verdict: Verdict
    told: str
    remedy: str = ""

    def __str__(self) -> str:
        """Read as one line: "problem      clock: 75 s ahead of the gateway; set it"."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<11}  {self.about}: {self.told}{remedy}"


def fine(about: str, told: str) -> Finding:
    """Find that a thing is as it should be."""
    return Finding(about, Verdict.OK, told)


def warning(about: str, told: str, remedy: str) -> Finding:
    """Find something that works, and that somebody should know."""
    return Finding(about, Verdict.WARNING, told, remedy)


def problem(about: str, told: str, remedy: str) -> Finding:
    """Find something that must be mended."""
    return Finding(about, Verdict.PROBLEM, told, remedy)


def skipped(about: str, why: str) -> Finding:
    """Say why a thing could not be looked at."""
    return Finding(about, Verdict.NOT_CHECKED, why)
