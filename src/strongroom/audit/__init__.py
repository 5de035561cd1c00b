"""The record of every call, which nobody can alter unseen."""
