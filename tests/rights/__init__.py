"""Namespaces, rights, restricted pods and four eyes, on a real API server with the chart's own rights and policies."""
