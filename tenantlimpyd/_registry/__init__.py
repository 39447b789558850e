"""The models of a database or router, and the relations between them."""
