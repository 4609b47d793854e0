"""Words that this project does not use, because many readers' first language is not English.

Each is archaic, a riddle, or has a plainer word that is used everywhere else.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A pattern of whole words, and what to write.
OUT = {
    r"nobody": "say the default: 'unlabelled axis', 'default 1 GB'",
    r"anew": "again",
    r"amid": "among, during",
    r"mend(s|ed|ing)?": "correct, fix",
    r"told": "detected, determined, reported",
    r"by heart": "overfits",
    r"(go|goes|going|gone|went) on with": "continue, resume",
    r"as it comes": "by default, unchanged",
    r"of now": "current",
    r"(the|a) person('s)?": "the user, you",
    r"(files?|folder|output|model|layer|data|pixels|what|it) (lie|lies|stand|stands)": "is, are",
    r"(lies|stands) (at|in|beside|on) the (disk|folder|file|output|place)": "is",
    r"(room|house|wing)s?": "name the responsibility, or the space that is needed",
    # Not math.floor, the noise floor of a detector, or a lower limit (FLOOR = 1).
    r"(?<!noise )(?<!small )(?<!, )(?<!\.)(?-i:floors?)(?! ?[(=)])": "name the responsibility",
}
PATTERN = re.compile(
    "|".join(rf"(?P<w{n}>\b{word}\b)" for n, word in enumerate(OUT)), re.IGNORECASE
)
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".txt", ""}


def files():
    """All files of text that git tracks, but for this one."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("needs a checkout")
    paths = [ROOT / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in TEXT and path != Path(__file__)]


def found(text):
    """Line, word and advice for every word not to be used, in prose and in names_like_this."""
    for match in PATTERN.finditer(re.sub(r"[\s_]", " ", text)):
        (advice,) = (one for n, one in enumerate(OUT.values()) if match.group(f"w{n}"))
        yield f"{text.count(chr(10), 0, match.start()) + 1}: '{match.group()}': {advice}"


def test_no_text_uses_a_word_that_is_out():
    wrong = [
        f"{path.relative_to(ROOT)}:{one}"
        for path in files()
        for one in found(path.read_text(encoding="utf-8"))
    ]
    assert wrong == [], "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    ["nobody knows", "weights drawn anew", "a file stands there", "what\nlies at the output",
     "the person who", "it is mended", "a room of its own", "def is_told(): ...",
     "code of the upper floor"],
)  # fmt: skip
def test_such_a_word_is_found(text):
    assert len(list(found(text))) == 1


@pytest.mark.parametrize(
    "text",
    ["numpy.floor(x)", "the noise floor", "max(x, floor)", "recommended", "understand", "bedroom"],
)
def test_parts_of_other_words_and_terms_are_allowed(text):
    assert list(found(text)) == []
