"""The HTTP server for operators and orchestrators: ``/``, ``/metrics``, ``/livez``, ``/readyz``."""
