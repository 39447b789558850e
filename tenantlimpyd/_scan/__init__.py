"""Scans over the keys of many databases.

Reading order, from the call to the socket: ``router/bulk.py`` (``scan_keys``), :mod:`~tenantlimpyd._scan.scan` (what the
consumer iterates over), :mod:`~tenantlimpyd._scan.keyspaces` (which databases are scanned together),
:mod:`~tenantlimpyd._scan.scan_worker` (what is sent, and what the replies mean), and the loops in
:mod:`tenantlimpyd._fanout.multiplex` that run workers.
"""
