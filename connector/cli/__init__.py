"""The commands, each in a module of its own; `__main__` puts them together."""
