"""Random programs that failed once, each with what was wrong; they are run every time."""

from __future__ import annotations

from integration.parity.declaring import Declared, Indexed, Model
from integration.parity.playing import Step

__all__ = ["KEPT"]

_MOMENTS = Model((Declared("f", "ListField", (Indexed("SimpleDateTimeIndex"),), flavour="moment"),))

KEPT: dict[str, tuple[Model, list[Step]]] = {
    "lset took away the entry that the old value shared with the new one": (
        _MOMENTS,
        [
            ("create", {"f": ["2015-12-16 00:00:00"]}),
            ("field", 0, "f", "lset", (0, "2015-12-16 15:16:17")),
        ],
    ),
}
