"""Envoy's bootstrap: one listener, whose routes and clusters come from two watched files."""

from typing import Any

from plumbline_contract.routes import REQUEST_HEADER, ROLE_HEADER
from plumbline_router.settings import Settings

Document = dict[str, Any]

TYPES = "type.googleapis.com/"
ROUTE_NAME = "routes"
STAT_PREFIX = "ingress"
MAX_REQUEST_BYTES = 16 * 1024 * 1024  # the server's own limit
IDLE_SECONDS = 75  # of a caller's connection
MAX_CONNECTIONS = 20_000  # of callers; some 40 KiB each, so the pod stays below a GiB
LIVE_PATH = "/router/live"  # answered by Envoy itself: whether it lives is not the agent's to say
HEADERS_SECONDS = 10  # for a caller to send its request headers


def bootstrap(settings: Settings) -> Document:
    """The whole bootstrap file."""
    return {
        "node": {"id": settings.pod, "cluster": settings.name},
        "admin": {"address": {"pipe": {"path": str(settings.admin)}}},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": TYPES
                        + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
        "dynamic_resources": {"cds_config": file_source(settings, settings.clusters.name)},
        "static_resources": {"listeners": [_listener(settings)]},
    }


def file_source(settings: Settings, file: str) -> Document:
    """A watched file; Envoy reads it again when a file is renamed to its name."""
    folder = str(settings.clusters.parent)
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": f"{folder}/{file}", "watched_directory": {"path": folder}},
    }


def _listener(settings: Settings) -> Document:
    return {
        "name": STAT_PREFIX,
        "address": {"socket_address": {"address": settings.host, "port_value": settings.port}},
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [
            {"filters": [{"name": "http", "typed_config": _connection_manager(settings)}]},
        ],
    }


def _connection_manager(settings: Settings) -> Document:
    return {
        "@type": TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": ROUTE_NAME, "config_source": file_source(settings, settings.routes.name)},
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "early_header_mutation_extensions": [_ignore_callers_claims()],
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
        "request_headers_timeout": f"{HEADERS_SECONDS}s",
        "local_reply_config": {
            "mappers": [_say_the_limit()],
            "body_format": {"json_format": {"error": "%LOCAL_REPLY_BODY%"}},
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.health_check",
                "typed_config": {
                    "@type": TYPES + "envoy.extensions.filters.http.health_check.v3.HealthCheck",
                    "pass_through_mode": False,
                    "headers": [{"name": ":path", "string_match": {"exact": LIVE_PATH}}],
                },
            },
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": TYPES + "envoy.extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": MAX_REQUEST_BYTES,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": TYPES + "envoy.extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }


def _say_the_limit() -> Document:
    """Envoy's own words for a body over the limit do not name the limit."""
    equals = {"op": "EQ", "value": {"default_value": 413, "runtime_key": "plumbline.too_large"}}
    words = f"the body is larger than {MAX_REQUEST_BYTES} bytes; send fewer rows per request"
    return {"filter": {"status_code_filter": {"comparison": equals}}, "body": {"inline_string": words}}


def _ignore_callers_claims() -> Document:
    """Drop headers that only a router may set: the id that pairs logs must be unique, the role must be true."""
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": TYPES + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"remove": REQUEST_HEADER}, {"remove": ROLE_HEADER}],
        },
    }
