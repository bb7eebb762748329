"""Vendors: where each one's API begins, and the few things that it wants otherwise; data, no code.

Sources, read in 2026-11:

- openai: types of its SDK 3.x (`max_tokens` deprecated, `stream_options.include_usage`)
- cerebras: types of its SDK 1.91 (`max_tokens` deprecated, `stream_options`)
- deepseek: platform.deepseek.com/api-docs, JSON Output (`json_object` only; the prompt has to speak of JSON) and
  Create Chat Completion (`stream_options`)
- fireworks: docs.fireworks.ai, Structured responses, and types of its SDK 1.2 (no `stream_options`)
- gemini: ai.google.dev/api/compatibility (`max_tokens`, `stream_options`, `response_format` with a schema)
- groq: types of its SDK 1.7 (`max_tokens` deprecated, `stream_options` in the text on chunks)
- mistral: types of its SDK 3.7 (usage comes in the last chunk; no `stream_options`)
- ollama: docs.ollama.com/api/openai-compatibility
- openrouter: openrouter.ai/docs, Structured outputs; ChatStreamOptions (usage is always included)
- together: docs.together.ai, OpenAI compatibility, and types of its SDK 3.1 (no `stream_options`)
- vllm: docs.vllm.ai, OpenAI-compatible server
- xai: docs.x.ai, Structured outputs, and Comparison with Chat Completions (`max_tokens`)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

VendorName = Literal[
    "cerebras",
    "deepseek",
    "fireworks",
    "gemini",
    "groq",
    "mistral",
    "ollama",
    "openai",
    "openrouter",
    "together",
    "vllm",
    "xai",
]
"""The vendors that settings can name."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """How one vendor speaks.

    `max_tokens` is the name of that field. `usage_on_request`: a stream has the usage only if `stream_options` ask
    for it; otherwise they are not understood or not needed. `schemas`: it takes JSON schemas; otherwise it only
    promises JSON, and has to be told the schema in words.
    """

    base_url: str | None = None
    max_tokens: str = "max_tokens"
    usage_on_request: bool = True
    schemas: bool = True


COMMON = Vendor()
"""What most servers understand; used where no vendor is named."""

_NEWER = "max_completion_tokens"

VENDORS: Mapping[str, Vendor] = {
    "cerebras": Vendor("https://api.cerebras.ai/v1", max_tokens=_NEWER),
    "deepseek": Vendor("https://api.deepseek.com", schemas=False),
    "fireworks": Vendor("https://api.fireworks.ai/inference/v1", usage_on_request=False),
    "gemini": Vendor("https://generativelanguage.googleapis.com/v1beta/openai"),
    "groq": Vendor("https://api.groq.com/openai/v1", max_tokens=_NEWER),
    "mistral": Vendor("https://api.mistral.ai/v1", usage_on_request=False),
    "ollama": Vendor("http://localhost:11434/v1"),
    "openai": Vendor("https://api.openai.com/v1", max_tokens=_NEWER),
    "openrouter": Vendor("https://openrouter.ai/api/v1", usage_on_request=False),
    "together": Vendor("https://api.together.ai/v1", usage_on_request=False),
    "vllm": Vendor("http://localhost:8000/v1"),
    "xai": Vendor("https://api.x.ai/v1", usage_on_request=False),
}
"""One line per vendor; a name that is new here is new in `VendorName` too."""
