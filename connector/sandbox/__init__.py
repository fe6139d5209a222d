"""A strict stand-in for Amazon's conversions endpoint, for Login with Amazon, and for a schema registry.

It answers as docs/amazon-contract.md says Amazon does, refuses whatever that page gives it a reason to refuse,
remembers what it received, and fails on request. It shares no code with the rest of the package, so that it can catch
its mistakes.

What is served, below one base URL:

=================================  ==============================================================================
``POST /adsApi/v1/create/events``  contract ``ads-v1``: 207, index from 0, accepted events echoed
``POST /events/v1``                contract ``events-v1``: 207, index from 1
``POST /auth/o2/token``            a refresh token for an access token, which lives as long as the options say
``/registry``                      the stand-in for a schema registry (`connector.sandbox.registry`)
``GET /sandbox/record``            what was received, one JSON line an event; ``?from=N`` skips N lines
``GET /sandbox/requests``          the same by request, those included whose events were never read
``DELETE /sandbox/record``         forget it, and count anew
``GET /sandbox/status``            counts, as JSON
``PUT /sandbox/faults``            set the fault plan (JSON); the ordinals of its requests begin at 0
``GET``, ``DELETE``                read the plan with every default; clear it
``GET /sandbox/faults/names``      every fault: its name, what it happens to, what it does
``/elsewhere/...``                 the other host that redirects lead to: it counts who comes, and who with a token
=================================  ==============================================================================

A request as a whole is refused with 401 (no token, an unknown or expired one, no or another client id, no account), 403
(another account), 413 (above the byte limit), 415 (not ``application/json``, or compressed), 400 (not JSON, another wrapper,
not 1 to 500 events). Anything else is judged per event: every field's type, set and size, match keys hashed where they
identify a person, the time's form and age, what is for purchases only, consent where the account needs it, and no field that
is not in the contract. `checks.Rule` lists the rules. Duplicates are accepted, as Amazon accepts them
(docs/amazon-contract.md#amazons-own-dedupe).

A line of the record (stable; further fields may come):

``request`` (its number, from 1), ``arrival`` and ``answered`` (milliseconds since 1970 UTC; null while unanswered),
``contract``, ``account`` (null for one not known here), ``token`` (a fingerprint of the access token), ``index`` (position
in the request, from 0), ``id`` (eventId or clientDedupeId, or null), ``digest`` (of the event with sorted keys: equal for
equal content), ``verdict`` (``accepted``, ``rejected``, ``not judged``), ``counted`` (as of now, whether Amazon would count
it; null unless accepted), ``codes`` (Amazon's ErrorCodes), ``flaws`` (place and rule, no value), ``fault`` (its name, or
null) and ``answer``: ``pending``, ``sent`` (handed to the network whole: not that it was read), ``unread`` (the client was
gone), ``withheld``, ``failed:503`` with the status of a request that failed, or the name of the fault that spoiled it. A
request refused before its events could be parsed has no lines here, but one among ``/sandbox/requests``, with ``status``,
``bytes``, ``events``, ``accepted`` and ``rejected``.

The fault plan (stable; an unknown field is refused). Everything is drawn from ``seed`` and the request's ordinal, so a plan
does the same each time. A fault of the catalogue (`connector.sandbox.catalogue`) comes in three ways:

* by chance: its name with a probability, as ``"fail_503": 0.1``. Of a request's faults at most one at once, so together at
  most 1. ``retry_after`` goes with 429s, ``reject_code`` with rejections;
* in turn: ``next``, a list of ``{"fault": NAME, "times": N}`` for the next requests, ``token_next`` for the next token
  requests. Beside the catalogue's names: ``status`` (with ``status``), ``delay`` (with ``ms``), ``none``. Further fields
  of an entry: ``retry_after``, ``ms``, and for a fault of an event ``code`` and ``index`` (its place; else all events);
* by number: ``at``, ``token_at``: the same entries with ``request``, counted from 1 since the plan was set.

Further fields: ``max_requests_per_second``: 429 to requests beyond; ``latency_ms`` for every answer; ``latency_p50_ms`` with
``latency_p99_ms``, a brown-out; ``delay``, ``delay_min_ms``, ``delay_max_ms``, a probability of more; ``flapping`` N: N
requests pass, N are answered 503, in turn; ``reject_names``, ``poison_names``: events with these names;
``max_body_bytes``: 413 above; ``refresh_token_revoked``; ``registry_down`` (503) and ``registry_latency_ms``.
"""

from __future__ import annotations

from connector.sandbox.contract import EventLimits
from connector.sandbox.faults import Faults, FaultsRefused
from connector.sandbox.server import Options, RunningSandbox, serve
from connector.sandbox.tokens import SandboxCredentials

__all__ = ["EventLimits", "Faults", "FaultsRefused", "Options", "RunningSandbox", "SandboxCredentials", "serve"]
