"""Amazon's side of the connector: its wire contracts, field rules, answers and tokens.

A record comes in as a dict of inputs and leaves as bytes of JSON; an answer comes back and becomes
one verdict for each event. No other package knows what Amazon's requests and answers look like.

* ``ads_v1`` and ``events_v1`` are the two wire contracts: where a request goes, and how an event is
  laid out in it. ``contract`` is what they share.
* ``rules`` are the rules for fields, over the enums in ``vocabulary``. ``consent``,
  ``custom_attributes`` and ``match_keys`` judge the three inputs that need most rules; ``findings``
  collects what is wrong with one event.
* ``match_keys`` rests on ``normalisation`` (spelling before the hash, with the tables in
  ``abbreviations``), ``digests`` (values that are hashed already) and ``addresses`` (IP addresses).
* ``answers`` gives each event of a request exactly one verdict, or says why the request as a whole
  has none.
* ``tokens`` decides about Login with Amazon; ``regions`` is the table of hosts.
* ``client`` sends one request and returns its answer, with a token from ``access_tokens``, over
  ``transport``; ``resolver`` looks hosts up, and ``network_failures`` says what an error means.

Only ``access_tokens``, ``resolver`` and ``transport`` do I/O. Everything else is pure: no clock, no
event loop, no randomness. Rules cite their source by its name in docs/events.md#amazons-vocabulary
(OAS, SEG, AMZ-GTM, ...). Where sources disagree, the code makes the choice that loses no
conversion.

No match-key value, token or event ever leaves through a log, an error, a ``repr`` or a detail:
details name fields, rules and Amazon's own codes.
"""

from __future__ import annotations

__all__: list[str] = []
