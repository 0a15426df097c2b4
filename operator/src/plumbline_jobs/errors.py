"""How a Job says no. Nothing else crosses a module's border.

Refused: the user's input is wrong, and trying again cannot help.
Trouble: storage, network or node failed, and trying again may help.
"""

from collections.abc import Sequence

from plumbline_contract.report import Outcome, TestVerdict


class JobError(Exception):
    """A Job's end without a result: a CamelCase reason of the owner's kind, and what, where and what to do."""

    outcome: Outcome

    def __init__(self, reason: str, message: str, verdicts: Sequence[TestVerdict] = ()) -> None:
        # Names of files and libraries' words can hold bytes that are no text, which no report could carry.
        self.message = message.encode(errors="replace").decode()
        super().__init__(self.message)
        self.reason = reason
        self.verdicts = tuple(verdicts)


class Refused(JobError):
    """The input is at fault."""

    outcome = Outcome.REFUSED


class Trouble(JobError):
    """The surroundings are at fault."""

    outcome = Outcome.TROUBLE
