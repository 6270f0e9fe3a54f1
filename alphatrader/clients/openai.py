"""OpenAI: one call, the morning note. Time-out, bounded retries (the library's, with jitter), a circuit breaker."""

from __future__ import annotations

import openai
import pybreaker


class NoteError(RuntimeError):
    """The model gave no note; the reason is in words."""


class NoteWriter:
    def __init__(
        self, *, key: str, base_url: str, model: str, timeout_seconds: float, breaker_failures: int, breaker_reset_seconds: float
    ) -> None:
        self._client = openai.OpenAI(api_key=key, base_url=base_url, timeout=timeout_seconds, max_retries=2)
        self._model = model
        self._breaker = pybreaker.CircuitBreaker(fail_max=breaker_failures, reset_timeout=breaker_reset_seconds)

    def write(self, instruction: str, facts: str) -> str:
        """The model's text. Raises NoteError."""
        try:
            messages = [{"role": "system", "content": instruction}, {"role": "user", "content": facts}]
            answer = self._breaker.call(self._client.chat.completions.create, model=self._model, messages=messages)
        except pybreaker.CircuitBreakerError as error:
            raise NoteError("its circuit breaker is open after repeated failures") from error
        except openai.APITimeoutError as error:
            raise NoteError("it did not answer in time") from error
        except openai.APIStatusError as error:
            raise NoteError(f"it answered HTTP {error.status_code}") from error
        except openai.APIError as error:
            raise NoteError(f"it could not be reached or understood: {type(error).__name__}") from error
        text = answer.choices[0].message.content if answer.choices else None
        if not text or not text.strip():
            raise NoteError("it answered without text")
        return str(text).strip()
