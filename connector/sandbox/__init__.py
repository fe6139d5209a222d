"""A strict stand-in for Amazon's conversions endpoint, for Login with Amazon, and for a schema registry.

It answers as amazon-contract.md says Amazon does, refuses whatever that page gives it a reason to refuse, remembers what it
received, and fails on request. It shares no code with the rest of the package, so that it can catch its mistakes.

What is served, below one base URL:

=================================  ==============================================================================
``POST /adsApi/v1/create/events``  contract ``ads-v1``: 207, index from 0, accepted events echoed
``POST /events/v1``                contract ``events-v1``: 207, index from 1
``POST /auth/o2/token``            a refresh token for an access token, which lives as long as the options say
``/registry``                      the stand-in for a schema registry (`connector.sandbox.registry`)
``GET /sandbox/record``            what was received, one JSON line an event; ``?from=N`` skips N lines
``DELETE /sandbox/record``         forget it, and count anew
``GET /sandbox/status``            counts, as JSON
``PUT /sandbox/faults``            set the fault plan (JSON); the ordinals of its requests begin at 0
``GET``, ``DELETE``                read the plan with every default; clear it
=================================  ==============================================================================

A request as a whole is refused with 401 (no token, an unknown or expired one, no or another client id, no account), 403
(another account), 413 (above the byte limit), 415 (not ``application/json``, or compressed), 400 (not JSON, another wrapper,
not 1 to 500 events). Anything else is judged per event: every field's type, set and size, match keys hashed where they
identify a person, the time's form and age, what is for purchases only, consent where the account needs it, and no field that
is not in the contract. `checks.Rule` lists the rules. Duplicates are accepted, as Amazon accepts them (section 6).

A line of the record (stable; further fields may come):

``request`` (its number, from 1), ``arrival`` and ``answered`` (milliseconds since 1970 UTC; null while unanswered),
``contract``, ``index`` (position in the request, from 0), ``id`` (eventId or clientDedupeId, or null), ``digest`` (of the
event with sorted keys: equal for equal content), ``verdict`` (``accepted``, ``rejected``, ``not judged``), ``codes``
(Amazon's ErrorCodes), ``flaws`` (place and rule, no value), ``fault`` (its name, or null) and ``answer``: ``pending``,
``sent`` (handed to the network whole: not that it was read), ``unread`` (the client was gone), ``withheld``, ``truncated``,
``empty``, ``html``, or ``failed:503`` with the status of a request that failed. A request refused before its events could be
parsed has no lines; it counts in ``/sandbox/status``.

The fault plan (stable; an unknown field is refused). Everything is drawn from ``seed`` and the request's ordinal, so a plan
does the same each time. Probabilities of a request, at most one of them at once: ``fail_503``, ``throttle_429`` (with
``retry_after``: a number, any text, or null for none), ``withhold`` (accept, then cut the connection),
``fail_500_after_accept``, ``truncated``, ``empty``, ``html`` (accept, then answer with half the body, none, a page). Of an
event: ``reject`` (by its content, each time it comes), ``retry`` (an INTERNAL_ERROR item), ``omit`` (accepted, no verdict).
``reject_names``: events with these names are rejected. ``latency_ms`` for every answer; ``delay``, ``delay_min_ms``,
``delay_max_ms``: a probability of more. ``next``: for the next requests in turn, ``[{"fault": F, "times": N}]`` where F is a
fault of a request, ``status`` (with ``status``, ``retry_after``), ``delay`` (with ``ms``) or ``none``; ``token_next`` the
same for token requests. ``registry_down`` (503) and ``registry_latency_ms``.
"""

from __future__ import annotations

from connector.sandbox.alone import run
from connector.sandbox.contract import Limits
from connector.sandbox.faults import Faults, FaultsRefused
from connector.sandbox.server import Options, RunningSandbox, serve
from connector.sandbox.tokens import Credentials

__all__ = ["Credentials", "Faults", "FaultsRefused", "Limits", "Options", "RunningSandbox", "run", "serve"]
