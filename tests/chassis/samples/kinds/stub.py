"""Stub: the offline kind."""

from chassis.doubles import Greeter
from object_service.chassis.providers import ProviderConfig, ProviderKind

KIND: ProviderKind[ProviderConfig, Greeter] = ProviderKind(
    ProviderConfig, lambda _config, _resources: Greeter(), offline=True
)
