"""The HTTP server for operators and orchestrators: ``/``, ``/status.json``, ``/metrics``, ``/livez``, ``/readyz``."""
