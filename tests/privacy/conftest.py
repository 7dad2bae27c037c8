"""Fixtures of this folder."""

from tests.registrykit.databases import database

__all__ = ["database"]
