"""Operation: what the pipeline has to know about one method of a port."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a port.

    `idempotent`: repeating it changes nothing and costs nothing that matters.
    `control`: it steers long work (submit, poll, cancel) and gets the short time limits.
    """

    name: str
    idempotent: bool
    control: bool = False
