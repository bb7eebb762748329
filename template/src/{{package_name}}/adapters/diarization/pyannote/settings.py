"""Settings of pyannoteAI, and what guards its calls unless settings say otherwise."""

from collections.abc import Iterable
from typing import ClassVar, Literal, override

from pydantic import Field, HttpUrl, SecretStr

from ....chassis.config.section import Contradiction, Environment
from ....chassis.providers import HttpProviderConfig
from ....chassis.resilience.settings import RateLimit, Resilience, Retry, Timeouts


class PyannoteTimeouts(Timeouts):
    """An upload is part of submitting a job: 500 MiB at 40 Mbit/s."""

    control_attempt_s: float = Field(
        default=120, gt=0, description="Longest time for one attempt to submit, with the upload; of a poll: 10 s."
    )


class PyannoteRetry(Retry):
    """A job that may have been submitted is not submitted again: the vendor knows no idempotency keys, and bills both.

    Source: https://docs.pyannote.ai/api-reference/diarize, which names no such header.
    """

    keys_count: ClassVar[bool] = False


class PyannoteRateLimit(RateLimit):
    """In no minute more than 10 + 60 x 1.5 = 100 attempts; submitting takes two requests, which a 429 corrects.

    Source: https://docs.pyannote.ai/ratelimits, 100 requests a minute, sliding window.
    """

    type: Literal["none", "gcra"] = Field(default="gcra", description="Kind of limit; none switches it off.")
    rate_per_s: float | None = Field(default=1.5, gt=0, description="Attempts per second.")
    burst: int | None = Field(default=10, ge=1, description="Attempts at once.")


class PyannoteResilience(Resilience):
    """Everything that guards the calls to pyannoteAI."""

    timeouts: PyannoteTimeouts = Field(default=PyannoteTimeouts(), description="Time limits.")
    retry: PyannoteRetry = Field(default=PyannoteRetry(), description="Repeated attempts.")
    rate_limit: PyannoteRateLimit = Field(default=PyannoteRateLimit(), description="Attempts per second.")


class PyannoteConfig(HttpProviderConfig):
    """Settings of one account."""

    base_url: HttpUrl = Field(default=HttpUrl("https://api.pyannote.ai/v1"), description="Where its API begins.")
    model: str = Field(default="precision-2", min_length=1, description="Model to ask for.")
    resilience: PyannoteResilience = Field(default=PyannoteResilience(), description="What guards its calls.")
    webhook_url: HttpUrl | None = Field(
        default=None, description="Public address of `/v1/diarizations/webhooks/<name>`, to be told the end of jobs."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=1, description="What the vendor signs with when it tells the end of a job."
    )
    webhook_tolerance_s: float = Field(
        default=300, gt=0, description="How far the time of a signed request may be from ours, in seconds."
    )

    @override
    def contradictions(self, environment: Environment) -> Iterable[Contradiction]:
        yield from super().contradictions(environment)
        pair = {"webhook_url": self.webhook_url, "webhook_secret": self.webhook_secret}
        absent = [name for name, value in pair.items() if value is None]
        if len(absent) == 1:
            yield Contradiction((absent[0],), "a value, as the other half of the webhook is set", "set both or none")
        url = self.webhook_url
        if url is not None and url.scheme == "http" and self.base_url.scheme == "https":
            yield Contradiction(("webhook_url",), "a URL with https, the only one that the vendor takes")
