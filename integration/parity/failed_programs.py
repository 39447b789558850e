"""Random programs that failed before, each with its cause; they are run every time."""

from __future__ import annotations

from integration.parity.comparison import Step
from integration.parity.random_models import Declared, Indexed, Model

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
