"""Work over many databases at once: bounded, with the failures of each tenant isolated. Knows databases, not routers."""
