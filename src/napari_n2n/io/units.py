"""Units of pixel sizes: one table for files, napari, OME-TIFF and OME-Zarr.

The names are those of OME-Zarr, which the pint library, and so napari, know too. Every unit has a
symbol in OME-XML. A unit that is not in the table becomes "pixel", the unknown unit.
"""

from collections.abc import Iterator

# Decimal prefix, its symbol and its power of ten, as far as OME-Zarr and OME-XML both have them.
_PREFIXES = {
    **{"yotta": ("Y", 24), "zetta": ("Z", 21), "exa": ("E", 18), "peta": ("P", 15)},
    **{"tera": ("T", 12), "giga": ("G", 9), "mega": ("M", 6), "kilo": ("k", 3), "hecto": ("h", 2)},
    **{"": ("", 0), "deci": ("d", -1), "centi": ("c", -2), "milli": ("m", -3), "micro": ("µ", -6)},
    **{"nano": ("n", -9), "pico": ("p", -12), "femto": ("f", -15), "atto": ("a", -18)},
    **{"zepto": ("z", -21), "yocto": ("y", -24)},
}


def _with_prefixes(name: str, symbol: str) -> Iterator[tuple[str, tuple[str, float]]]:
    for prefix, (short, power) in _PREFIXES.items():
        yield prefix + name, (short + symbol, float(f"1e{power}"))


LENGTHS = {
    **dict(_with_prefixes("meter", "m")),
    "angstrom": ("Å", 1e-10),
    "foot": ("ft", 0.3048),
    "yard": ("yd", 0.9144),
    "mile": ("mi", 1609.344),
    "parsec": ("pc", 3.0856775814913673e16),
}
"""Symbol in OME-XML, and metres, of each unit of length."""
TIMES = {
    **dict(_with_prefixes("second", "s")),
    "minute": ("min", 60.0),
    "hour": ("h", 3600.0),
    "day": ("d", 86400.0),
}
"""Symbol in OME-XML, and seconds, of each unit of time."""
_KIND = {**dict.fromkeys("ZYX", LENGTHS), "T": TIMES}
_SYMBOLS = {symbol: name for name, (symbol, _) in (LENGTHS | TIMES).items()}
# Other spellings, in lower case. Some programs write the micro sign as an escape sequence, or as
# the two characters that its UTF-8 bytes are in Latin-1.
_SPELLINGS = {
    **dict.fromkeys(("um", "\\u00b5m", "\\u03bcm", "âµm", "micron", "microns"), "micrometer"),
    **dict.fromkeys(("us", "\\u00b5s", "\\u03bcs", "âµs"), "microsecond"),
    **dict.fromkeys(("ang", "ångström", "ångstrom", "angstroem"), "angstrom"),
    **dict.fromkeys(("sec", "secs"), "second"),
    **dict.fromkeys(("msec", "msecs"), "millisecond"),
    **dict.fromkeys(("mins",), "minute"),
    **dict.fromkeys(("hr", "hrs"), "hour"),
    "feet": "foot",
}


def unit_name(unit: object) -> str:
    """Return the name of a unit ("um" -> "micrometer"); "pixel" if it is not known.

    An inch is not known, because only printers have pixel sizes in inches.
    """
    written = unit.strip().replace("μ", "µ") if isinstance(unit, str) else ""
    if written in _SYMBOLS:  # upper and lower case differ: Mm and mm
        return _SYMBOLS[written]
    lower = written.lower()
    singular = lower.removesuffix("s").replace("metre", "meter")
    for name in (lower, singular):
        if name in LENGTHS or name in TIMES:
            return name
    return _SPELLINGS.get(lower) or _SYMBOLS.get(lower, "pixel")


def fits(axis: str, unit: str) -> bool:
    """Return whether a unit suits an axis: a length for Z, Y and X, a time for T."""
    return unit in _KIND.get(axis, {})


def symbol(unit: str) -> str:
    """Return the symbol of a unit in OME-XML; "pixel" has none and is returned unchanged."""
    return {**LENGTHS, **TIMES}[unit][0] if unit != "pixel" else unit


def converted(step: float, unit: str, to: str) -> float | None:
    """Return a step in another unit; None if one of the units is unknown, or of another kind."""
    if unit == to:
        return step
    for table in (LENGTHS, TIMES):
        if unit in table and to in table:
            return step * (table[unit][1] / table[to][1])
    return None
