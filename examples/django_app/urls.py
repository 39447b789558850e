"""Which path leads to which view."""

from __future__ import annotations

from django.urls import path

from examples.django_app import views

urlpatterns = [
    path("notes", views.notes),
    path("count", views.count),
    path("export", views.export),
    path("healthz", views.healthy),
]
