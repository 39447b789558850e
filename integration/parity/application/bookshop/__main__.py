"""``python -m bookshop fill report change``: each line of the output is what one step told, as JSON."""

import json
import sys

from bookshop.changing import change
from bookshop.filling import fill
from bookshop.reporting import report
from bookshop.storage import database

STEPS = {"fill": fill, "report": report, "change": change}


def main():
    database.connection.ping()
    for name in sys.argv[1:]:
        for what, told in STEPS[name]():
            print(json.dumps([name, what, told], ensure_ascii=False))


main()
