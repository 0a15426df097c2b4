"""From a routes document to Envoy's clusters and routes. Pure.

Stickiness: a unit's hash picks a point in 0..99, and backends own ranges of points in the order of the document.
The last backend owns the upper end, so raising its weight only takes points from the one before it:

    weights 95/5    |0 ············ stable ············ 94|95 canary 99|
    weights 75/25   |0 ······ stable ······ 74|75 ······ canary ······ 99|
"""

from plumbline_contract.routes import ROLE_HEADER, SHADOW_ROLE, UNIT_HEADER, VARIANT_HEADER, Backend, Routes
from plumbline_router.bootstrap import ROUTE_NAME, TYPES, Document

SERVE, SHADOW = "serve-", "shadow-"
INFER = "/v2/models/[^/]+(/versions/[^/]+)?/infer"
ANSWER_SECONDS = 30  # for an answer; a model that needs longer belongs in a batch job
CONNECT_SECONDS = 1
IDLE_SECONDS = 30  # the server keeps idle connections for 75 s: who sends must be the one that closes
PROBE_SECONDS = 1  # readiness of a pod; a draining pod leaves within this time
SHADOW_LIMITS = {"max_connections": 32, "max_pending_requests": 32, "max_requests": 64, "max_retries": 0}
LIMITS = {
    "max_connections": 4096,
    "max_pending_requests": 4096,
    "max_requests": 4096,
    "retry_budget": {"budget_percent": {"value": 50.0}, "min_retry_concurrency": 128},
}
# Also a request that a dying server may have seen is given to another one: inference changes nothing but the log, and
# there both carry one request id. Few times, because a request that kills its server would kill the next ones, too.
RETRY_ON, RETRIES = "connect-failure,refused-stream,reset", 2
# A pod is put aside when connections to it fail; a model's own errors are for the rollout to judge.
EJECTION = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 3,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "1s",
    "base_ejection_time": "2s",
    "max_ejection_time": "10s",
    "max_ejection_percent": 50,
}
# A shadow that breaks its connections, or answers more than is sensible, gets no copies for ten seconds: callers wait
# while a new connection is made for each, or while such answers are read. Not split, because where failures of
# connections count apart, each one that is made is a success before it breaks.
SHADOW_EJECTION = {
    "split_external_local_origin_errors": False,
    "consecutive_gateway_failure": 5,
    "enforcing_consecutive_gateway_failure": 100,
    "base_ejection_time": "10s",
    "max_ejection_percent": 100,
    "successful_active_health_check_uneject_host": False,
}
SHADOW_BUFFER_BYTES = 32 * 1024  # what is read at once of an answer that is thrown away; others wait meanwhile
SHADOW_ANSWER_BYTES = 2 * 1024 * 1024  # twice the largest request that Envoy copies
# What a shadow says goes to nobody; its status is what the ejection counts. A 503 of a server that is asked for too
# much, or the error of a model, is no reason to copy less: a rollout judges a shadow by its predictions.
SHADOW_ANSWER = f"""
function envoy_on_response(answer)
  local size = tonumber(answer:headers():get("content-length")) or 0
  answer:headers():replace(":status", size > {SHADOW_ANSWER_BYTES} and "503" or "200")
end
"""
PROTOCOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NO_ROUTES = "this router has no routes yet; see the ModelDeployment's conditions"
NOT_FOUND = "nothing is routed here; the inference protocol lives below /v2"


def clusters_of(routes: Routes, resolver: str = "") -> dict[str, Document]:
    """Every cluster these routes need, by name. A backend with weight 0 is kept connected."""
    found = {SERVE + backend.variant: _cluster(SERVE, backend, resolver) for backend in routes.backends}
    if routes.shadow is not None:
        found[SHADOW + routes.shadow.variant] = _cluster(SHADOW, routes.shadow, resolver)
    return found


def discovery(version: str, resources: list[Document]) -> Document:
    """A file that Envoy reads as one discovery response."""
    return {"version_info": version, "resources": resources}


def route_configuration(routes: Routes | None) -> Document:
    """The route table; without routes everything below /v2 is answered with 503."""
    if routes is None:
        entries = [{"match": {"prefix": "/v2"}, "direct_response": _direct(503, NO_ROUTES)}]
    else:
        plain = _forward(routes)
        entries = [
            {"match": {"safe_regex": {"regex": INFER}}, "route": plain | _mirror(routes)},
            {"match": {"path_separated_prefix": "/v2"}, "route": plain},
        ]
    entries.append({"match": {"prefix": "/"}, "direct_response": _direct(404, NOT_FOUND)})
    return {
        "@type": TYPES + "envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_NAME,
        "virtual_hosts": [{"name": "deployment", "domains": ["*"], "routes": entries}],
    }


def _direct(status: int, text: str) -> Document:
    return {"status": status, "body": {"inline_string": text}}


def _forward(routes: Routes) -> Document:
    return {
        "weighted_clusters": {
            "clusters": [_share(backend) for backend in routes.backends if backend.weight > 0],
            "use_hash_policy": True,
        },
        "hash_policy": [{"header": {"header_name": UNIT_HEADER}}],
        "timeout": f"{ANSWER_SECONDS}s",
        "retry_policy": {
            "retry_on": RETRY_ON,
            "num_retries": RETRIES,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": TYPES + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 3,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        },
    }


def _share(backend: Backend) -> Document:
    """A backend's part of the traffic; its name is on every answer, also on those Envoy makes itself."""
    return {
        "name": SERVE + backend.variant,
        "weight": backend.weight,
        "response_headers_to_add": [
            {
                "header": {"key": VARIANT_HEADER, "value": backend.variant},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }


def _mirror(routes: Routes) -> Document:
    shadow = routes.shadow
    if shadow is None or shadow.weight == 0:
        return {}
    return {
        "request_mirror_policies": [
            {
                "cluster": SHADOW + shadow.variant,
                "runtime_fraction": {"default_value": {"numerator": shadow.weight, "denominator": "HUNDRED"}},
                "disable_shadow_host_suffix_append": True,
                "request_headers_mutations": [
                    {
                        "append": {
                            "header": {"key": ROLE_HEADER, "value": SHADOW_ROLE},
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }
                    }
                ],
            }
        ]
    }


def _cluster(kind: str, backend: Backend, resolver: str) -> Document:
    name = kind + backend.variant
    endpoint = {"address": {"socket_address": {"address": backend.host, "port_value": backend.port}}}
    found: Document = {
        "@type": TYPES + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "cluster_type": {"name": "envoy.clusters.dns", "typed_config": _dns(resolver)},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "connect_timeout": f"{CONNECT_SECONDS}s",
        "lb_policy": "LEAST_REQUEST",
        "ignore_health_on_host_removal": True,  # a pod that left DNS gets nothing new at once
        # When no pod is healthy, callers' requests try all: one that is draining still answers, and an error from the
        # real server says more than "no healthy upstream".
        "common_lb_config": {"healthy_panic_threshold": {"value": 1}},
        "health_checks": [_probe()],
        "outlier_detection": EJECTION,
        "circuit_breakers": {"thresholds": [LIMITS]},
        "typed_extension_protocol_options": {PROTOCOL: _protocol()},
    }
    return found | _shadowy() if kind == SHADOW else found


def _shadowy() -> Document:
    """What is different for pods that get copies: nothing they do or do not do may cost a caller anything."""
    judge = {
        "@type": TYPES + "envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": SHADOW_ANSWER},
    }
    codec = {"@type": TYPES + "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"}
    filters = [
        {"name": "envoy.filters.http.lua", "typed_config": judge},
        {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
    ]
    return {
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},  # a copy for no healthy pod is dropped
        "outlier_detection": EJECTION | SHADOW_EJECTION,
        "circuit_breakers": {"thresholds": [SHADOW_LIMITS]},
        "per_connection_buffer_limit_bytes": SHADOW_BUFFER_BYTES,
        "typed_extension_protocol_options": {PROTOCOL: _protocol() | {"http_filters": filters}},
    }


def _protocol() -> Document:
    return {
        "@type": TYPES + PROTOCOL,
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
    }


def _dns(resolver: str) -> Document:
    """Every address of a headless Service, asked for each second whatever the records' lifetime says."""
    found: Document = {
        "@type": TYPES + "envoy.extensions.clusters.dns.v3.DnsCluster",
        "dns_refresh_rate": "1s",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "1s"},
        "dns_lookup_family": "V4_PREFERRED",
    }
    if resolver:
        host, _, port = resolver.rpartition(":")
        found["typed_dns_resolver_config"] = {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": TYPES + "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{"socket_address": {"address": host, "port_value": int(port)}}],
            },
        }
    return found


def _probe() -> Document:
    return {
        "timeout": "2s",
        "interval": f"{PROBE_SECONDS}s",
        "no_traffic_interval": f"{PROBE_SECONDS}s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 1,
        "http_health_check": {"path": "/v2/health/ready"},
    }
