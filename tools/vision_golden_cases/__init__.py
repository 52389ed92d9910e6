"""Tiny vision models, a module for each family of towers."""
