"""Fakes and fixtures that ship, for our tests and for users."""
