"""Notes with Django, under WSGI and under ASGI."""
