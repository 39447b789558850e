"""Small applications: a notes service in four web frameworks."""
