"""Settings for both servers. Nothing of tenantlimpyd is a setting: tenants are entered around Django, not inside it."""

from __future__ import annotations

SECRET_KEY = "only for the example: yours comes from the environment"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "examples.django_app.urls"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
USE_TZ = True
