"""Reads what a Job was asked."""

from plumbline_contract.runspec import RUNSPEC_VARIABLE, Evaluate
from plumbline_operator.model.meta import Manifest


def asked(job: Manifest) -> Evaluate:
    """The document in the Job's only container."""
    variables = job["spec"]["template"]["spec"]["containers"][0]["env"]
    text = next(one["value"] for one in variables if one["name"] == RUNSPEC_VARIABLE)
    return Evaluate.model_validate_json(text)
