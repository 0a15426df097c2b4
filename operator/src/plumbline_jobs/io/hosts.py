"""Which hosts a Job may be pointed at, in a Job's own words."""

from plumbline_contract import hosts
from plumbline_jobs.errors import Refused, Trouble


def guard(url: str) -> None:
    """Raises Refused when the URL's host is, or resolves to, a link-local or metadata address, Trouble without one.

    Called before every request; see `plumbline_contract.hosts`.
    """
    try:
        hosts.guard(url)
    except hosts.Forbidden as error:
        raise Refused("EndpointUnreachable", str(error)) from error
    except hosts.Unresolved as error:
        raise Trouble("EndpointUnreachable", str(error)) from error
