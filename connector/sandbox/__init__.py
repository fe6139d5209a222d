"""The sandbox: a strict stand-in for Amazon's endpoint, Login with Amazon and a schema registry.

It answers as docs/amazon-contract.md says that Amazon does, and refuses whatever that page gives a
reason to refuse. It records what it received, and it fails on request. It shares no code with the
rest of the package, so that it can catch mistakes there.

A request passes through these files: `server` takes it in, `tokens` checks who sends it, `contract`
opens its body, and `verdicts` judges its events by the JSON Schemas of `schemas` (through
`checks`). `record` keeps what became of it, `replies` makes the answer, and `delivery` sends it.
The plan in `faults` decides what goes wrong with a request. It picks from the list in `catalogue`;
`spoiling` misnumbers answers.

Paths below the base URL:

=================================  ==============================================================================
``POST /adsApi/v1/create/events``  contract ``ads-v1``: 207, index from 0, accepted events echoed
``POST /events/v1``                contract ``events-v1``: 207, index from 1
``POST /auth/o2/token``            an access token for a refresh token; the options say how long it lives
``/registry``                      the stand-in for a schema registry (`connector.sandbox.registry`)
``GET /sandbox/record``            one JSON line for each event received; ``?from=N`` skips N lines
``GET /sandbox/requests``          one JSON line for each request, even if its events were never read
``DELETE /sandbox/record``         forget both, and restart the counts
``GET /sandbox/status``            counts, as JSON
``PUT /sandbox/faults``            set the fault plan (JSON) and restart its numbering of requests
``GET``, ``DELETE``                read the plan with all its defaults; clear it
``GET /sandbox/faults/names``      every fault: its name, what it happens to, what it does
``/elsewhere/...``                 the target of redirects: counts requests, and those with a token
=================================  ==============================================================================

A request as a whole is refused with

- 401: no token, an unknown or expired one, no or another client id, or no account;
- 403: another account;
- 413: above the byte limit;
- 415: not ``application/json``, or compressed;
- 400: not JSON, another wrapper, or not 1 to 500 events.

Otherwise each event is judged: type, choice and size of every field; match keys hashed if they
identify a person; form and age of the time; what is for purchases only; consent, if the account
needs it. A field that is not in the contract breaks a rule, too. `checks.Rule` lists the rules.
Duplicates are accepted, as Amazon accepts them (docs/amazon-contract.md#amazons-own-dedupe).

Fields in a line of the record (stable; further fields may be added):

- ``request``: the number of the request, from 1.
- ``arrival`` and ``answered``: milliseconds since 1970 UTC; ``answered`` is null until then.
- ``contract``; ``account``: null for an account that the sandbox does not know.
- ``token``: a fingerprint of the access token.
- ``index``: the event's position in the request, from 0.
- ``id``: eventId or clientDedupeId, or null.
- ``digest``: of the event with sorted keys; equal for equal content.
- ``verdict``: ``accepted``, ``rejected`` or ``not judged``.
- ``counted``: whether Amazon would count the event, as of now; null unless it was accepted.
- ``codes``: Amazon's ErrorCodes. ``flaws``: place and rule of each violation, without values.
- ``fault``: the name of the fault that hit the event or its request, or null.
- ``answer``: ``pending``, ``sent`` (handed to the network whole, which does not mean that it was
  read), ``unread`` (the client was gone), ``withheld``, ``failed:503`` (the status of a failed
  request), or the name of the fault that spoiled the answer.

A request that was refused before its events could be parsed has no line in the record. It has one
in ``/sandbox/requests``, where lines have ``status``, ``bytes``, ``events``, ``accepted`` and
``rejected``.

The fault plan (stable; an unknown field is refused). Every random choice depends on ``seed`` and
the number of the request alone, so a plan does the same each time. A fault of the catalogue
(`connector.sandbox.catalogue`) comes in three ways:

- by chance: its name with a probability, such as ``"fail_503": 0.1``. A request has at most one
  fault, so the probabilities add up to at most 1. ``retry_after`` goes with 429s, ``reject_code``
  with rejections.
- in turn: ``next`` is a list of ``{"fault": NAME, "times": N}`` for the next requests,
  ``token_next`` for the next token requests. Also allowed are ``status`` (with ``status``),
  ``delay`` (with ``ms``) and ``none``. Further fields of an entry are ``retry_after``, ``ms``, and
  for a fault of an event ``code`` and ``index`` (its position; without it, all events).
- by number: ``at`` and ``token_at`` have the same entries with ``request``, counted from 1 since
  the plan was set.

Further fields of a plan:

- ``max_requests_per_second``: further requests within a second are answered 429.
- ``latency_ms``: every answer waits this long. ``latency_p50_ms`` with ``latency_p99_ms``: a
  brown-out. ``delay`` with ``delay_min_ms`` and ``delay_max_ms``: the probability of a further
  wait.
- ``flapping`` N: N requests pass, N are answered 503, in turn.
- ``reject_names``, ``poison_names``: the names of events that are rejected, or that sink their
  request.
- ``max_body_bytes``: larger requests are answered 413.
- ``refresh_token_revoked``; ``registry_down`` (503) and ``registry_latency_ms``.
"""

from __future__ import annotations

from connector.sandbox.contract import EventLimits
from connector.sandbox.faults import Faults, FaultsRefused
from connector.sandbox.server import Options, RunningSandbox, serve
from connector.sandbox.tokens import SandboxCredentials

__all__ = ["EventLimits", "Faults", "FaultsRefused", "Options", "RunningSandbox", "SandboxCredentials", "serve"]
