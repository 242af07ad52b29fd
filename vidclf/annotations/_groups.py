"""Videos that were cut from one recording, told by their names: a drawn split must not tear them apart."""

from __future__ import annotations

import re
from posixpath import basename, splitext

#: UCF50 and UCF101: clips of one group (gNN) share scene and people. https://www.crcv.ucf.edu/data/UCF101.php
_UCF = re.compile(r"v_(?P<group>.+_g\d+)_c\d+")

#: HMDB51: film_class, visible part, camera motion, people, view, quality, number.
#: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/
_HMDB = re.compile(r"(?P<group>.+)_[fhlu]_(?:cm|nm)_np\d+_(?:ba|fr|le|ri)_(?:bad|med|goo)_\d+")


def group_of(path: str) -> str | None:
    """``ApplyEyeMakeup_g08`` of ``…/v_ApplyEyeMakeup_g08_c01.avi``; None where the name tells nothing."""
    stem = splitext(basename(path))[0]
    found = _UCF.fullmatch(stem) or _HMDB.fullmatch(stem)
    return found["group"] if found else None
