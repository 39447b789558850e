"""Small applications: a notes service in four web frameworks."""

APPLICATIONS = {
    "starlette": "examples.starlette_app:app",
    "fastapi": "examples.fastapi_app:app",
    "django": "examples.django_app.applications:asgi",
    "django-wsgi": "examples.django_app.applications:wsgi",
    "flask": "examples.flask_app:app",
}
"""Where each application is. ``python -m examples NAME`` serves it, and ``tests/examples/`` tests it."""
WSGI = {"django-wsgi", "flask"}
"""The applications that are WSGI applications; the others are ASGI applications."""
