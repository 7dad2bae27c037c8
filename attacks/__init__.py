"""Attacks on what is published, each with its limit and with a broken engine that it must catch."""
