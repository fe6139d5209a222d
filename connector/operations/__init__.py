"""The HTTP server for operators and orchestrators.

It serves ``/``, ``/status.json``, ``/metrics``, ``/livez`` and ``/readyz``.
"""
