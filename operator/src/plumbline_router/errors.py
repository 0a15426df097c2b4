"""What can go wrong in a router.

RouterError
├── BadRoutes    the routes document is wrong or older than the one in force: refused, the old routes stay
├── NotApplied   Envoy did not take what was written: the old routes stay
└── NoEnvoy      Envoy cannot be started or does not answer
"""


class RouterError(Exception):
    """Base of all errors of the router."""


class BadRoutes(RouterError):
    """A routes document that must not come into force."""


class NotApplied(RouterError):
    """Envoy refused a file, or did not take it in time."""


class NoEnvoy(RouterError):
    """Envoy cannot be started or does not answer."""
