"""What the rules let pass, the sandbox accepts: another reading of the contract, which shares no code with ours."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.events_v1 import EventsV1
from connector.model import Flaw
from connector.sandbox.contract import ADS_V1, EVENTS_V1, Limits, judge
from tests.amazon.inputs import MARCH, a_purchase, digest

HASH = digest("jo@example.com")
KINDS = ["EMAIL", "PHONE", "CITY", "MAID", "RAMP_ID", "MATCH_ID", "REAL_ID", "FIP"]
VALUES = [
    HASH,
    HASH.upper(),
    f" {HASH}",
    "jo@example.com",
    "loyalty4711",
    "has blank",
    "203.0.113.9",
    "",
    " ",
    "+++",
    "x" * 101,
]
NEARLY_SOUND = {
    "name": st.sampled_from(["web_order", " x ", "ß"]),
    "eventType": st.sampled_from(["OFF_AMAZON_PURCHASES", "Lead", "Sign-up", "OTHER", "Purchase"]),
    "eventActionSource": st.sampled_from(["website", "Fire TV", "MEASUREMENT_ATTRIBUTION_PARTNER"]),
    "timestamp": st.integers(MARCH - 6 * 86_400_000, MARCH),
    "matchKeys": st.lists(
        st.fixed_dictionaries({"type": st.sampled_from(KINDS), "value": st.sampled_from(VALUES)}), min_size=1, max_size=18
    ),
    "value": st.none() | st.floats() | st.decimals() | st.integers(-5, 10**20),
    "currencyCode": st.sampled_from([None, "EUR", "usd", "ZAR", "XXX"]),
    "unitsSold": st.none() | st.integers(-1, 2**31),
    "countryCode": st.sampled_from(["DE", "de", "en-US", "OTHER_EEA", "UK"]),
    "dataProcessingOptions": st.sampled_from([None, [], ["LIMITED_DATA_USE"], ["limited data use"]]),
    "consent": st.none()
    | st.fixed_dictionaries(
        {},
        optional={
            "ipAddress": st.sampled_from(["203.0.113.9", "::1", "nowhere", ""]),
            "amznUserData": st.sampled_from(["GRANTED", "denied", None]),
            "amznAdStorage": st.sampled_from(["GRANTED", "denied", None]),
            "tcf": st.sampled_from(["CQ", "", None]),
            "gpp": st.sampled_from(["DB", "", None]),
        },
    ),
    "customAttributes": st.none()
    | st.dictionaries(st.text("ab_ -", max_size=3), st.text("ab_.9 ", max_size=4) | st.just("x" * 257), max_size=15),
}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(changes=st.fixed_dictionaries({}, optional=NEARLY_SOUND), region=st.sampled_from(["NA", "EU"]))
def test_the_sandbox_accepts_whatever_the_rules_let_pass(changes: dict[str, object], region: str) -> None:
    for contract, sandbox in ((AdsV1("585", "client", region), ADS_V1), (EventsV1("585", "client", region), EVENTS_V1)):
        payload = contract.encode(a_purchase(**changes), "id")
        if not isinstance(payload, Flaw):
            assert judge(sandbox, orjson.loads(payload), MARCH, Limits(consent_required=region == "EU")) == ()
