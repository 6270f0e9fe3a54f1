"""The OpenAI stand-in through the openai library, held to OpenAI's own specification."""

from __future__ import annotations

import json

import openai
import pytest
from openai import OpenAI

from tests.support.specs import OpenApi
from tests.support.vendors import Running

PROMPT = "Write a morning note.\nSPY closed at 601.20, up 0.4%.\nVIX 14.1\nNo numbers on this line."


def client_of(vendors: Running, **more) -> OpenAI:
    return OpenAI(**{"api_key": vendors.credentials.openai_key, "base_url": f"{vendors.url}/openai/v1", "max_retries": 0, **more})


def chat(client: OpenAI, prompt: str = PROMPT, **more):
    return client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": prompt}], **more)


def test_a_note_says_who_wrote_it_repeats_the_facts_and_is_the_same_each_time(vendors):
    client = client_of(vendors)

    first, second = chat(client), chat(client)

    text = first.choices[0].message.content
    assert "no model wrote this" in text and "601.20" in text and "VIX 14.1" in text and "No numbers" not in text
    assert text == second.choices[0].message.content and first.choices[0].finish_reason == "stop"
    assert "SPY closed" in vendors.told(vendor="openai")[0]["text"]


def test_the_responses_call_gives_the_same_note(vendors):
    client = client_of(vendors)

    reply = client.responses.create(model="gpt-4o", instructions="Be brief.", input=PROMPT)

    assert reply.output_text == chat(client).choices[0].message.content


def test_requests_and_answers_fit_the_specification(vendors):
    api = OpenApi("openai/openapi.reduced.json")
    client = client_of(vendors)
    chat(client, temperature=0.2, max_tokens=400)
    client.responses.create(model="gpt-4o", instructions="Be brief.", input=PROMPT)
    client.models.list()
    client.models.retrieve("gpt-4")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-0")

    chatted, responded, models, model, missing = vendors.wire(vendor="openai")
    api.check(chatted["request"], "CreateChatCompletionRequest")
    api.check(chatted["answer"], "CreateChatCompletionResponse")
    api.check(responded["request"], "CreateResponse")
    api.check(responded["answer"], "Response")
    api.check(models["answer"], "ListModelsResponse")
    api.check(model["answer"], "Model")
    api.check(missing["answer"], "ErrorResponse")


def test_json_is_given_where_json_is_asked_for(vendors):
    schema = {
        "type": "object",
        "properties": {
            "bias": {"type": "string", "enum": ["up", "down"]},
            "levels": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["bias", "levels"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "note", "schema": schema, "strict": True}}

    reply = chat(client_of(vendors), response_format=wanted)

    assert json.loads(reply.choices[0].message.content) == {"bias": "up", "levels": [0]}


def test_a_short_limit_cuts_the_text_and_says_so(vendors):
    reply = chat(client_of(vendors), max_tokens=5)

    assert reply.choices[0].finish_reason == "length" and len(reply.choices[0].message.content) == 20


def test_refusals_are_the_clients_own_errors(vendors):
    with pytest.raises(openai.AuthenticationError):
        chat(client_of(vendors, api_key="sk-wrong"))
    with pytest.raises(openai.NotFoundError):
        client_of(vendors).chat.completions.create(model="gpt-0", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError):
        chat(client_of(vendors), stream=True)
    vendors.fault("openai", "status", status=429, seconds=2)
    with pytest.raises(openai.RateLimitError) as limited:
        chat(client_of(vendors))
    assert limited.value.response.headers["retry-after"] == "2"
    vendors.fault("openai", "status", status=500)
    with pytest.raises(openai.InternalServerError):
        chat(client_of(vendors))
    assert vendors.told() == []


def test_a_slow_answer_runs_into_the_clients_time_out(vendors):
    vendors.fault("openai", "slow", seconds=1.0)
    with pytest.raises(openai.APITimeoutError):
        chat(client_of(vendors, timeout=0.2))


def test_the_key_stays_out_of_the_wire_log(vendors):
    chat(client_of(vendors), prompt=f"my key is {vendors.credentials.openai_key}")

    assert vendors.credentials.openai_key not in (vendors.data_dir / "vendors.jsonl").read_text()
