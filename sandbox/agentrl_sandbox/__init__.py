"""Isolated execution of untrusted code; no backend has been built yet."""
