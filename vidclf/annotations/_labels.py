"""Which labels are wanted: merging classes, selecting some, and naming those that nearly fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from vidclf.annotations._rows import counted
from vidclf.config import LABEL_OPTIONS, AnnotationsConfig
from vidclf.errors import AnnotationError

_COMPARED = 5000  # labels that are compared one by one with a text; more are not worth the time
_SHOWN = 8


def counts_of(rows: pa.Table) -> dict[str, int]:
    """Label → number of rows, by name; rows without a label are not counted."""
    counts = rows["label"].drop_null().value_counts()
    return dict(sorted(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)))


def merge_labels(rows: pa.Table, config: AnnotationsConfig) -> tuple[pa.Table, list[str]]:
    """Rename labels as ``merge`` says. Notices name merged labels that no row has.

    Raises:
        AnnotationError: no row has any of the labels that are to become one.
    """
    if not config.merge:
        return rows, []
    labels, notices = list(counts_of(rows)), []
    for target, sources in config.merge.items():
        absent = [source for source in sources if source not in labels]
        if len(absent) == len(sources):
            raise AnnotationError(
                f"annotations {config.path}: merge {target!r}: no row has a label {_either(sources)}{_hint(absent, labels)}"
            )
        notices += [f"merge {target!r}: no row has the label {source!r}{_hint([source], labels)}" for source in absent]
    target_of = {source: target for target, sources in config.merge.items() for source in sources}
    position = pc.index_in(rows["label"], value_set=pa.array(list(target_of), pa.string()))
    merged = pc.coalesce(pc.take(pa.array(list(target_of.values()), pa.string()), position), rows["label"])
    return rows.set_column(rows.schema.get_field_index("label"), rows.schema.field("label"), merged), notices


def select_labels(rows: pa.Table, config: AnnotationsConfig) -> tuple[pa.Table, list[str]]:
    """Keep the rows with the labels asked for; all rows, where none are. Notices name labels that nearly fit.

    Raises:
        AnnotationError: no row has such a label, or none has one of ``labels``; it names the closest.
    """
    option = next((name for name in LABEL_OPTIONS if getattr(config, name) is not None), None)
    if option is None:
        return rows, []
    counts = counts_of(rows)
    labels, wanted = list(counts), getattr(config, option)
    chosen = [label for label in labels if _test(option, wanted)(label)]
    absent = [label for label in wanted if label not in counts] if option == "labels" else []
    if absent or not chosen:
        raise AnnotationError(f"annotations {config.path}: {_none_fits(option, wanted, absent, labels, config)}")
    kept = rows.filter(pc.is_in(rows["label"], value_set=pa.array(chosen, pa.string())))
    notices = []
    others = sorted(counts.keys() - set(chosen))
    near = near_misses(wanted, others) if isinstance(wanted, str) else []
    if near:
        listed = ", ".join(f"{label!r} ({counted(counts[label], 'row')})" for label in near[:_SHOWN])
        more = f" and {len(near) - _SHOWN} more" if len(near) > _SHOWN else ""
        notices.append(f"{option} {wanted!r} leaves out labels that nearly fit: {listed}{more}")
    if rows["label"].null_count:
        notices.append(f"{option} leaves out {counted(rows['label'].null_count, 'row')} without a label")
    return kept, notices


def near_misses(wanted: str, labels: Iterable[str]) -> list[str]:
    """The labels that a person who asked for ``wanted`` may have meant as well.

    They have it in other capitals or with other separators, or words of the same stem: "shoot dance" for "dancing".
    """
    text = _plain(re.sub(r"\\.", " ", wanted))
    stems = [_stem(word) for word in re.findall(r"[^\W\d_]{3,}", text)]

    def is_near(label: str) -> bool:
        plain = _plain(label)
        words = [_stem(word) for word in plain.split()]
        same_text = len(text) >= 4 and text in plain
        return same_text or all(any(_is_akin(stem, word) for word in words) for stem in stems)

    return [label for label in labels if is_near(label)] if stems else []


def _is_akin(stem: str, word: str) -> bool:
    return word == stem or (len(stem) >= 4 and stem in word)


def _plain(text: str) -> str:
    """Lower case, words separated by single spaces: ``Golf-Swing-Back`` and ``GolfSwingBack`` → ``golf swing back``."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return " ".join(re.split(r"[\W_]+", text)).casefold().strip()


def _stem(word: str) -> str:
    """``danc`` of dancing, dance, dancer: enough to compare two words of English."""
    for ending in ("ings", "ing", "ers", "er", "ed", "es", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def _test(option: str, wanted: str | tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a label is asked for."""
    if isinstance(wanted, tuple):
        return lambda label: label in wanted
    if option == "label_contains":
        return lambda label: wanted in label
    word = rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])"  # '_' separates words: HMDB51's brush_hair
    pattern = re.compile(word if option == "label_word" else wanted)
    return lambda label: pattern.search(label) is not None


def _none_fits(
    option: str, wanted: str | tuple[str, ...], absent: list[str], labels: list[str], config: AnnotationsConfig
) -> str:
    said = {"label_contains": "that contains ", "label_word": "with the word ", "label_pattern": "that matches "}
    texts = absent or ([wanted] if isinstance(wanted, str) else list(wanted))
    merged = [source for sources in config.merge.values() for source in sources if source in texts]
    hint = f" ({merged[0]!r} was merged)" if merged else _hint(texts, labels)
    there = ", ".join(labels[:_SHOWN]) + (f", … ({len(labels)} labels)" if len(labels) > _SHOWN else "")
    return f"no row has a label {said.get(option, '')}{_either(texts)}{hint}; there are: {there or 'none'}"


def _either(texts: Iterable[str]) -> str:
    return " or ".join(map(repr, texts))


def _hint(texts: list[str], labels: list[str]) -> str:
    closest = list(dict.fromkeys(label for text in texts for label in closest_to(text, labels)))
    return f" (closest: {', '.join(map(repr, closest[:3]))})" if closest else ""


def closest_to(text: str, labels: list[str]) -> list[str]:
    """Up to three labels that ``text`` may be a misspelling of, or of a word of theirs."""
    near = near_misses(text, labels)
    if near:
        return near[:3]
    plain = {label: _plain(label) for label in labels[:_COMPARED]}
    wanted = _plain(text)

    def likeness(label: str) -> float:
        candidates = [plain[label], *plain[label].split()]
        return max(difflib.SequenceMatcher(None, wanted, candidate).ratio() for candidate in candidates or [""])

    scored = sorted(((likeness(label), label) for label in plain), key=lambda pair: (-pair[0], pair[1]))
    return [label for score, label in scored[:3] if score >= 0.6]
