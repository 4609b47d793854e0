"""Find recordings that belong together by their names: cells_1_a and cells_1_b."""

import re
from collections.abc import Sequence

# Words that distinguish two recordings of a scene, the most common first. Numbers come last and
# only at the end of a name, because they most often count fields of view or frames.
_WORDS = [("a", "b"), ("even", "odd"), ("first", "second"), ("rep1", "rep2"), ("1", "2")]
_NUMBERS = _WORDS[-1]
_PARTS = re.compile(r"([_\-. ]+)")


def paired_names(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return the indices of the two recordings of each scene, in the order of the names.

    The two names of a pair differ in one word only, such as a and b. If the numbers continue to a
    third recording (1, 2, 3), they do not name pairs.
    """
    for words in _WORDS:
        found = _with_words(names, words)
        if found:
            return found
    return []


def _with_words(names: Sequence[str], words: tuple[str, str]) -> list[tuple[int, int]]:
    places: dict[tuple[str, ...], dict[str, int]] = {}
    for index, name in enumerate(names):
        parts = _PARTS.split(name)
        last = [len(parts) - 1] if words == _NUMBERS else range(len(parts))
        for at in last:
            if parts[at].lower() in {*words, "3"}:
                rest = (*parts[:at], "", *parts[at + 1 :])
                places.setdefault(rest, {}).setdefault(parts[at].lower(), index)
    pairs = [
        (found[words[0]], found[words[1]])
        for found in places.values()
        if set(words) <= set(found) and not (words == _NUMBERS and "3" in found)
    ]
    return sorted(pairs)
