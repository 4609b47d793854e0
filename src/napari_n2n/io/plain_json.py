"""Turn results into plain JSON, in which a figure that is not finite is null."""

import math
from typing import Any


def plain_json(value: Any) -> Any:
    """Return plain JSON: None for NaN and infinity, text for paths and other objects."""
    if isinstance(value, dict):
        return {str(key): plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(one) for one in value]
    if hasattr(value, "tolist"):  # numpy
        return plain_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
