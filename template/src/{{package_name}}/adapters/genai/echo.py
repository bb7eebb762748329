"""Echo: answers every prompt with the prompt itself; deterministic, offline, free."""

import re
from collections.abc import AsyncGenerator

from pydantic import Field

from ...chassis.providers import ProviderConfig, ProviderKind, Resources
from ...domain.genai import Answer, FinishReason, Generation, GenerationParams, TextGenerator, Usage


class EchoConfig(ProviderConfig):
    """Settings of an echo."""

    model: str = Field(default="echo-1", description="Name that it gives as its model.")


class Echo:
    """Repeats the prompt up to the limits of the call; a token is a word with the space behind it.

    Under a response schema the prompt has to be JSON that follows it.
    """

    def __init__(self, model: str) -> None:
        """Take the name of the model."""
        self._model = model

    async def generate(self, prompt: str, params: GenerationParams) -> Answer:
        """Return the prompt, cut before the first stop text and after `max_output_tokens` words."""
        cuts = [prompt.find(stop) for stop in params.stop or () if stop and stop in prompt]
        words = re.findall(r"\s*\S+", prompt[: min(cuts)] if cuts else prompt)
        limit = params.max_output_tokens if params.max_output_tokens is not None else len(words)
        reason = FinishReason.LENGTH if len(words) > limit else FinishReason.STOP
        usage = Usage(input_tokens=len(prompt.split()), output_tokens=len(words[:limit]))
        text = "".join(words[:limit]) if cuts or reason is FinishReason.LENGTH else prompt
        return Answer(Generation(text, reason, usage), self._model)

    async def stream(self, prompt: str, params: GenerationParams) -> AsyncGenerator[str | Answer]:
        """Return the same word by word."""
        answer = await self.generate(prompt, params)
        for word in re.findall(r"\s*\S+\s*\Z|\s*\S+", answer.generation.text):
            yield word
        yield answer

    async def aclose(self) -> None:
        """Hold nothing, release nothing."""


def _build(config: EchoConfig, resources: Resources) -> Echo:
    del resources
    return Echo(config.model)


KIND: ProviderKind[EchoConfig, TextGenerator] = ProviderKind(EchoConfig, _build, offline=True)
