# Made by generate.py from _async/__init__.py: change that.

