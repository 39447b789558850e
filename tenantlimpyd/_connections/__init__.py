"""Connections to servers: settings, pools, limits, circuit breakers, and the clients of each database."""
