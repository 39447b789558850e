"""Topologies: how the server of a keyspace is found."""
