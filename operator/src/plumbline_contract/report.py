"""What a Job answers: one small document, its termination message."""

from enum import StrEnum

from pydantic import Field

from plumbline_contract.base import Digest, Document

MESSAGE_LIMIT = 4096  # bytes; the kubelet cuts a termination message here


class Outcome(StrEnum):
    """How a Job ended: it did the work, the input is at fault, or the surroundings were."""

    DONE = "Done"
    REFUSED = "Refused"  # the user's input is wrong; trying again cannot help
    TROUBLE = "Trouble"  # storage, network, node: trying again may help


class TestVerdict(Document):
    """One data test or gate: its measured value against its bound."""

    __test__ = False  # not a test class, whatever its name suggests to pytest

    name: str
    verdict: str = Field(pattern="^(Pass|Fail|Inconclusive)$")
    value: float | None = None
    bound: str = ""
    message: str = ""


class Report(Document):
    """A Job's answer to the operator; at most 4,096 bytes as canonical JSON."""

    outcome: Outcome
    reason: str = Field(default="", description="CamelCase fact, one of the owner kind's reasons.")
    message: str = ""
    digests: dict[str, Digest] = Field(default_factory=dict)
    numbers: dict[str, float] = Field(default_factory=dict)
    words: dict[str, str] = Field(default_factory=dict)
    verdicts: tuple[TestVerdict, ...] = ()

    def termination_message(self) -> bytes:
        """The canonical bytes, shortened to fit the kubelet's limit.

        The outcome, reason and digests always survive; messages are cut first (those of passing verdicts entirely),
        then passing verdicts go, then the remaining verdicts and numbers are dropped from the end (the full result
        lies in the bucket).
        """
        for candidate in self._ever_shorter():
            data = candidate.canonical()
            if len(data) <= MESSAGE_LIMIT:
                return data
        raise ValueError("a report's outcome, reason and digests alone exceed the termination message")

    def _ever_shorter(self) -> "list[Report]":
        failing = tuple(v for v in self.verdicts if v.verdict != "Pass")
        brief = tuple(v.model_copy(update={"message": v.message[:120]}) for v in failing)
        cut = self.model_copy(update={"message": self.message[:1500]})
        bare = cut.model_copy(update={"verdicts": tuple(_terse(v) for v in self.verdicts)})
        fewer = cut.model_copy(update={"verdicts": brief})
        return [
            self,
            cut,
            bare,
            fewer,
            *(fewer.model_copy(update={"verdicts": brief[:keep]}) for keep in (12, 6, 3, 1)),
            cut.model_copy(update={"verdicts": brief[:1], "numbers": {}, "message": self.message[:800]}),
        ]


def _terse(verdict: TestVerdict) -> TestVerdict:
    """A verdict that keeps its value; a reader takes an absent verdict for inconclusive, so words go first."""
    return verdict.model_copy(update={"message": "" if verdict.verdict == "Pass" else verdict.message[:120]})
