"""The registry's schema, step by step (Alembic). Run by `api.schema`; there is no alembic.ini."""
