"""What Amazon wants: the one room that knows its wire contracts, its rules for fields and keys, its answers and tokens.

* ``ads_v1`` and ``events_v1`` are the two wire contracts: where a request goes, and how it arranges an event; ``contract``
  is what they share.
* ``rules`` are the field rules both share, over the enums in ``vocabulary``; ``match_keys`` normalises and hashes;
  ``findings`` collects what is wrong with one event.
* ``answers`` gives each event of a request exactly one verdict, or says why the request as a whole has none.
* ``tokens`` decides about Login with Amazon; ``regions`` is the table of hosts.
* ``client`` is the only file here that does I/O: one request out, one raw answer in.

Everything but ``client`` is pure: no clock, no loop, no chance. Sources of rules are cited by their key in the survey of
Amazon's contract (OAS, SEG, AMZ-GTM, ...). Where sources disagree, the choice that loses no conversion stands in the code.

No match-key value, token or event ever leaves by a log, an error, a ``repr`` or a detail: details name fields, rules and
Amazon's own codes.
"""

from __future__ import annotations

__all__: list[str] = []
