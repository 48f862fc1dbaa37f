"""Changes of a configuration by `key=value`, as the command line gives them."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Sequence

if typing.TYPE_CHECKING:
    from training.config import TrainingConfig


def override(
    config: TrainingConfig, assignments: Sequence[str]
) -> TrainingConfig:
    """Changes fields of a configuration.

    Args:
        config: The configuration, which stays as it is.
        assignments: Strings `key=value`; a field of the augmentation is
            `augmentation.key=value`.

    Returns:
        The changed configuration.

    Raises:
        ValueError: If a key does not exist (the message names the nearest) or
            a value is not of its type.

    Example:
        >>> from training.config import get_config
        >>> config = override(get_config("lite"), ["epochs=2"])
        >>> config.epochs
        2
    """
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        if not separator:
            raise ValueError(f"Expected key=value. Received: {assignment!r}")
        config = _replaced(config, key.strip(), value.strip(), prefix="")
    return config


def _replaced(
    config: typing.Any, key: str, value: str, prefix: str
) -> typing.Any:
    first, _, rest = key.partition(".")
    kinds = typing.get_type_hints(type(config))
    if first not in kinds or bool(rest) != dataclasses.is_dataclass(
        kinds[first]
    ):
        names = [f"{prefix}{name}" for name in _keys(type(config))]
        raise ValueError(
            f"There is no such configuration key"
            f"{hint(prefix + key, names)} Received: {prefix}{key}={value}"
        )
    if rest:
        nested = _replaced(
            getattr(config, first), rest, value, f"{prefix}{first}."
        )
        return dataclasses.replace(config, **{first: nested})
    parsed = _parsed(value, kinds[first], f"{prefix}{key}")
    return dataclasses.replace(config, **{first: parsed})


def _keys(kind: typing.Any) -> list[str]:
    names = []
    for name, field_kind in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(field_kind):
            names += [f"{name}.{inner}" for inner in _keys(field_kind)]
        else:
            names.append(name)
    return names


def _parsed(value: str, kind: type, key: str) -> str | int | float | bool:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        if kind in (int, float):
            return kind(value)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "a whole number"}.get(
            kind, "a number"
        )
        raise ValueError(
            f"{key} must be {wanted}. Received: {key}={value}"
        ) from None
    return value


def hint(name: str, names: typing.Iterable[str]) -> str:
    """Ends a message: the nearest of some names, or all of them."""
    nearest = difflib.get_close_matches(name, list(names), n=1, cutoff=0.4)
    if nearest:
        return f"; did you mean {nearest[0]!r}?"
    return f"; there are {', '.join(names)}."
