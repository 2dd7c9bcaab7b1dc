"""Convert the settings of pods, and check what settings_pods.yml cannot express."""

import re
from typing import Any

UNITS = {"": 1, "m": 1e-3, "M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def quantity(value: Any) -> list[str]:
    """Read one Kubernetes quantity, or two: the request and the limit."""
    amounts = [str(amount) for amount in (value if isinstance(value, list) else [value])]
    parts = [re.findall(r"^([\d.]+)(\D*)$", amount)[0] for amount in amounts]
    sizes = [float(number) * UNITS[unit] for number, unit in parts]
    if not 0 < sizes[0] <= sizes[-1]:
        raise ValueError(value)
    return amounts


def texts(value: dict[str, Any]) -> dict[str, str]:
    """Convert the values of a mapping to strings."""
    return {name: str(item) for name, item in value.items()}


CONVERTERS = {"bytes": quantity, "cores": quantity, "labels": texts, "variables": texts}
