"""The sandbox over HTTP: contracts, credentials, faults, and a record that stays true."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from connector.sandbox import EventLimits, Faults, Options, RunningSandbox, serve
from connector.sandbox.tokens import fingerprint
from tests.sandbox.asking import (
    ADS_PATH,
    EVENTS_PATH,
    FORM,
    KNOWN,
    Clock,
    column,
    headers,
    post,
    raw,
    record,
    set_faults,
    status,
)
from tests.sandbox.examples import ADS_BODY, ADS_LEAD, ADS_NOW, ADS_PURCHASE, EVENTS_BODY, EVENTS_NOW, HASH, put


async def test_ads_v1_answers_the_golden_example_from_index_0_and_echoes_what_it_accepts(
    http: aiohttp.ClientSession,
) -> None:
    code, answer = await post(http, ADS_PATH, ADS_BODY)
    assert code == 207
    assert answer["success"] == [{"index": 0, "event": ADS_PURCHASE}]
    (item,) = answer["error"]
    assert item["index"] == 1
    assert item["errors"] == [
        {"code": "BAD_REQUEST", "message": "eventTime is not a valid date-time", "fieldLocation": "events[1].eventTime"}
    ]


async def test_events_v1_answers_the_golden_example_from_index_1(http: aiohttp.ClientSession, clock: Clock) -> None:
    clock.now_ms = EVENTS_NOW
    code, answer = await post(http, EVENTS_PATH, EVENTS_BODY)
    assert code == 207
    assert answer["success"] == [{"index": 1, "message": None}]
    (item,) = answer["error"]
    assert (item["index"], item["httpStatusCode"]) == (2, "400")
    assert item["subErrors"] == [
        {
            "errorCode": 400,
            "errorType": "FIELD_VALUE_IS_OUT_OF_RANGE",
            "errorMessage": "timestamp is too old to be processed",
        }
    ]


async def test_the_record_has_a_line_for_every_event(http: aiohttp.ClientSession) -> None:
    await post(http, ADS_PATH, ADS_BODY)
    first, second = await record(http)
    assert first | {"digest": ""} == {
        "request": 1,
        "arrival": ADS_NOW,
        "answered": ADS_NOW,
        "contract": "ads-v1",
        "account": KNOWN.account_id,
        "token": fingerprint(KNOWN.access_token),
        "index": 0,
        "id": "order-700124",
        "digest": "",
        "verdict": "accepted",
        "counted": True,
        "codes": [],
        "flaws": [],
        "fault": None,
        "answer": "sent",
    }
    assert (second["index"], second["id"], second["verdict"]) == (1, None, "rejected")
    assert (second["codes"], second["flaws"]) == (["BAD_REQUEST"], ["eventTime time-form"])
    assert await record(http, 1) == [second]


async def test_equal_content_has_an_equal_digest_in_whatever_order_its_fields_stand(http: aiohttp.ClientSession) -> None:
    turned = dict(reversed(ADS_PURCHASE.items()))
    changed = put(ADS_PURCHASE, "value", 120.51)
    await post(http, ADS_PATH, {"events": [ADS_PURCHASE, turned, changed]})
    digests = column(await record(http), "digest")
    assert digests[0] == digests[1] != digests[2]


async def test_duplicates_are_accepted_with_success_and_counted(http: aiohttp.ClientSession) -> None:
    for _ in range(2):
        code, answer = await post(http, ADS_PATH, {"events": [ADS_PURCHASE]})
        assert (code, len(answer["success"])) == (207, 1)
    counts = await status(http)
    assert (counts["accepted"], counts["distinct_ids"], counts["ids_accepted_again"]) == (2, 1, 1)


async def test_a_clear_match_key_is_refused_and_counted_and_its_value_is_nowhere(http: aiohttp.ClientSession) -> None:
    clear = put(ADS_PURCHASE, "matchKeys.0.values", ["ann@example.com"])
    code, answer = await post(http, ADS_PATH, {"events": [clear]})
    assert code == 207
    assert answer["error"][0]["errors"][0]["fieldLocation"] == "events[0].matchKeys[0].values[0]"
    counts = await status(http)
    assert counts["clear_match_keys"] == 1
    assert "ann@example" not in str((answer, counts, await record(http)))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer Atza|other"}, 401),
        ({"Authorization": KNOWN.access_token}, 401),
        ({"Amazon_Ads_ClientId": None}, 401),
        ({"Amazon_Ads_ClientId": "another"}, 401),
        ({"Amazon_Ads_AccountId": None}, 401),
        ({"Amazon_Ads_AccountId": "5850000000002"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/vnd.dspconversioneventimport.v1+json"}, 415),
    ],
)
async def test_a_request_with_a_wrong_header_is_refused_as_a_whole(
    http: aiohttp.ClientSession, changes: dict[str, str | None], code: int
) -> None:
    answered, answer = await post(http, ADS_PATH, ADS_BODY, **changes)
    assert answered == code
    assert set(answer) == {"code", "message"}
    assert (await status(http))["accepted"] == 0


async def test_a_compressed_body_is_refused(http: aiohttp.ClientSession) -> None:
    assert (await post(http, ADS_PATH, ADS_BODY, Content_Encoding="identity"))[0] == 415


async def test_events_v1_wants_its_own_client_header_and_words_refusals_its_own_way(http: aiohttp.ClientSession) -> None:
    wrong = {"Amazon_Advertising_API_ClientID": None, "Amazon_Ads_ClientId": KNOWN.client_id}
    code, answer = await post(http, EVENTS_PATH, EVENTS_BODY, **wrong)
    assert code == 401
    assert (answer["code"], set(answer)) == ("401", {"code", "details", "requestId"})


async def test_events_of_a_refused_request_are_in_the_record_as_not_judged(http: aiohttp.ClientSession) -> None:
    await post(http, ADS_PATH, ADS_BODY, Amazon_Ads_AccountId="5850000000002")
    lines = await record(http)
    assert column(lines, "verdict") == ["not judged"] * 2
    assert column(lines, "answer") == ["failed:403"] * 2


async def test_a_body_above_the_limit_is_answered_413_and_one_at_the_limit_is_not(http: aiohttp.ClientSession) -> None:
    body = orjson.dumps({"events": [ADS_PURCHASE]})
    code, answer = await post(http, ADS_PATH, body + b" " * (50_001 - len(body)))
    assert (code, answer["code"]) == (413, "CONTENT_TOO_LARGE")
    assert (await post(http, ADS_PATH, body + b" " * (50_000 - len(body))))[0] == 207


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"events":[]}', {"events": [{}] * 501}, EVENTS_BODY])
async def test_a_malformed_body_is_answered_400(http: aiohttp.ClientSession, body: object) -> None:
    code, answer = await post(http, ADS_PATH, body)
    assert (code, answer["code"]) == (400, "BAD_REQUEST")
    assert (await status(http))["answers"] == {"failed:400": 1}


async def test_an_event_that_is_odd_all_over_is_an_item_and_not_a_crash(http: aiohttp.ClientSession) -> None:
    odd: list[Any] = [None, 7, [], {}, {name: {} for name in ADS_PURCHASE}, {name: [[]] for name in ADS_PURCHASE}]
    code, answer = await post(http, ADS_PATH, {"events": odd})
    assert code == 207
    assert column(answer["error"], "index") == list(range(6))
    assert all(1 <= len(item["errors"]) <= 20 for item in answer["error"])


async def test_consent_is_asked_for_where_the_account_needs_it(clock: Clock) -> None:
    running = await serve(options=Options(clock=clock, limits=EventLimits(consent_required=True)))
    async with aiohttp.ClientSession(running.url) as http:
        _, answer = await post(http, ADS_PATH, {"events": [ADS_PURCHASE, ADS_LEAD | {"eventTime": "2026-08-20T18:04:05Z"}]})
    await running.stop()
    assert answer["error"][0]["errors"][0]["fieldLocation"] == "events[0].consent"
    assert column(answer["success"], "index") == [1]


async def test_an_item_tells_at_most_twenty_errors_and_the_record_all(http: aiohttp.ClientSession) -> None:
    event = put(ADS_PURCHASE, "customData", [{"name": "a b", "value": "c d"}] * 13)
    _, answer = await post(http, ADS_PATH, {"events": [event]})
    assert len(answer["error"][0]["errors"]) == 20
    assert len((await record(http))[0]["codes"]) == 26


async def test_an_event_nested_deeper_than_any_contract_is_an_item_and_not_a_crash(http: aiohttp.ClientSession) -> None:
    deep = b'{"events":[{"value":' + b"[" * 400 + b"]" * 400 + b"}]}"
    code, answer = await post(http, ADS_PATH, deep)
    assert (code, len(answer["error"])) == (207, 1)


async def test_a_token_of_bytes_that_are_no_text_is_refused(sandbox: RunningSandbox) -> None:
    request = raw(b"{}").replace(KNOWN.access_token.encode(), b"\xff\xfe")
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(request)
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_profiles_are_those_of_the_users_accounts_and_need_a_token_and_the_client(http: aiohttp.ClientSession) -> None:
    known = {"Authorization": f"Bearer {KNOWN.access_token}", "Amazon-Advertising-API-ClientId": KNOWN.client_id}
    async with http.get("/v2/profiles", headers=known) as answer:
        assert answer.status == 200
        assert [profile["accountInfo"]["id"] for profile in await answer.json()] == [KNOWN.account_id]
    for lacking in known:
        without = {name: value for name, value in known.items() if name != lacking}
        async with http.get("/v2/profiles", headers=without) as answer:
            assert answer.status == 401


async def test_a_refreshed_token_holds_until_it_expires(http: aiohttp.ClientSession, clock: Clock) -> None:
    async with http.post("/auth/o2/token", data=FORM) as response:
        answer = await response.json()
    assert (response.status, answer["token_type"], answer["expires_in"]) == (200, "bearer", 60)
    assert answer["refresh_token"] == KNOWN.refresh_token
    bearer = f"Bearer {answer['access_token']}"
    clock.now_ms += 59_999
    assert (await post(http, ADS_PATH, ADS_BODY, Authorization=bearer))[0] == 207
    clock.now_ms += 1
    assert (await post(http, ADS_PATH, ADS_BODY, Authorization=bearer))[0] == 401


@pytest.mark.parametrize(
    ("change", "code", "error"),
    [
        ({"refresh_token": "Atzr|revoked"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_a_refresh_with_a_wrong_field_is_refused(
    http: aiohttp.ClientSession, change: dict[str, str], code: int, error: str
) -> None:
    async with http.post("/auth/o2/token", data=FORM | change) as response:
        assert (response.status, (await response.json())["error"]) == (code, error)


async def test_a_refresh_with_an_authorization_header_or_as_json_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post("/auth/o2/token", data=FORM, headers={"Authorization": "Bearer x"}) as response:
        assert (response.status, (await response.json())["error"]) == (400, "invalid_request")
    async with http.post("/auth/o2/token", json=FORM) as response:
        assert response.status == 400


async def test_token_requests_fail_as_planned(http: aiohttp.ClientSession) -> None:
    plan = [{"fault": "status", "status": 500}, {"fault": "token_html"}, {"fault": "token_429", "retry_after": 2}]
    await set_faults(http, {"token_next": plan})
    found = []
    for _ in range(4):
        async with http.post("/auth/o2/token", data=FORM) as response:
            found.append((response.status, response.content_type, response.headers.get("Retry-After")))
    assert found == [
        (500, "application/json", None),
        (200, "text/html", None),
        (429, "application/json", "2"),
        (200, "application/json", None),
    ]


async def test_events_are_rejected_by_name_on_request(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"reject_names": ["cursed"]})
    cursed = put(ADS_PURCHASE, "eventDescription.name", "cursed")
    _, answer = await post(http, ADS_PATH, {"events": [cursed, ADS_PURCHASE]})
    assert column(answer["error"], "index") == [0]
    assert column(answer["success"], "index") == [1]
    lines = await record(http)
    assert column(lines, "fault") == ["reject", None]
    assert column(lines, "codes") == [["INVALID_INPUT"], []]


async def test_a_transient_item_says_internal_error_in_both_contracts(http: aiohttp.ClientSession, clock: Clock) -> None:
    await set_faults(http, {"retry": 1})
    _, ads = await post(http, ADS_PATH, {"events": [ADS_PURCHASE]})
    assert ads["error"][0]["errors"][0]["code"] == "INTERNAL_ERROR"
    clock.now_ms = EVENTS_NOW
    _, events = await post(http, EVENTS_PATH, EVENTS_BODY)
    assert column(events["error"], "httpStatusCode") == ["500", "400"]
    assert column(await record(http), "fault") == ["retry", "retry", None]


async def test_an_omitted_verdict_is_of_an_event_that_was_accepted(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"omit": 1})
    _, answer = await post(http, ADS_PATH, {"events": [ADS_PURCHASE]})
    assert answer == {"success": [], "error": []}
    (line,) = await record(http)
    assert (line["verdict"], line["fault"]) == ("accepted", "omit")


async def test_a_throttled_request_is_not_judged_and_carries_its_retry_after(http: aiohttp.ClientSession) -> None:
    plan = {
        "next": [{"fault": "throttle_429", "retry_after": value} for value in (3, "Wed, 21 Oct 2026 07:28:00 GMT", None)]
    }
    await set_faults(http, plan)
    found = []
    for _ in range(3):
        async with http.post(ADS_PATH, data=orjson.dumps(ADS_BODY), headers=headers(ADS_PATH)) as response:
            assert (response.status, await response.json()) == (429, {"message": "Too Many Requests"})
            found.append(response.headers.get("Retry-After"))
    assert found == ["3", "Wed, 21 Oct 2026 07:28:00 GMT", None]
    lines = await record(http)
    assert set(column(lines, "verdict")) == {"not judged"}
    assert set(column(lines, "answer")) == {"failed:429"}
    assert (await post(http, ADS_PATH, ADS_BODY))[0] == 207


async def test_a_withheld_answer_is_of_events_that_were_accepted(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "withhold"}]})
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(http, ADS_PATH, {"events": [ADS_PURCHASE]})
    (line,) = await record(http)
    assert (line["verdict"], line["answer"], line["fault"]) == ("accepted", "withheld", "withhold")
    assert (await status(http))["withheld_answers"] == 1


@pytest.mark.parametrize(
    ("fault", "code", "answer"),
    [
        ("truncated", 207, "truncated"),
        ("empty", 207, "empty"),
        ("html", 207, "html"),
        ("fail_500_after_accept", 500, "failed:500"),
    ],
)
async def test_a_spoiled_answer_is_of_events_that_were_accepted(
    http: aiohttp.ClientSession, fault: str, code: int, answer: str
) -> None:
    await set_faults(http, {fault: 1})
    async with http.post(ADS_PATH, data=orjson.dumps({"events": [ADS_PURCHASE]}), headers=headers(ADS_PATH)) as response:
        body = await response.read()
    assert response.status == code
    assert not is_verdicts(body)
    (line,) = await record(http)
    assert (line["verdict"], line["answer"], line["fault"]) == ("accepted", answer, fault)


async def test_the_same_plan_does_the_same_to_the_same_requests_again(http: aiohttp.ClientSession) -> None:
    plan = {"seed": 5, "fail_503": 0.3, "throttle_429": 0.2, "fail_500_after_accept": 0.2}
    runs = []
    for _ in range(2):
        await set_faults(http, plan)
        runs.append([(await post(http, ADS_PATH, ADS_BODY))[0] for _ in range(12)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 4


async def test_a_request_is_in_the_record_while_its_answer_waits(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "delay", "ms": 1500}]})
    waiting = asyncio.create_task(post(http, ADS_PATH, {"events": [ADS_PURCHASE]}))
    while not (lines := await record(http)):
        await asyncio.sleep(0.005)
    assert [(line["verdict"], line["answer"], line["answered"]) for line in lines] == [("accepted", "pending", None)]
    assert (await waiting)[0] == 207
    assert column(await record(http), "answer") == ["sent"]


async def test_a_client_that_vanished_before_its_answer_is_recorded_as_unread(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    await set_faults(http, {"next": [{"fault": "delay", "ms": 1500}]})
    _reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(raw(orjson.dumps({"events": [ADS_PURCHASE]})))
    while not await record(http):
        await asyncio.sleep(0.005)
    writer.transport.abort()
    while (line := (await record(http))[0])["answer"] == "pending":
        await asyncio.sleep(0.01)
    assert (line["verdict"], line["answer"]) == ("accepted", "unread")


async def test_a_client_that_vanished_amid_its_request_leaves_a_count_and_no_event(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    whole = raw(orjson.dumps({"events": [ADS_PURCHASE]}))
    _reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    writer.write(whole[:-10])
    await writer.drain()
    await asyncio.sleep(0.5)
    writer.transport.abort()
    while not (counts := await status(http))["broken_off"]:
        await asyncio.sleep(0.005)
    assert (counts["requests"], await record(http)) == (0, [])


async def test_a_sandbox_that_stops_tells_what_it_left_unanswered(clock: Clock) -> None:
    running = await serve(options=Options(clock=clock))
    running.faults = Faults(latency_ms=60_000)
    async with aiohttp.ClientSession(running.url) as http:
        waiting = asyncio.create_task(post(http, ADS_PATH, {"events": [ADS_PURCHASE]}))
        while not running.record.status()["events"]:
            await asyncio.sleep(0.005)
        await running.stop()
        with pytest.raises(aiohttp.ClientError):
            await waiting
    assert [orjson.loads(line)["answer"] for line in running.record.lines()] == ["unread"]


async def test_record_and_faults_are_cleared(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"fail_503": 1})
    await post(http, ADS_PATH, ADS_BODY)
    for path in ("/sandbox/record", "/sandbox/faults"):
        async with http.delete(path) as response:
            assert response.status == 204
    assert await record(http) == []
    assert (await status(http))["events"] == 0
    assert (await post(http, ADS_PATH, ADS_BODY))[0] == 207


async def test_faults_are_read_back_with_every_default_and_a_bad_plan_changes_nothing(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"seed": 4, "next": [{"fault": "empty", "times": 2}]})
    async with http.put("/sandbox/faults", data=b'{"fail_404": 1}') as response:
        assert response.status == 400
        assert "fail_404" in (await response.json())["message"]
    async with http.put("/sandbox/faults", data=b"{") as response:
        assert response.status == 400
    async with http.get("/sandbox/faults") as response:
        plan = await response.json()
    assert (plan["seed"], plan["latency_ms"], plan["next"][0]["times"]) == (4, 0, 2)
    assert Faults.parse(plan).next[0].fault == "empty"


async def test_a_full_batch_and_a_long_record_are_served_whole(http: aiohttp.ClientSession, clock: Clock) -> None:
    running = await serve(options=Options(clock=clock))
    events = [
        ADS_PURCHASE | {"eventId": f"order-{number}", "matchKeys": [{"type": "EMAIL", "values": [HASH]}]}
        for number in range(500)
    ]
    async with aiohttp.ClientSession(running.url) as session:
        for _ in range(5):
            _, answer = await post(session, ADS_PATH, {"events": events})
            assert column(answer["success"], "index") == list(range(500))
        lines = await record(session)
        assert len(lines) == 2500
        assert await record(session, 1999) == lines[1999:]
        async with session.get("/sandbox/record?from=x") as response:
            assert response.status == 400
    await running.stop()


def is_verdicts(body: bytes) -> bool:
    try:
        return "success" in orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
