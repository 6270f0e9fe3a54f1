"""The OpenAI stand-in: /openai/v1/chat/completions, /responses and /models.

No model runs here: the text is made from the prompt by rule, the same for the same prompt, and says so. Streaming and
tools are refused. With a JSON schema asked for, the text is the smallest JSON that fits it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
from flask import Blueprint, Response, g, request

from alphatrader.sandbox.vendors.exchange import answer, tell
from alphatrader.sandbox.vendors.world import VendorWorld

MODELS = ("gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-5", "gpt-5-mini")
MODELS_CREATED = 1_700_000_000
OPENING = "Morning note. (Written by the sandbox's stand-in for OpenAI by rule from the prompt; no model wrote this.)"
MOST_FACTS, MOST_LINE = 12, 200


class OpenAI:
    name = "openai"

    def __init__(self, world: VendorWorld) -> None:
        self._world = world

    def blueprint(self) -> Blueprint:
        routes = Blueprint(self.name, __name__)
        routes.add_url_rule("/v1/chat/completions", view_func=self.chat, methods=["POST"])
        routes.add_url_rule("/v1/responses", view_func=self.responses, methods=["POST"])
        routes.add_url_rule("/v1/models", view_func=self.models)
        routes.add_url_rule("/v1/models/<model>", view_func=self.model)
        routes.before_request(self._authorise)
        return routes

    def error(self, status: int, seconds: float) -> Response:
        if status == 429:
            headers = {"retry-after": str(max(1, round(seconds))), "retry-after-ms": str(round(seconds * 1000))}
            return refusal(429, "Rate limit reached for requests", "requests", "rate_limit_exceeded", headers)
        return refusal(status, "The server had an error while processing your request. Sorry about that!", "server_error", None)

    def _authorise(self) -> Response | None:
        if request.headers.get("Authorization") == f"Bearer {self._world.credentials.openai_key}":
            return None
        g.accepted = False
        return refusal(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")

    def models(self) -> Response:
        return answer({"object": "list", "data": [_model(name) for name in MODELS]})

    def model(self, model: str) -> Response:
        if model not in MODELS:
            return refusal(404, f"The model '{model}' does not exist", "invalid_request_error", "model_not_found")
        return answer(_model(model))

    def chat(self) -> Response:
        body = request.get_json(silent=True)
        messages = body.get("messages") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(messages, list) or not messages:
            return refusal(400, "Missing required parameter: 'messages'.", "invalid_request_error", "missing_required_parameter")
        if (refused := self._refuse(body)) is not None:
            return refused
        try:
            prompt = "\n".join(_text_of(message["content"]) for message in messages if message["role"] == "user")
            whole = "\n".join(_text_of(message["content"]) for message in messages)
        except (KeyError, TypeError):
            return refusal(400, "Invalid 'messages': each needs a role and a content.", "invalid_request_error", "invalid_value")
        text = written(prompt, body.get("response_format"))
        text, cut = _cut(text, body.get("max_completion_tokens") or body.get("max_tokens"))
        tell(body["model"], "prompt", whole)
        used, made = _tokens(whole), _tokens(text)
        return answer(
            {
                "id": f"chatcmpl-{_digest(whole)}",
                "object": "chat.completion",
                "created": int(self._world.machine_s()),
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                        "logprobs": None,
                        "finish_reason": "length" if cut else "stop",
                    }
                ],
                "usage": {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made},
                "service_tier": "default",
            },
            headers={"x-request-id": f"req_{_digest(whole)}"},
        )

    def responses(self) -> Response:
        body = request.get_json(silent=True)
        if not isinstance(body, dict) or not body.get("input"):
            return refusal(400, "Missing required parameter: 'input'.", "invalid_request_error", "missing_required_parameter")
        if (refused := self._refuse(body)) is not None:
            return refused
        given = body["input"]
        try:
            prompt = given if isinstance(given, str) else "\n".join(_text_of(item["content"]) for item in given)
        except (KeyError, TypeError):
            return refusal(400, "Invalid 'input'.", "invalid_request_error", "invalid_value")
        wanted = (body.get("text") or {}).get("format")
        text, cut = _cut(written(prompt, wanted), body.get("max_output_tokens"))
        whole = f"{body.get('instructions') or ''}\n{prompt}".strip()
        tell(body["model"], "prompt", whole)
        used, made, mark = _tokens(whole), _tokens(text), _digest(whole)
        content = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return answer(
            {
                "id": f"resp_{mark}",
                "object": "response",
                "created_at": int(self._world.machine_s()),
                "status": "incomplete" if cut else "completed",
                "error": None,
                "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
                "instructions": body.get("instructions"),
                "max_output_tokens": body.get("max_output_tokens"),
                "model": body["model"],
                "output": [
                    {
                        "id": f"msg_{mark}",
                        "type": "message",
                        "role": "assistant",
                        "status": "incomplete" if cut else "completed",
                        "content": [content],
                    }
                ],
                "parallel_tool_calls": True,
                "previous_response_id": None,
                "reasoning": {"effort": None, "summary": None},
                "temperature": body.get("temperature", 1.0),
                "text": {"format": {"type": "text"}},
                "tool_choice": "auto",
                "tools": [],
                "top_p": body.get("top_p", 1.0),
                "truncation": "disabled",
                "usage": {
                    "input_tokens": used,
                    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                    "output_tokens": made,
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": used + made,
                },
                "metadata": body.get("metadata") or {},
            },
            headers={"x-request-id": f"req_{mark}"},
        )

    def _refuse(self, body: dict[str, Any]) -> Response | None:
        if body.get("model") not in MODELS:
            text = f"The model `{body.get('model')}` does not exist or you do not have access to it."
            return refusal(404, text, "invalid_request_error", "model_not_found")
        for unknown in ("stream", "tools"):
            if body.get(unknown):
                return refusal(
                    400, f"The sandbox's stand-in does not do '{unknown}'.", "invalid_request_error", "unsupported_parameter"
                )
        return None


def written(prompt: str, wanted: Any) -> str:
    """The stand-in's text: an opening that says what it is, then the prompt's own facts; JSON when JSON is asked for."""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema":
        schema = wanted.get("schema") or (wanted.get("json_schema") or {}).get("schema") or {}
        return msgspec.json.encode(fitting(schema)).decode()
    if kind == "json_object":
        return msgspec.json.encode({"note": OPENING}).decode()
    facts = [line.strip()[:MOST_LINE] for line in prompt.splitlines() if any(letter.isdigit() for letter in line)][:MOST_FACTS]
    body = "\n".join(f"- {fact.lstrip('-* ')}" for fact in facts) or "- The prompt gave no numbers."
    return f"{OPENING}\n\nWhat was given:\n{body}\n\nThis is not investment advice."


def fitting(schema: dict[str, Any]) -> Any:
    """The smallest value that fits a JSON schema of the kind OpenAI takes (every property required)."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("anyOf"):
        return fitting(schema["anyOf"][0])
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: fitting(part) for name, part in (schema.get("properties") or {}).items()}
        case "array":
            return [fitting(schema.get("items") or {})] * int(schema.get("minItems", 1))
        case "number" | "integer":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case "null":
            return None
    return OPENING


def refusal(status: int, message: str, kind: str, code: str | None, headers: dict[str, str] | None = None) -> Response:
    return answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": MODELS_CREATED, "owned_by": "sandbox"}


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part.get("type") in ("text", "input_text", "output_text"))


def _tokens(text: str) -> int:
    return max(1, len(text) // 4)


def _cut(text: str, most_tokens: Any) -> tuple[str, bool]:
    if isinstance(most_tokens, int) and _tokens(text) > most_tokens:
        return text[: most_tokens * 4], True
    return text, False


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]
