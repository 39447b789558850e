"""The database, and what all models have in common."""

import json
import os

from limpyd.contrib.collection import ExtendedCollectionManager
from limpyd.contrib.database import PipelineDatabase
from limpyd.contrib.related import RelatedModel
from limpyd.fields import InstanceHashField

database = PipelineDatabase(**json.loads(os.environ["BOOKSHOP_REDIS"]))


class Visible(ExtendedCollectionManager):
    """Leaves out what was withdrawn."""

    def __init__(self, cls):
        super().__init__(cls)
        self._add_filters(state="visible")


class Base(RelatedModel):
    database = database
    namespace = "bookshop"
    abstract = True

    created_by = InstanceHashField(default="import")
    state = InstanceHashField(indexable=True, default="visible")

    commands = 0

    def post_command(self, sender, name, result, args, kwargs):
        if name in {"set", "hset", "sadd", "zadd", "rpush"}:
            Base.commands += 1
        return result

    @classmethod
    def visible(cls, **filters):
        return cls.collection(manager=Visible, **filters)

    def label(self):
        return f"{type(self).__name__} {self.pk.get()}"
